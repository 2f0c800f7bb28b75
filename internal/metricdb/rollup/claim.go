package rollup

import (
	"context"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// claim is an hour or a day of a cluster that is rolled up: its seal says of what.
type claim struct {
	rolledSeal
	begin time.Time
	span  time.Duration
}

func (c *claim) end() time.Time { return c.begin.Add(c.span) }

// lateHours is how many hours were changed after they were closed.
func (c *claim) lateHours() int64 {
	if c.span == hour {
		return min(c.late, 1)
	}
	return c.late
}

// claims are the days that are rolled up, and the hours of the rest, by cluster and time.
func (v *Interval) claims(ctx context.Context, key planKey) (map[string][]claim, error) {
	from, to := ceilHour(v.from), floorHour(v.to)
	names := v.clusters()
	if !from.Before(to) || len(names) == 0 {
		return nil, nil
	}
	days := map[spanKey]rolledSeal{}
	if key.days {
		found, err := v.seals(ctx, key.pair, day, ceilDay(from), floorDay(to))
		if err != nil {
			return nil, err
		}
		for k, s := range found {
			days[k.spanKey] = s
		}
	}
	all := map[string][]claim{}
	add := func(k spanKey, s rolledSeal, span time.Duration) {
		all[k.cluster] = append(all[k.cluster], claim{s, time.Unix(k.begin, 0).UTC(), span})
	}
	for k, s := range days {
		add(k, s, day)
	}
	for _, gap := range gaps(from, to, func(begin time.Time) bool { return allHave(days, names, begin) }) {
		hours, err := v.seals(ctx, key.pair, hour, gap[0], gap[1])
		if err != nil {
			return nil, err
		}
		for k, s := range hours {
			if _, ok := days[spanKey{k.cluster, floor(k.begin, int64(day/time.Second))}]; !ok {
				add(k.spanKey, s, hour)
			}
		}
	}
	for _, some := range all {
		slices.SortFunc(some, func(a, b claim) int { return a.begin.Compare(b.begin) })
	}
	return all, nil
}

// clusters are those with batches that the conditions leave.
func (v *Interval) clusters() (names []string) {
	where := v.of(metricdb.TagCluster)
	for _, name := range sortedKeys(v.lines) {
		if metricdb.All(where, clusterTags(name)) {
			names = append(names, name)
		}
	}
	return names
}

// checker finds the claims of a cluster that are of all batches that there are now.
type checker struct {
	*Interval
	pair    pair
	cluster string
	stale   int64 // hours that are not
}

// check compares totals, and where they do not fit those of halves, down to a day.
func (c *checker) check(ctx context.Context, claims []claim) ([]claim, error) {
	if len(claims) == 0 {
		return nil, nil
	}
	from, to := claims[0].begin, claims[len(claims)-1].end()
	now, err := c.batches(ctx, from, to)
	if err != nil {
		return nil, err
	}
	var made seal
	for i := range claims {
		made = made.add(claims[i].seal)
	}
	if made == now[c.cluster] {
		return claims, nil
	}
	next := floorDay(from).Add(day)
	if !next.Before(to) {
		return c.checkDay(ctx, claims)
	}
	middle := floorDay(from.Add(to.Sub(from) / 2))
	if !from.Before(middle) {
		middle = next
	}
	n, _ := slices.BinarySearchFunc(claims, middle, func(c claim, at time.Time) int { return c.begin.Compare(at) })
	before, err := c.check(ctx, claims[:n])
	if err != nil {
		return nil, err
	}
	after, err := c.check(ctx, claims[n:])
	return slices.Concat(before, after), err
}

// checkDay compares the hours of a day one by one.
func (c *checker) checkDay(ctx context.Context, claims []claim) (fit []claim, err error) {
	begin := floorDay(claims[0].begin)
	if claims[0].span == day {
		hours, err := c.seals(ctx, c.pair, hour, begin, begin.Add(day))
		if err != nil {
			return nil, err
		}
		claims = nil
		for k, s := range hours {
			if k.cluster == c.cluster {
				claims = append(claims, claim{s, time.Unix(k.begin, 0).UTC(), hour})
			}
		}
		slices.SortFunc(claims, func(a, b claim) int { return a.begin.Compare(b.begin) })
	}
	now, err := c.batchesOf(ctx, begin)
	if err != nil {
		return nil, err
	}
	for _, one := range claims {
		if now[spanKey{c.cluster, one.begin.Unix()}].seal == one.seal {
			fit = append(fit, one)
		} else {
			c.stale++
		}
	}
	return fit, nil
}
