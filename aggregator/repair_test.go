package aggregator

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// A repair of many objects that breaks off half-way is shown only behind its
// barrier, and counted once.
func TestRestartDuringRepair(t *testing.T) {
	for pieces := range 4 {
		inSync(t, func(t *testing.T, r *rig) {
			truth := []string{"a/x@11", "a/y@12", "a/z@13"}
			for i := range 1300 {
				truth = append(truth, fmt.Sprintf("many/%04d@15", i))
			}
			r.put(r.list("1", "20", false, truth...))
			r.give(truth...)
			r.redis.killAfter(pieces)
			r.log("at 21")
			r.wait(lookEvery)
			r.kill()
			r.redis.between(nil)
			r.start()
			for rev := 22; rev < 25; rev++ {
				r.wait(2 * time.Second)
				r.give(truth...)
				r.log(fmt.Sprint("at ", rev))
			}
			r.wait(lookEvery)
			r.sees("24", truth...)
			if s := r.state(); s.Drift != (object.Drift{Missing: 1300}) || s.Verified != 1 || s.Barrier.Compare("21") < 0 {
				t.Errorf("after %d pieces: drift %v, %d verifications, barrier %s", pieces, s.Drift, s.Verified, s.Barrier)
			}
		})
	}
}

// What was repaired at R is not for readers who are below R, also when the repair
// broke off.
func TestRestartDuringLateRepair(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		truth := []string{"a/x@11", "a/y@12", "a/z@13"}
		for i := range 1300 {
			truth = append(truth, fmt.Sprintf("many/%04d@15", i))
		}
		r.put(r.list("1", "30", false, truth...))
		r.wait(11 * time.Second)
		r.redis.killAfter(1)
		r.give(truth...)
		r.wait(time.Second)
		r.kill()
		r.redis.between(nil)
		if s := r.state(); s.Barrier != "30" || s.Drift.Missing == 0 || s.Drift.Missing == 1300 {
			t.Fatalf("not cut off in the middle: %+v", s)
		}
		asked := r.asked(object.AskAdvance)
		r.start()
		r.log("at 22")
		r.wait(time.Second)
		r.sees("20", truth[:3]...)
		if r.asked(object.AskAdvance) == asked {
			t.Error("no newer position was asked for")
		}
		r.log("a/n@31", "at 31")
		r.wait(lookEvery)
		r.give(truth...)
		r.log("at 32")
		r.wait(lookEvery)
		r.sees("32", append(truth, "a/n@31")...)
		if s := r.state(); s.Drift != (object.Drift{Missing: 1300}) || s.Verified != 1 {
			t.Errorf("state %+v", s)
		}
	})
}

// What changes while Redis is read for a full round is not judged by it.
func TestAuditOfWhatMoves(t *testing.T) {
	f := func(name string, before, meanwhile []string, want ...string) {
		t.Run(name, func(t *testing.T) {
			inSync(t, func(t *testing.T, r *rig) {
				r.log(append(before, "at 30")...)
				r.redis.onHashes = func() {
					r.redis.onHashes = nil
					r.redis.append(items(meanwhile...)...)
					time.Sleep(time.Second)
				}
				r.put(r.list("1", "30", true, "a/x@11", "a/y@12", "a/z@13"))
				r.wait(5 * time.Second)
				r.verified(1, "30", object.Drift{}, object.Drift{})
				r.sees(r.redis.look().logState.Position, want...)
			})
		})
	}
	f("changed, gone and new", nil, []string{"a/x@31", "-a/y@32", "a/n@33", "at 33"}, "a/x@31", "a/z@13", "a/n@33")
	f("gone, and not in the list", []string{"a/n@31"}, []string{"-a/n@32", "at 32"}, "a/x@11", "a/y@12", "a/z@13")
	f("a ghost that a resync removes", []string{"a/ghost@25"}, []string{"begin L1", "a/x@11", "a/y@12", "a/z@13", "end 30", "at 31"}, "a/x@11", "a/y@12", "a/z@13")
}

// The stream brings late what the list has, while Redis is read.
func TestAuditOfLateList(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		r.redis.onHashes = func() {
			r.redis.onHashes = nil
			r.redis.append(items("a/x@25", "a/n@26", "at 26")...)
			time.Sleep(time.Second)
		}
		r.put(r.list("1", "30", true, "a/x@25", "a/y@12", "a/z@13", "a/n@26"))
		r.wait(15 * time.Second)
		r.verified(1, "30", object.Drift{}, object.Drift{})
		r.sees("30", "a/x@25", "a/y@12", "a/z@13", "a/n@26")
		if s := r.state(); s.Late != 1 || s.Barrier != "" {
			t.Errorf("state %+v", s)
		}
	})
}

// A full round finds its position on a busy resource.
func TestFullRepairOnBusyResource(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		r.spoil("a/x", []byte("spoiled"))
		r.put(r.list("1", "20", true, "a/x@11", "a/y@12", "a/z@13"))
		for rev := 21; rev < 60; rev++ {
			r.log(fmt.Sprintf("a/busy@%d", rev), fmt.Sprint("at ", rev))
			r.give("a/x@11")
		}
		r.verified(1, "20", object.Drift{Altered: 1}, object.Drift{Altered: 1})
		if diff := cmp.Diff(r.redis.look().snapshot[object.ParseKey("a/x")], packed("a/x@11")); diff != "" {
			t.Error(diff)
		}
	})
}

// What is gone from Redis is missed there, too.
func TestAuditFindsWhatIsGone(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		r.log("at 30")
		r.spoil("a/x", nil)
		r.put(r.list("1", "30", true, "a/x@11", "a/y@12", "a/z@13"))
		r.wait(time.Second)
		r.wants("a/x")
		r.give("a/x@11")
		r.log("at 31")
		r.wait(lookEvery)
		r.verified(1, "30", object.Drift{Missing: 1}, object.Drift{Missing: 1})
		if diff := cmp.Diff(r.redis.look().snapshot[object.ParseKey("a/x")], packed("a/x@11")); diff != "" {
			t.Error(diff)
		}
	})
}

// An adoption that Redis loses is made again, and its drift counted once.
func TestAdoptionIsLost(t *testing.T) {
	inSync(t, func(t *testing.T, r *rig) {
		truth := []string{"a/x@11", "a/y@12", "a/z@13", "a/new@15"}
		r.put(r.list("1", "21", false, truth...))
		r.log("at 21")
		r.wait(lookEvery)
		r.give(truth...)
		r.log("at 22")
		r.wait(lookEvery)
		r.verified(1, "21", object.Drift{Missing: 1}, object.Drift{Missing: 1})
		r.redis.lose(2)
		synctest.Wait()
		r.redis.put(r.redis.look().listed)
		r.log("at 23")
		r.wait(5 * time.Second)
		r.give(truth...)
		r.log("at 24")
		r.wait(lookEvery)
		r.verified(1, "21", object.Drift{Missing: 1}, object.Drift{Missing: 1})
		r.sees("24", truth...)
	})
}
