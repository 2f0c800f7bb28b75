package main

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// interval is one that is asked for.
type interval struct{ from, to time.Time }

// intervals are whole days, odd minutes and seconds, and what begins or ends in gaps.
func (s *story) intervals() []interval {
	at := func(text string, offset time.Duration) time.Time {
		clock, err := time.Parse("15:04:05.999", text)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		midnight := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
		return s.begin.Add(offset + clock.Sub(midnight))
	}
	return []interval{
		{s.begin, s.begin.Add(day)},
		{s.begin.Add(day), s.begin.Add(2 * day)},
		{s.begin.Add(2 * day), s.end()},
		{s.begin, s.end()},
		{s.begin.Add(-5 * day), s.end().Add(time.Minute)},
		{at("07:13:20", 0), at("03:41:07.5", day)},       // odd seconds, over a midnight
		{at("23:30:00", 0), at("00:30:00", day)},         // over a gap at midnight
		{at("11:50:00", 0), at("12:20:00", 0)},           // begins in a gap, its last sample is near
		{at("03:10:00", 2*day), at("06:00:00", 2*day)},   // begins in a gap, its last sample is far
		{at("09:00:00", 0), at("10:00:00", 0)},           // an hour
		{at("09:00:00", 0), at("09:00:00.001", 0)},       // one sample: the begin is included
		{at("08:59:59.999", 0), at("09:00:00", 0)},       // none: the end is not
		{at("09:55:00", 2*day), at("10:25:00", 2*day)},   // what is late, in the middle of an hour
		{at("08:00:00", 2*day), at("13:00:00", 2*day)},   // what is late, in whole hours
		{at("20:30:00", -day), at("01:00:00", 0)},        // begins before there is anything
		{at("22:00:00", 2*day), at("12:00:00", 3*day)},   // ends after
		{at("00:00:00", -3*day), at("00:00:00", -2*day)}, // nothing at all
	}
}

// questions are asked of each interval. Some are asked of a few only.
func (s *story) questions() (all []question) {
	namespaces := map[string]bool{}
	for _, p := range s.pods {
		namespaces[p.namespace] = true
	}
	for i, in := range s.intervals() {
		ask := func(q question) {
			q.from, q.to = in.from, in.to
			all = append(all, q)
		}
		for _, metric := range []string{"cpu/usage_rate", "memory/usage", "network/rx", "cpu/usage"} {
			ask(question{metric: metric, agg: "all-pod"})
			ask(question{metric: metric, agg: "all-namespace"})
		}
		ask(question{metric: "cpu/usage_rate", agg: "all-pod", level: container})
		ask(question{metric: "cpu/usage", agg: "all-pod", level: container})
		if i%2 == 0 {
			for _, metric := range []string{"filesystem/usage", "gpu/usage", "uptime", "cpu/request", "memory/request", "network/tx", "ephemeral_storage/usage"} {
				ask(question{metric: metric, agg: "all-pod"})
			}
			ask(question{metric: "filesystem/usage", agg: "all-namespace"})
			ask(question{metric: "gpu/usage", agg: "all-namespace"})
			ask(question{metric: "nvidia.com/gpu/request", agg: "all-pod"})
			ask(question{metric: "uptime", agg: "all-namespace", level: container})
		} else {
			for name := range namespaces {
				ask(question{metric: "cpu/usage_rate", agg: "pod-by-namespace", namespace: name})
				ask(question{metric: "memory/usage", agg: "pod-by-namespace", namespace: name, level: container, exclude: []string{name}})
			}
			ask(question{metric: "memory/usage", agg: "all-namespace", level: namespace})
			ask(question{metric: "cpu/usage_rate", agg: "all-namespace", level: container, exclude: []string{"shop", "kube-system", "not there"}})
			ask(question{metric: "network/rx", agg: "all-pod", exclude: []string{"shop"}})
		}
	}
	return all
}

// figuresPart compares every figure of every answer about a story with the truth.
func figuresPart(ctx context.Context, c *checker, a *asker, s *story) error {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(3)
	for _, q := range s.questions() {
		if q.metric == "nvidia.com/gpu/request" && len(s.rows(q)) == 0 {
			continue // a resource that nobody requested in the interval is no metric
		}
		g.Go(func() error {
			checkRows(inner, c, a, s, q)
			return inner.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	pointsPart(ctx, c, a, s)
	physicalPart(ctx, c, a, s)
	return ctx.Err()
}

// pointsPart asks for samples themselves.
func pointsPart(ctx context.Context, c *checker, a *asker, s *story) {
	in := s.intervals()
	for _, one := range []struct {
		q     question
		limit int
	}{
		{question{metric: "cpu/usage_rate", namespace: "shop"}, 0},
		{question{metric: "cpu/usage_rate", namespace: "shop"}, 17},
		{question{metric: "cpu/usage", namespace: "shop"}, 0},
		{question{metric: "memory/usage", namespace: "shop", level: podLevel}, 0},
		{question{metric: "memory/usage", namespace: "shop", level: namespace}, 0},
		{question{metric: "network/rx", namespace: "shop"}, 0},
		{question{metric: "filesystem/usage", namespace: "shop"}, 0},
		{question{metric: "gpu/usage", namespace: "ml"}, 0},
		{question{metric: "cpu/node_capacity"}, 0},
		{question{metric: "cpu/usage_rate", level: nodeLevel}, 0},
		{question{metric: "memory/request", level: cluster}, 0},
		{question{metric: "uptime", namespace: "nowhere"}, 0},
	} {
		for _, n := range []int{6, 7, 9, 12} {
			one.q.from, one.q.to = in[n].from, in[n].to
			checkPoints(ctx, c, a, s, one.q, one.limit)
		}
	}
}

// physicalPart compares whole days' core-hours with the integral of the load over time.
func physicalPart(ctx context.Context, c *checker, a *asker, s *story) {
	for _, in := range s.intervals()[:3] {
		q := question{metric: "cpu/usage_rate", agg: "all-pod", from: in.from, to: in.to}
		got, err := a.want(ctx, "/api/"+q.metric, q.body(s))
		var rows []row
		if err == nil {
			err = decode(got.body, &rows)
		}
		c.ok("core-hours against the load over time", err)
		for i := range rows {
			for _, one := range s.series {
				if one.metric != q.metric || one.level != podLevel || one.pod.uid != rows[i].UID || one.load.count() != s.windows {
					continue
				}
				area := 0.0 // of the time that was measured: what gaps left out, coverage tells
				for _, there := range s.batches(s.window(in.from), s.window(in.to)) {
					area += physical(one.load, there.from, there.to)
				}
				c.within(s.cluster+" "+one.String()+": core-hours of a day over time", rows[i].Integral, area*s.every.Hours()/1000, s.edges())
			}
		}
	}
}

// edges is the share of a day that its integral may be off by, since a sample stands for
// the window before it: a window at each edge of what was measured.
func (s *story) edges() float64 { return 0.001 * s.every.Minutes() }
