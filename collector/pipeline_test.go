package collector

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/collector/sink"
	"github.com/kubernetes-resource-monitor/krm/collector/source"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// due is when the window that ended at midnight, when a synctest bubble's time begins,
// is scraped.
const due = 5 * time.Second

func TestWindowsAreAlignedAndComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait(12 * time.Second) // the window of 00:00:00 was due at 00:00:05
		c, s := newCluster("a", "b"), newSinks()
		running(pipeline(c, s, Options{}), func() { wait(100 * time.Second) })
		var ends []string
		for i, b := range s.take() {
			ends = append(ends, b.Time.Format("15:04:05"))
			if len(b.Nodes) != 2 || len(failed(b)) != 0 || b.Tables[metrics.Node].Live.Count() != 2 {
				t.Errorf("batch %d: nodes %v", i, b.Nodes)
			}
			if want := b.Time.Add(5 * time.Second); i > 0 && !b.ScrapedAt.Equal(want) {
				t.Errorf("batch %d was scraped at %v, want %v", i, b.ScrapedAt, want)
			}
			if b.Cluster != "default" || b.Shards != 1 || b.Resolution != 30*time.Second {
				t.Errorf("batch %d: %q, %d shards, %v", i, b.Cluster, b.Shards, b.Resolution)
			}
		}
		if diff := cmp.Diff([]string{"00:00:00", "00:00:30", "00:01:00", "00:01:30"}, ends); diff != "" {
			t.Errorf("windows: %s", diff)
		}
	})
}

// The original skipped every second window of 5 s.
func TestShortWindowsAreNotSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newCluster(many(50)...), newSinks()
		for _, n := range c.nodes {
			c.takes[n.Name] = time.Second
		}
		wait(due)
		running(pipeline(c, s, Options{Schedule: NewSchedule(5*time.Second, 0, 0)}), func() { wait(63 * time.Second) })
		if n := len(s.take()); n != 14 {
			t.Errorf("%d batches in 63 s, want 14", n)
		}
	})
}

// The vectors of the original's source manager: how long a batch takes.
func TestSlowNodesAreNotWaitedForLonger(t *testing.T) {
	f := func(first, second time.Duration, answered int, least, most time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			c, s := newCluster("a", "b"), newSinks()
			c.takes["a"], c.takes["b"] = first, second
			wait(due)
			began := time.Now()
			schedule := NewSchedule(30*time.Second, 0, 3*time.Second)
			running(pipeline(c, s, Options{Schedule: schedule}), func() { wait(29 * time.Second) })
			if len(s.batches) != 1 {
				t.Fatalf("%d batches, want 1", len(s.batches))
			}
			b := s.batches[0]
			if took := s.at[0].Sub(began); took < least || took > most {
				t.Errorf("the batch took %v, want %v to %v", took, least, most)
			}
			if got := len(b.Nodes) - len(failed(b)); got != answered {
				t.Errorf("%d nodes answered, want %d: %v", got, answered, b.Nodes)
			}
		})
	}
	const s = time.Second
	f(1*s, 1*s, 2, 0, 3*s)
	f(1*s, 30*s, 1, 2*s, 4*s)
	f(30*s, 30*s, 0, 2*s, 4*s)
}

// A node that fails at once, which made the original wait for 20 s, costs nothing.
func TestFailedNodesAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newCluster("a", "b", "c", "d"), newSinks()
		c.takes["b"] = -time.Millisecond
		c.nodes[2].Ready = "False"
		began := time.Now()
		running(pipeline(c, s, Options{}), func() { wait(time.Second) })
		if took := s.at[0].Sub(began); took > 50*time.Millisecond {
			t.Errorf("the batch took %v", took)
		}
		if diff := cmp.Diff(map[string]string{"b": source.Refused, "c": source.NotReady}, failed(s.batches[0])); diff != "" {
			t.Errorf("failed nodes: %s", diff)
		}
		for _, n := range s.batches[0].Nodes {
			if (n.Error == "") != (n.Reason == "") || n.Reason != "" != n.LastAt.IsZero() {
				t.Errorf("status %+v", n)
			}
		}
	})
}

