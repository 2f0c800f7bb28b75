package collector

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestScheduleDefaults(t *testing.T) {
	f := func(resolution, offset, timeout time.Duration) {
		t.Helper()
		got := NewSchedule(resolution, 0, 0)
		if want := (Schedule{resolution, offset, timeout}); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	f(30*time.Second, 5*time.Second, 10*time.Second)
	f(time.Minute, 5*time.Second, 20*time.Second)
	f(6*time.Second, time.Second, 2*time.Second)
	f(10*time.Minute, 5*time.Second, 20*time.Second)
}

func TestScheduleNext(t *testing.T) {
	s := NewSchedule(30*time.Second, 0, 0) // scrapes 5 s after a window's end
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f := func(last, now, want time.Duration, missed int) {
		t.Helper()
		got, n := s.Next(noon.Add(last), noon.Add(now))
		if !got.Equal(noon.Add(want)) || n != missed {
			t.Errorf("after %v at %v: %v and %d missed, want %v and %d", last, now, got.Sub(noon), n, want, missed)
		}
	}
	const s30, s60 = 30 * time.Second, 60 * time.Second
	f(0, 6*time.Second, s30, 0)                    // in good time
	f(0, 34*time.Second, s30, 0)                   // just before it is due
	f(0, 50*time.Second, s30, 0)                   // late, and served all the same
	f(0, 64999*time.Millisecond, s30, 0)           // very late
	f(0, 65*time.Second, s60, 1)                   // a whole window late
	f(0, time.Hour, time.Hour-30*time.Second, 118) // it slept; the newest window that is due
	f(time.Hour, s60, s60, 0)                      // the clock was set back
}

// Every window is served, once, in order, however long each takes below a window.
func TestScheduleServesEveryWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewSchedule(time.Duration(rapid.IntRange(5, 120).Draw(t, "resolution"))*time.Second, 0, 0)
		now := time.Unix(rapid.Int64Range(1e9, 2e9).Draw(t, "start"), rapid.Int64Range(0, 999999999).Draw(t, "ns")).UTC()
		end := s.First(now)
		if age := now.Sub(s.Start(end)); age < 0 || age >= s.Resolution {
			t.Fatalf("the first window was due %v ago", age)
		}
		for range 20 {
			if start := s.Start(end); start.After(now) {
				now = start
			}
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(s.Resolution)-1).Draw(t, "work")))
			next, missed := s.Next(end, now)
			if missed != 0 || !next.Equal(end.Add(s.Resolution)) || next.UnixNano()%int64(s.Resolution) != 0 && next.Truncate(s.Resolution) != next {
				t.Fatalf("after %v at %v comes %v, %d missed", end, now, next, missed)
			}
			end = next
		}
	})
}

func TestScheduleStaysInTheWindow(t *testing.T) {
	for _, resolution := range []time.Duration{5 * time.Second, 30 * time.Second, time.Minute} {
		s := NewSchedule(resolution, 0, 0)
		for _, nodes := range []int{0, 1, 100, 1000, 5000, 100000} {
			if span, limit := s.Span(nodes), s.Limit(nodes); span > resolution/6 || limit > resolution*4/5 || limit < span+s.Timeout {
				t.Errorf("%v, %d nodes: span %v, limit %v", resolution, nodes, span, limit)
			}
		}
	}
	if s := NewSchedule(30*time.Second, 0, 0); s.Span(100) != 800*time.Millisecond || s.Span(5000) != 5*time.Second {
		t.Errorf("span %v of 100 nodes, %v of 5000", s.Span(100), s.Span(5000))
	}
}

func TestDelaySpreads(t *testing.T) {
	const buckets, nodes = 10, 5000
	var count [buckets]int
	for i := range nodes {
		name := fmt.Sprintf("node-%d", i)
		d := Delay(name, 5*time.Second)
		if d < 0 || d >= 5*time.Second || d != Delay(name, 5*time.Second) {
			t.Fatalf("delay %v of %s", d, name)
		}
		count[int(d*buckets/(5*time.Second))]++
	}
	for _, n := range count {
		if n < nodes/buckets*8/10 || n > nodes/buckets*12/10 {
			t.Errorf("nodes by tenth of the span: %v", count)
		}
	}
	if Delay("a", 0) != 0 {
		t.Error("a delay without a span")
	}
}

func TestShards(t *testing.T) {
	const nodes = 3000
	moved := 0
	counts := map[int]int{}
	owner := func(node string, shards int) int {
		found := -1
		for i := range shards {
			if (Shard{i, shards}).Owns(node) {
				if found >= 0 {
					t.Fatalf("%s has two owners of %d", node, shards)
				}
				found = i
			}
		}
		if found < 0 {
			t.Fatalf("%s has no owner of %d", node, shards)
		}
		return found
	}
	for i := range nodes {
		name := fmt.Sprintf("node-%d", i)
		before, after := owner(name, 3), owner(name, 4)
		counts[before]++
		if before != after {
			moved++
			if after != 3 {
				t.Fatalf("%s moved from %d to %d, which is not the new one", name, before, after)
			}
		}
		if !(Shard{}).Owns(name) || !(Shard{0, 1}).Owns(name) {
			t.Fatalf("%s is not owned by the only one", name)
		}
	}
	if moved < nodes/5 || moved > nodes*3/10 {
		t.Errorf("%d of %d moved to the fourth shard, want about a quarter", moved, nodes)
	}
	for i := range 3 {
		if counts[i] < nodes/3*9/10 || counts[i] > nodes/3*11/10 {
			t.Errorf("nodes by shard: %v", counts)
		}
	}
}
