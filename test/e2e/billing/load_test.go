package main

import (
	"slices"
	"testing"
	"time"
)

// Each closed form equals the sum over windows.
func TestClosedForms(t *testing.T) {
	f := func(what string, l load) {
		t.Helper()
		for _, spans := range [][]span{{{0, 200}}, {{3, 4}}, {{0, 7}, {9, 61}, {100, 131}}} {
			part := l.on(spans)
			var sum, n, most, billed int64
			for _, s := range spans {
				for k := s.from; k < s.to; k++ {
					v, ok := l.at(k)
					if !ok {
						continue
					}
					n, sum, most, billed = n+1, sum+v, max(most, v), billed+max(v, 50)
				}
			}
			got, want := []int64{part.count(), part.sum(), part.max(), part.atLeast(50)}, []int64{n, sum, most, billed}
			if !slices.Equal(got, want) {
				t.Errorf("%s on %v: %v, want %v", what, spans, got, want)
			}
		}
	}
	f("constant", constant(2, 150, 60))
	f("up", line(0, 150, 3, 2))
	f("down", line(5, 100, 200, -2))
	f("up through 50 exactly", line(0, 100, 0, 1))
	f("down through 50 exactly", line(0, 100, 100, -1))
	f("sawtooth", sawtooth(1, 155, 10, 7, 13))
	f("hills", hills(1, 155, 10, 7, 14))
	f("a sum", plus(sawtooth(1, 155, 10, 7, 13), constant(20, 30, 9), line(40, 190, 300, -1)))
	f("one after the other", constant(0, 10, 40).then(constant(20, 90, 70)))
}

func TestIncreases(t *testing.T) {
	c := counter{sawtooth(4, 155, 10, 7, 13), 3, []int64{30, 55, 77}}
	f := func(before int64, spans ...span) {
		t.Helper()
		want, last := int64(0), before
		for _, s := range spans {
			for k := s.from; k < s.to; k++ {
				if last >= 0 {
					now, was := c.at(k), c.at(last)
					if now < was {
						was = 0
					}
					want += now - was
				}
				last = k
			}
		}
		if got := c.increase(before, spans); got != want {
			t.Errorf("from %d on %v: %d, want %d", before, spans, got, want)
		}
	}
	f(-1, span{4, 155})
	f(5, span{6, 30})
	f(29, span{30, 31})
	f(-1, span{30, 32}, span{40, 41}, span{60, 77}, span{78, 120})
	f(9, span{15, 16})
}

// What is integrated from samples is, but for the edges, the integral over time.
func TestSamplesAreTheIntegral(t *testing.T) {
	for name, l := range map[string]load{"sawtooth": sawtooth(0, 4320, 120, 6, 45), "hills": hills(0, 4320, 100, 2, 480), "line": line(0, 4320, 1000, 1)} {
		for _, s := range []span{{0, 1440}, {1440, 2880}, {1443, 2880}, {2880, 4320}} {
			sum, area := float64(l.on([]span{s}).sum()), physical(l, s.from, s.to)
			if sum < area*0.999 || sum > area*1.001 {
				t.Errorf("%s over %v: %v, over time %v", name, s, sum, area)
			}
		}
	}
}

// That holds for the stories' whole days, too, gaps or not.
func TestStoriesAreTheirIntegrals(t *testing.T) {
	now := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	for _, s := range []*story{recently(now), lastMonth(now)} {
		for _, one := range s.series {
			for _, in := range s.intervals()[:3] {
				if one.metric != "cpu/usage_rate" || one.level != podLevel || one.load.count() != s.windows {
					continue
				}
				sum, area := float64(s.sampled(one, s.window(in.from), s.window(in.to)).sum()), 0.0
				for _, there := range s.batches(s.window(in.from), s.window(in.to)) {
					area += physical(one.load, there.from, there.to)
				}
				if share := s.edges(); sum < area*(1-share) || sum > area*(1+share) {
					t.Errorf("%v on %v: %v, over time %v: %.3f %%", one, in.from, sum, area, 100*(sum/area-1))
				}
			}
		}
	}
}
