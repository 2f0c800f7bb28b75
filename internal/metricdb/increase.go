package metricdb

import (
	"cmp"
	"slices"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// stepper adds a set's steps up: from each sample to the next in time.
type stepper struct {
	at, value int64 // of the last sample, if any
	any       bool
	waiting   []waiting
}

// waiting is a sample that steps cannot be taken from yet: an earlier one may come.
type waiting struct {
	at, value int64
	float     bool
	key       string
	in        *group // nil before the interval
}

// step goes to the next sample. Of two samples at one time (a batch that was written
// again with other tags) only the first is stepped to.
func (s *stepper) step(at, value int64, float bool, in *group) {
	if s.any && at == s.at {
		return
	}
	if s.any && in != nil {
		in.rise(s.value, value, float)
	}
	s.at, s.value, s.any = at, value, true
}

// settle steps to the samples before t, in the order of time.
func (s *stepper) settle(t int64) {
	slices.SortStableFunc(s.waiting, func(a, b waiting) int {
		if c := cmp.Compare(a.at, b.at); c != 0 {
			return c
		}
		return cmp.Compare(a.key, b.key)
	})
	n := 0
	for ; n < len(s.waiting) && s.waiting[n].at < t; n++ {
		w := &s.waiting[n]
		s.step(w.at, w.value, w.float, w.in)
	}
	s.waiting = slices.Delete(s.waiting, 0, n)
}

// rise adds a step. A value that fell was counted from 0.
func (g *group) rise(before, now int64, float bool) {
	if !float {
		g.increase.add(now, false)
		if now >= before {
			g.increase.sub(before)
		}
		return
	}
	rise := metrics.BitsFloat(now)
	if was := metrics.BitsFloat(before); rise >= was {
		rise -= was
	}
	g.increase.add(metrics.FloatBits(rise), true)
}
