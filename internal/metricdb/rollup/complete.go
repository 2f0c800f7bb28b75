package rollup

import (
	"context"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// Complete says whether the interval is over and all its hours are closed with all
// the batches that there are now, of the clusters that the conditions leave.
func (v *Interval) Complete(ctx context.Context) (bool, error) {
	return v.complete.get(ctx, struct{}{}, v.readComplete)
}

func (v *Interval) readComplete(ctx context.Context) (bool, error) {
	from, to := floorHour(v.from), ceilHour(v.to)
	now, err := v.batches(ctx, from, to)
	if err != nil || len(now) == 0 {
		return false, err
	}
	where := v.of(metricdb.TagCluster)
	days, err := readClosed(ctx, v.db, DaysSet, where, ceilDay(from), floorDay(to))
	if err != nil {
		return false, err
	}
	was, last := map[string]seal{}, int64(0)
	add := func(closed map[spanKey]closedSpan, span time.Duration) {
		for key, c := range closed {
			was[key.cluster] = was[key.cluster].add(c.seal)
			last = max(last, key.begin+int64(span/time.Second))
		}
	}
	add(days, day)
	names := sortedKeys(now)
	for _, gap := range gaps(from, to, func(begin time.Time) bool { return allHave(days, names, begin) }) {
		hours, err := readClosed(ctx, v.db, HoursSet, where, gap[0], gap[1])
		if err != nil {
			return false, err
		}
		for key := range hours { // of a day that another cluster lacks
			if _, ok := days[spanKey{key.cluster, floor(key.begin, int64(day/time.Second))}]; ok {
				delete(hours, key)
			}
		}
		add(hours, hour)
	}
	for cluster, s := range now {
		if was[cluster] != s {
			return false, nil
		}
	}
	return last >= to.Unix(), nil // of any cluster: one that was taken down has no more hours
}

func allHave[V any](all map[spanKey]V, clusters []string, begin time.Time) bool {
	return !slices.ContainsFunc(clusters, func(cluster string) bool {
		_, ok := all[spanKey{cluster, begin.Unix()}]
		return !ok
	})
}

// gaps are the parts of [from, to), two whole hours, that are no whole days, or days
// that are not covered.
func gaps(from, to time.Time, covered func(begin time.Time) bool) (all [][2]time.Time) {
	for at := from; at.Before(to); {
		next := floorDay(at).Add(day)
		if whole := floorDay(at).Equal(at) && !to.Before(next); !whole || !covered(at) {
			end := next
			if to.Before(end) {
				end = to
			}
			if n := len(all); n > 0 && all[n-1][1].Equal(at) {
				all[n-1][1] = end
			} else {
				all = append(all, [2]time.Time{at, end})
			}
		}
		at = next
	}
	return all
}
