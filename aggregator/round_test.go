package aggregator

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// inSync is inBubble after a first complete list of x, y and z at 20, and with the
// position at 20.
func inSync(t *testing.T, story func(t *testing.T, r *rig)) {
	t.Helper()
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "a/y@12", "a/z@13", "end 20")
		story(t, r)
	})
}

func (r *rig) wants(keys ...string) {
	r.t.Helper()
	if diff := cmp.Diff(keys, r.wanted()); diff != "" {
		r.t.Errorf("wanted bodies: %s", diff)
	}
}

// verified wants so many verifications, the last one at version with that drift.
func (r *rig) verified(count int64, version object.Version, last, total object.Drift) {
	r.t.Helper()
	s := r.state()
	if s.Verified != count || s.Freshness.Verified != version || s.LastDrift != last || s.Drift != total {
		r.t.Errorf("%d verifications, the last at %q with %v, drift %v; want %d at %q with %v, drift %v",
			s.Verified, s.Freshness.Verified, s.LastDrift, s.Drift, count, version, last, total)
	}
}

func TestVerifyWithoutDrift(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		listed := r.list("1", "20", false, "a/x@11", "a/y@12", "a/z@13")
		r.put(listed)
		r.verified(1, "20", object.Drift{}, object.Drift{})
		r.sees("20", "a/x@11", "a/y@12", "a/z@13")
		e, s := r.lastEntry(), r.state()
		if e.Barrier != "" || len(e.Changes) > 0 || !e.Freshness.VerifiedAt.Equal(listed.At) || s.Listed != "1" || s.Late != 0 || s.Floor != "20" {
			t.Errorf("entry %+v, state %+v", e, s)
		}
		before := len(r.redis.look().feed)
		r.wait(time.Minute) // and not again
		if got := len(r.redis.look().feed); got != before {
			t.Errorf("%d publications of nothing", got-before)
		}
		if got := r.metric("krm_verifications_total"); got != 1 {
			t.Errorf("metric %v", got)
		}
	})
}

// A list waits for the stream, and what the stream brings meanwhile is no drift.
func TestVerifyWaitsForStream(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		r.put(r.list("1", "22", false, "a/x@11", "a/y@21", "a/z@13"))
		r.wait(5 * time.Second)
		r.verified(0, "", object.Drift{}, object.Drift{})
		if got := r.asked(object.AskAdvance); got != 1 {
			t.Errorf("asked %d times for a newer position", got)
		}
		r.log("a/y@21", "at 21")
		r.wait(time.Second)
		r.verified(0, "", object.Drift{}, object.Drift{})
		r.log("at 22")
		r.wait(lookEvery)
		r.verified(1, "22", object.Drift{}, object.Drift{})
		if e, s := r.lastEntry(), r.state(); e.Barrier != "" || s.Late != 0 {
			t.Errorf("entry %+v, state %+v", e, s)
		}
	})
}

func TestRepair(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		r.log("a/old@21", "a/kept@22", "at 29")
		r.spoil("a/kept", []byte("spoiled"))
		r.spoil("a/stray", []byte("stray"))
		truth := []string{"a/x@11", "a/y@25", "a/z@14#2", "a/new@24", "a/kept@22", "a/deleted@28"}
		r.put(r.list("1", "29", true, truth...))
		r.log("-a/deleted@31", "a/later@32", "at 33") // not in the list, and right
		r.wait(lookEvery)
		r.wants("a/kept", "a/new", "a/y", "a/z")
		r.give(truth[1:]...)
		r.wait(time.Second)
		r.verified(0, "", object.Drift{}, object.Drift{}) // readers know 33
		r.log("at 34")
		r.wait(lookEvery)
		drift := object.Drift{Missing: 1, Stale: 2, Ghost: 2, Altered: 1}
		r.verified(1, "29", drift, drift)
		r.sees("34", "a/x@11", "a/y@25", "a/z@14#2", "a/new@24", "a/kept@22", "a/later@32")
		now := r.redis.look()
		if diff := cmp.Diff(now.snapshot[object.ParseKey("a/kept")], packed("a/kept@22")); diff != "" {
			t.Error(diff)
		}
		if len(now.snapshot) != 6 || r.lastEntry().Barrier != "34" || now.state.Barrier != "34" {
			t.Errorf("%d objects, state %+v", len(now.snapshot), now.state)
		}
		for kind, want := range map[string]float64{"missing": 1, "stale": 2, "ghost": 2, "altered": 1} {
			if total, last := r.metric("krm_drift_total", kind), r.metric("krm_last_drift", kind); total != want || last != want {
				t.Errorf("metrics of %s: %v, %v", kind, total, last)
			}
		}

		r.log("at 40")
		r.put(r.list("2", "40", true, "a/x@11", "a/y@25", "a/z@14#2", "a/new@24", "a/kept@22", "a/later@32"))
		r.wait(time.Second)
		r.verified(2, "40", object.Drift{}, drift)
		r.stop()
		r.start()
		for kind, want := range map[string]float64{"missing": 1, "stale": 2, "ghost": 2, "altered": 1} {
			if total, last := r.metric("krm_drift_total", kind), r.metric("krm_last_drift", kind); total != want || last != 0 {
				t.Errorf("metrics of %s after a restart: %v, %v", kind, total, last)
			}
		}
		if got := r.metric("krm_verifications_total"); got != 2 {
			t.Errorf("%v verifications after a restart", got)
		}
	})
}