// A node that hangs delays one batch. From then on nobody waits for it, but it is
// asked in every window, and is back with the first answer that comes in time.
func TestHangingNodeDelaysOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newCluster("a", "b"), newSinks()
		c.takes["b"] = time.Hour
		wait(due)
		running(pipeline(c, s, Options{}), func() {
			wait(44 * time.Second)
			took := []time.Duration{}
			for i, b := range s.batches {
				took = append(took, s.at[i].Sub(b.ScrapedAt).Truncate(time.Second))
				if failed(b)["b"] != source.Timeout {
					t.Errorf("batch %d: %v", i, b.Nodes)
				}
			}
			if diff := cmp.Diff([]time.Duration{10 * time.Second, time.Second}, took); diff != "" {
				t.Errorf("batches took: %s", diff)
			}
			s.take()
			c.questions()

			c.change(func() { c.takes["b"] = 3 * time.Second }) // slow, but in time
			wait(60 * time.Second)
			if n := c.questions()["b"]; n != 2 {
				t.Errorf("the node was asked %d times in two windows", n)
			}
			batches := s.take()
			if failed(batches[0])["b"] != source.Timeout { // it was doubtful, and late
				t.Errorf("the first batch after: %v", batches[0].Nodes)
			}
			if len(failed(batches[1])) != 0 { // it is waited for again
				t.Errorf("the second batch after: %v", batches[1].Nodes)
			}
		})
	})
}

// A whole zone that hangs must not keep the others from being asked.
func TestHangingZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newCluster(many(2000)...), newSinks()
		for i, n := range c.nodes {
			if c.takes[n.Name] = 100 * time.Millisecond; i%2 == 0 {
				c.takes[n.Name] = time.Hour
			}
		}
		running(pipeline(c, s, Options{Parallel: 100}), func() { wait(70 * time.Second) })
		for i, b := range s.take() {
			if n := len(failed(b)); n != 1000 {
				t.Errorf("batch %d: %d nodes failed, want 1000", i, n)
			}
			if n := b.Tables[metrics.Node].Live.Count(); n != 1000 {
				t.Errorf("batch %d: %d nodes have metrics, want 1000", i, n)
			}
		}
	})
}

func TestFiveThousandNodesFitAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newCluster(many(5000)...), newSinks()
		for _, n := range c.nodes {
			c.takes[n.Name] = 300 * time.Millisecond
		}
		running(pipeline(c, s, Options{}), func() { wait(29 * time.Second) })
		if took := s.at[0].Sub(s.batches[0].ScrapedAt); took > 6*time.Second || len(failed(s.batches[0])) > 0 {
			t.Errorf("the batch took %v, %d nodes failed", took, len(failed(s.batches[0])))
		}
		if c.busiest > 500 {
			t.Errorf("%d questions at a time, want 500 at most", c.busiest)
		}
	})
}

func TestShardAsksItsNodesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newCluster(many(100)...), newSinks()
		running(pipeline(c, s, Options{Shard: Shard{1, 3}}), func() { wait(2 * time.Second) })
		b := s.batches[0]
		if b.Shard != 1 || b.Shards != 3 {
			t.Errorf("shard %d of %d", b.Shard, b.Shards)
		}
		for name := range c.questions() {
			if !(Shard{1, 3}).Owns(name) {
				t.Errorf("%s was asked", name)
			}
		}
		if n := len(b.Nodes); n < 20 || n > 50 {
			t.Errorf("%d nodes of 100 in a third", n)
		}
	})
}

func TestNodeRemovedWhileAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newCluster("a", "b", "c"), newSinks()
		c.takes["b"], c.takes["c"] = 2*time.Second, 2*time.Second
		running(pipeline(c, s, Options{}), func() {
			wait(time.Second)
			c.change(func() { // c is another machine of the same name now
				c.nodes = []*objects.Node{c.nodes[0], {Name: "c", UID: "another", Ready: "True"}}
			})
			wait(30 * time.Second)
			if diff := cmp.Diff(map[string]string{"b": removed, "c": removed}, failed(s.batches[0])); diff != "" {
				t.Errorf("failed nodes: %s", diff)
			}
			if n := s.batches[0].Tables[metrics.Node].Live.Count(); n != 1 {
				t.Errorf("%d nodes are in the batch", n)
			}
			wait(10 * time.Second)
			if b := s.batches[1]; len(b.Nodes) != 2 || len(failed(b)) != 0 {
				t.Errorf("the next batch: %v", b.Nodes)
			}
		})
	})
}

func TestStandbyAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newCluster("a"), newSinks()
		s.tenure = sink.Tenure{Standby: true}
		health := NewHealth(NewSchedule(30*time.Second, 0, 0))
		running(pipeline(c, s, Options{Health: health}), func() {
			wait(50 * time.Second)
			if err := health.Ready(); err != nil {
				t.Errorf("standing by: %v", err)
			}
			s.mu.Lock()
			s.tenure = sink.Tenure{Number: 1}
			s.mu.Unlock()
			wait(40 * time.Second)
		})
		if n := c.questions()["a"]; n != 1 {
			t.Errorf("asked %d times, want once: in the one window since we work", n)
		}
		if n := len(s.take()); n != 1 {
			t.Errorf("%d batches, want 1", n)
		}
	})
}

// A collector that takes over has rates from its first batch on, and leaves out the
// window that the other has served.
func TestGoesOnFromAnotherCollector(t *testing.T) {
	f := func(ago time.Duration, windows ...string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			wait(2*time.Hour + due)
			now := time.Now()
			c, s := newCluster("a"), newSinks()
			reading := func(at time.Time) []source.Value {
				return []source.Value{{ID: metrics.CPUUsage, Bits: at.UnixNano()}, {ID: metrics.CPUTime, Bits: at.UnixNano()}}
			}
			c.sample = func(node string) *source.Sample {
				return sampleOf(node, set(metrics.Node, "", "", "", reading(time.Now())...))
			}
			base := metrics.NewLedger(time.Hour).Begin("default", now.Add(-due-ago).UTC(), 30*time.Second)
			newAssembly(base).add(sampleOf("a", set(metrics.Node, "", "", "", reading(now.Add(-ago))...)))
			s.tenure.Base, s.tenure.Ledger = base, metrics.ResumeLedger(time.Hour, base)
			running(pipeline(c, s, Options{}), func() { wait(31 * time.Second) })
			var got []string
			for _, b := range s.take() {
				rate, ok := b.Tables[metrics.Node].Get(metrics.CPUUsageRate, 0)
				got = append(got, fmt.Sprintf("%s %d %v", b.Time.Format("04:05"), rate, ok))
			}
			if diff := cmp.Diff(windows, got); diff != "" {
				t.Errorf("a base of %v ago: %s", ago, diff)
			}
		})
	}
	f(30*time.Second, "00:00 1000 true", "00:30 1000 true")
	f(0, "00:30 1000 true")
	f(time.Hour, "00:00 0 false", "00:30 1000 true")
}

func TestWaitsForNodesAndALittleForTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newCluster("a"), newSinks()
		c.unsynced = []string{"nodes", "pods"}
		health := NewHealth(NewSchedule(30*time.Second, 0, 0))
		running(pipeline(c, s, Options{Health: health}), func() {
			wait(61 * time.Second)
			if len(s.take()) > 0 {
				t.Error("a batch without nodes")
			}
			if health.Ready() == nil {
				t.Error("ready without a batch")
			}
			c.change(func() { c.unsynced = []string{"pods"} })
			wait(2 * time.Second)
			if len(s.take()) != 1 { // pods were waited for long enough
				t.Error("no batch with nodes")
			}
			if err := health.Ready(); err != nil {
				t.Error(err)
			}
			if err := health.Healthy(); err != nil {
				t.Error(err)
			}
		})
	})
}

// The vectors of the original's manager: 1 s is below our least resolution, which is no
// matter here.
func TestOneSecondWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := newCluster("a"), newSinks()
		running(pipeline(c, s, Options{Schedule: NewSchedule(time.Second, 0, 0)}), func() { wait(4500 * time.Millisecond) })
		if n := len(s.take()); n < 4 || n > 6 { // one at once, then each second
			t.Errorf("%d batches in 4.5 s", n)
		}
	})
}
