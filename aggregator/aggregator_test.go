package aggregator

import (
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestFirstSync(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11")
		r.wait(time.Second)
		r.sees("")
		if got, want := r.status(), object.StateSyncing; got.State != want || got.Message != "1 of about 3 objects" {
			t.Errorf("status %+v", got)
		}
		r.log("a/y@15", "end 20", "a/z@21", "at 21")
		r.sees("21", "a/x@11", "a/y@15", "a/z@21")
		if e := r.lastEntry(); e.Barrier != "" || e.Lineage != "L1" {
			t.Errorf("entry %+v", e)
		}
		if r.asked(object.AskVerify) != 1 {
			t.Error("no verification was asked for")
		}
		r.wait(time.Second)
		if got := r.status(); got.State != object.StateFollowing {
			t.Errorf("status %+v", got)
		}
		if s := r.state(); !s.Synced || s.Resyncing || s.Lineage != "L1" || s.ClusterUID != "one" || s.Schema != "1" || s.Floor != "20" || s.Objects != 3 {
			t.Errorf("state %+v", s)
		}
	})
}

func TestLiveChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "end 20")
		f := func(entry []string, position object.Version, want ...string) {
			t.Helper()
			before := len(r.redis.look().feed)
			id := r.log(entry...)
			r.sees(position, want...)
			if now := r.redis.look(); len(now.feed) != before+1 || now.state.Checkpoint != id {
				t.Errorf("%d publications, checkpoint %s", len(now.feed)-before, now.state.Checkpoint)
			}
			if e := r.lastEntry(); e.Hold || e.Barrier != "" {
				t.Errorf("entry %+v", e)
			}
		}
		f([]string{"a/y@21", "at 21"}, "21", "a/x@11", "a/y@21")
		f([]string{"a/x@22", "at 22"}, "22", "a/x@22", "a/y@21")
		f([]string{"at 30"}, "30", "a/x@22", "a/y@21")
		f([]string{"-a/x@31", "at 31"}, "31", "a/y@21")
		f([]string{"a/x@32#2", "-a/x@33#2", "a/x@34#3", "at 34"}, "34", "a/x@34#3", "a/y@21")
		f([]string{"a/y@21", "a/x@22", "at 33"}, "34", "a/x@34#3", "a/y@21") // repeated
	})
}

func TestFenced(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "end 20")
		r.redis.take("other")
		r.log("a/y@21", "at 21") // cannot be published
		r.sees("20", "a/x@11")
		r.wait(10 * time.Second) // the other one has gone
		r.sees("21", "a/x@11", "a/y@21")
		if got := r.metric("krm_aggregator_restarts_total", "fenced"); got != 1 {
			t.Errorf("%v restarts", got)
		}
		r.redis.take("other") // with nothing to publish, the beat notices
		r.wait(2 * time.Second)
		if got := r.metric("krm_aggregator_restarts_total", "fenced"); got != 2 {
			t.Errorf("%v restarts", got)
		}
		r.wait(10 * time.Second)
		r.log("a/y@22", "at 22")
		r.sees("22", "a/x@11", "a/y@22")
	})
}

func TestTwoInstances(t *testing.T) {
	inBubble(t, func(t *testing.T, first *rig) {
		second := &rig{t: t, redis: first.redis}
		second.start()
		first.log("begin L1", "a/x@11", "end 20")
		if got := first.redis.holder(); got != "a1" {
			t.Errorf("%s has the lease", got)
		}
		first.stop()
		second.wait(500 * time.Millisecond)
		second.log("a/y@21", "at 21")
		second.sees("21", "a/x@11", "a/y@21")
		second.stop()
		first.start()
	})
}

func TestTrimming(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		trimmed := func(want object.LogID) {
			t.Helper()
			if got := r.redis.look().trimBefore; got != want {
				t.Errorf("trims before %q, want %q", got, want)
			}
		}
		first := r.log("begin L1", "a/x@11", "end 20")
		r.log("a/x@21", "at 21")
		r.log("a/x@22", "at 22")
		listed := r.list("1", "22", false, "a/x@22")
		above := r.log("a/x@23", "at 23")
		r.log("a/x@24", "at 24")
		trimmed(first) // nothing is verified
		r.put(listed)
		trimmed(above)
		r.stop()
		r.start()
		r.log("a/x@25", "at 25")
		trimmed(above) // the new process does not know better
		r.log("begin L1", "a/x@25")
		trimmed(above)
		r.log("end 40")
		r.put(r.list("2", "40", false, "a/x@25"))
		trimmed(r.redis.look().logState.Tail)
	})
}

func TestReports(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "end 20")
		r.wait(time.Second)
		before := r.reports()
		r.wait(time.Minute)
		if got := r.reports() - before; got != 12 {
			t.Errorf("%d reports a minute", got)
		}
		if got := r.status(); got.Role != object.RoleAggregator || got.State != object.StateFollowing || time.Since(got.At) > reportEvery {
			t.Errorf("status %+v", got)
		}
	})
}