func TestRepairAsksForNewerPosition(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		truth := []string{"a/x@11", "a/y@12", "a/z@13", "a/new@19"}
		r.put(r.list("1", "20", false, truth...))
		r.give(truth...)
		r.wait(11 * time.Second)
		if got := r.asked(object.AskAdvance); got != 3 {
			t.Errorf("asked %d times for a newer position", got)
		}
		r.sees("20", truth[:3]...)
		r.log("at 21")
		r.wait(lookEvery)
		r.sees("21", truth...)
		r.verified(1, "20", object.Drift{Missing: 1}, object.Drift{Missing: 1})
		if e := r.lastEntry(); e.Barrier != "21" {
			t.Errorf("entry %+v", e)
		}
	})
}

// The barrier stands where a state is replaced that readers have, and nowhere else.
func TestBarriers(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		var got []object.Version
		for _, step := range []func(){
			func() {}, // the first list
			func() { r.log("a/x@21", "at 21") },
			func() { r.log("begin L1", "a/x@21", "a/y@12", "a/z@13", "end 30") },
			func() { r.log("at 31") },
			func() { r.put(r.list("1", "31", false, "a/x@21", "a/y@12", "a/z@13")) },
			func() { r.log("at 32") },
			func() { r.put(r.list("2", "33", false, "a/x@21", "a/y@12")); r.log("at 33"); r.wait(lookEvery) },
			func() { r.log("begin L2", "a/x@5", "end 6") },
		} {
			step()
			got = append(got, r.lastEntry().Barrier)
		}
		if want := []object.Version{"", "", "30", "", "", "", "33", ""}; !slices.Equal(got, want) {
			t.Errorf("barriers %q, want %q", got, want)
		}
	})
}

func TestLate(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		truth := []string{"a/x@11", "a/y@12", "a/z@27", "a/missed@15", "a/new@25"}
		r.put(r.list("1", "30", false, truth...))
		r.wait(9 * time.Second)
		r.wants()
		r.verified(0, "", object.Drift{}, object.Drift{})
		r.wait(2 * time.Second)
		r.wants("a/missed", "a/new", "a/z")
		r.give(truth...)
		missed := object.Drift{Missing: 1} // the others may still come
		r.verified(1, "30", missed, missed)
		r.sees("30", truth...)
		if e, s := r.lastEntry(), r.state(); e.Barrier != "30" || s.Late != 1 {
			t.Errorf("entry %+v, state %+v", e, s)
		}
		if got := r.metric("krm_verifications_late_total"); got != 1 {
			t.Errorf("metric %v", got)
		}
		r.log("a/new@25", "a/z@27", "at 27") // the stream is behind
		r.sees("30", truth...)
		r.log("a/new@31", "at 31")
		r.sees("31", "a/x@11", "a/y@12", "a/z@27", "a/missed@15", "a/new@31")
	})
}

// While a complete list is on its way nobody is late.
func TestPatienceBeginsWithWholeState(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11")
		r.put(r.list("1", "31", false, "a/x@11", "a/y@12", "a/z@13"))
		r.wait(time.Minute)
		r.log("a/y@12", "a/z@13", "end 30")
		r.wait(time.Second)
		r.verified(0, "", object.Drift{}, object.Drift{})
		r.log("at 31")
		r.wait(lookEvery)
		r.verified(1, "31", object.Drift{}, object.Drift{})
		if s := r.state(); s.Late != 0 {
			t.Errorf("state %+v", s)
		}
	})
}

func TestRefused(t *testing.T) {
	f := func(name string, after time.Duration, ask object.Ask, change func(*object.Listed), restart func(*rig)) {
		t.Run(name, func(t *testing.T) {
			inSync(t, func(t *testing.T, r *rig) {
				restart(r)
				asked := r.asked(ask)
				listed := r.list("1", "20", false, "a/other@5")
				change(&listed)
				r.put(listed)
				if after > 0 {
					r.wait(after - time.Second)
					if r.state().Listed != "" {
						t.Error("refused too soon")
					}
					r.wait(2 * time.Second)
				}
				r.verified(0, "", object.Drift{}, object.Drift{})
				r.sees("20", "a/x@11", "a/y@12", "a/z@13")
				if s := r.state(); s.Listed != "1" || r.asked(ask) != asked+1 {
					t.Errorf("asked %d times, state %+v", r.asked(ask)-asked, s)
				}
				if got := r.metric("krm_verifications_refused_total"); got != 1 {
					t.Errorf("metric %v", got)
				}
				r.put(r.list("2", "20", false, "a/x@11", "a/y@12", "a/z@13"))
				r.verified(1, "20", object.Drift{}, object.Drift{})
			})
		})
	}
	no := func(*rig) {}
	f("another lineage", 10*time.Second, object.AskCheck, func(l *object.Listed) { l.Lineage = "L0" }, no)
	f("another cluster", 0, object.AskCheck, func(l *object.Listed) { l.ClusterUID = "two" }, no)
	f("another cluster, after a restart", 0, object.AskCheck, func(l *object.Listed) { l.ClusterUID = "two" }, func(r *rig) { r.stop(); r.start() })
	f("etcd was restored", 0, object.AskCheck, func(l *object.Listed) { l.Version = "19" }, no)
	f("superseded", 0, object.AskVerify, func(l *object.Listed) { l.Version, l.After = "19", "18" }, no)
	f("superseded, after a restart", 0, object.AskVerify, func(l *object.Listed) { l.Version, l.After = "19", "18" }, func(r *rig) { r.stop(); r.start() })
}

// A statement of the lineage to come waits for it.
func TestListOfNextLineage(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		listed := r.list("1", "8", false, "a/x@3")
		listed.Lineage, listed.After = "L2", ""
		r.put(listed)
		r.wait(5 * time.Second)
		r.log("begin L2", "a/x@3", "end 8")
		r.wait(lookEvery)
		r.verified(1, "8", object.Drift{}, object.Drift{})
	})
}

// A record above R that comes while the bodies are on their way wins.
func TestRecordAboveWins(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		r.log("at 30")
		r.put(r.list("1", "30", false, "a/x@25", "a/y@26", "a/z@13"))
		r.wants("a/x", "a/y")
		r.log("a/x@31", "at 31")
		r.give("a/x@25", "a/y@26")
		r.log("at 32")
		r.wait(lookEvery)
		r.verified(1, "30", object.Drift{Stale: 1}, object.Drift{Stale: 1})
		r.sees("32", "a/x@31", "a/y@26", "a/z@13")
	})
}

func TestNewStatementReplacesWaitingOne(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		r.log("at 30")
		r.put(r.list("1", "30", false, "a/x@25", "a/y@12", "a/z@13"))
		r.wants("a/x")
		r.log("at 40")
		r.put(r.list("2", "40", false, "a/x@11", "a/y@35", "a/z@13"))
		r.wants("a/y")
		r.give("a/y@35")
		r.log("at 41")
		r.wait(lookEvery)
		r.verified(1, "40", object.Drift{Stale: 1}, object.Drift{Stale: 1})
		r.sees("41", "a/x@11", "a/y@35", "a/z@13")
	})
}

// A resync that ends while a statement waits may make it worthless.
func TestSupersededWhileWaiting(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		r.log("at 30")
		r.put(r.list("1", "30", false, "a/x@25", "a/y@12", "a/z@13"))
		r.wants("a/x")
		r.log("begin L1", "a/x@25", "a/y@12", "a/z@13", "end 40")
		r.wait(lookEvery)
		r.verified(0, "", object.Drift{}, object.Drift{})
		if s := r.state(); s.Listed != "1" {
			t.Errorf("state %+v", s)
		}
		r.wants()
	})
}

// A restart between the question and its answer asks again.
func TestRestartWhileWaiting(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		r.log("at 30")
		r.put(r.list("1", "30", false, "a/x@25", "a/y@12", "a/z@13"))
		r.stop()
		r.start()
		r.wait(lookEvery)
		r.wants("a/x")
		r.log("at 31")
		r.give("a/x@25")
		r.wait(lookEvery)
		r.log("at 32")
		r.wait(lookEvery)
		r.verified(1, "30", object.Drift{Stale: 1}, object.Drift{Stale: 1})
	})
}

// Bodies of another version are no use.
func TestBodiesOfAnotherVersion(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		r.log("at 30")
		r.put(r.list("1", "30", false, "a/x@25", "a/y@12", "a/z@13"))
		r.give("a/x@24")
		r.log("at 31")
		r.wait(lookEvery)
		r.verified(0, "", object.Drift{}, object.Drift{})
		r.wants("a/x")
		r.give("a/x@25")
		r.log("at 32")
		r.wait(lookEvery)
		r.verified(1, "30", object.Drift{Stale: 1}, object.Drift{Stale: 1})
	})
}
