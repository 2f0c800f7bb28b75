package aggregator

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestOvertaken(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "end 20")
		r.put(r.list("1", "20", false, "a/x@11"))
		r.stop()
		for i := range 5 {
			r.log(fmt.Sprintf("a/y@%d", 21+i), fmt.Sprintf("at %d", 21+i))
		}
		r.redis.trim(3)
		r.start()
		r.log("a/z@40", "at 40")
		r.sees("20", "a/x@11") // what came before z is unknown
		r.put(r.list("2", "41", false, "a/x@11"))
		r.wait(12 * time.Second)
		if got := r.asked(object.AskResync); got != 3 {
			t.Errorf("asked %d times for a complete list", got)
		}
		if s := r.state(); s.Verified != 1 || s.Checkpoint.Compare(r.redis.look().log[0].ID) >= 0 {
			t.Errorf("state %+v", s)
		}
		if got := r.status(); got.State != object.StateSyncing || got.Message != "waiting for a complete list" {
			t.Errorf("status %+v", got)
		}

		r.log("begin L1", "a/x@11")
		r.wait(20 * time.Second)
		r.sees("20", "a/x@11")
		if got := r.asked(object.AskResync); got != 3 {
			t.Errorf("asked for a complete list while one is on its way")
		}
		r.log("a/z@40", "end 50")
		r.sees("50", "a/x@11", "a/z@40")
		if s := r.state(); s.Barrier != "50" || s.Checkpoint != r.redis.look().logState.Tail {
			t.Errorf("state %+v", s)
		}
		r.wait(time.Second)
		if r.asked(object.AskVerify) < 2 || r.state().Listed != "2" || r.state().Verified != 1 {
			t.Errorf("the old statement still stands: %+v", r.state())
		}
	})
}

// All of the log that was not merged is gone, and nothing more comes.
func TestOvertakenInSilence(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "end 20")
		r.stop()
		r.log("a/y@21", "at 21")
		r.redis.trim(2)
		r.start()
		r.wait(5 * time.Second)
		if r.asked(object.AskResync) == 0 {
			t.Error("no complete list was asked for")
		}
	})
}

// A gap in the middle of a complete list: readers do not see the half of it.
func TestOvertakenDuringResync(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "a/y@12", "end 20", "at 25")
		r.log("begin L1", "a/x@11", "a/missed@24")
		r.redis.fail(errors.New("connection refused"))
		r.log("a/y@12")
		r.log("end 30")
		r.redis.trim(3)
		r.redis.fail(nil)
		r.wait(5 * time.Second)
		r.log("at 31")
		r.sees("25", "a/x@11", "a/y@12")
		r.stop()
		r.start()
		r.log("at 32")
		r.sees("25", "a/x@11", "a/y@12")
		r.wait(5 * time.Second)
		if r.asked(object.AskResync) == 0 {
			t.Error("no complete list was asked for")
		}
		r.log("begin L1", "a/x@11", "a/missed@24", "a/y@12", "end 40")
		r.sees("40", "a/x@11", "a/missed@24", "a/y@12")
		if e := r.lastEntry(); e.Barrier != "40" {
			t.Errorf("entry %+v", e)
		}
	})
}

// What follows a gap may be the rest of a list of another history.
func TestOvertakenByAnotherLineage(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "end 20")
		r.stop()
		r.log("begin L2", "a/x@3")
		r.redis.trim(2)
		r.start()
		r.wait(3 * time.Second)
		r.log("a/y@30", "end 40")
		r.log("a/z@41", "at 41")
		r.sees("20", "a/x@11")
		r.log("begin L2", "a/x@3", "a/z@41", "end 45")
		r.sees("45", "a/x@3", "a/z@41")
	})
}

// A rewrite that was lost is made up for by the list that mends the gap.
func TestOvertakenByRewrite(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "end 20")
		r.stop()
		r.log("rewrite L1", "a/x@11!", "end 25")
		r.redis.trim(2)
		r.start()
		r.wait(3 * time.Second)
		again := items("begin L1", "a/x@11!", "end 30")
		again[0].Resync.Schema = "2"
		r.redis.append(again...)
		synctest.Wait()
		r.sees("30", "a/x@11")
		if diff := cmp.Diff(packed("a/x@11!"), r.redis.look().snapshot[object.ParseKey("a/x")]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNewLineage(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@5011", "a/y@5012", "end 5020")
		r.log("begin L1", "a/x@5011", "a/y@5012", "end 5030", "-a/y@5040", "at 5040")
		r.put(r.list("1", "5040", false, "a/x@5011"))
		r.log("a/y@5041#2", "-a/y@5042#2", "at 5042")
		if s := r.state(); s.Barrier != "5040" || s.Freshness.Verified != "5040" || len(r.redis.look().tombstones) != 1 {
			t.Errorf("state %+v", s)
		}
		r.log("begin L2", "a/x@3#2")
		r.sees("5042", "a/x@5011")
		if s := r.state(); s.Synced || s.Lineage != "L2" || s.Freshness != (object.Freshness{}) || s.Barrier != "" || s.Floor != "" {
			t.Errorf("the old lineage's versions are left: %+v", s)
		}
		r.stop()
		r.start()
		r.log("a/z@4", "end 10")
		r.sees("10", "a/x@3#2", "a/z@4")
		if e := r.lastEntry(); e.Barrier != "" || e.Freshness.Verified != "" {
			t.Errorf("entry %+v", e)
		}
		r.stop()
		r.start()
		r.log("a/y@11", "at 11") // its tombstone had a version that was higher
		r.sees("11", "a/x@3#2", "a/y@11", "a/z@4")
	})
}

// A resync that finds something at a position that readers know already cannot be
// shown there: those who are at it would never learn of it.
func TestResyncWaitsForNewerPosition(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "end 20", "at 25")
		r.log("begin L1", "a/x@11", "end 25") // nothing new: nothing to wait for
		r.sees("25", "a/x@11")
		r.log("at 30")
		r.log("begin L1", "a/x@11", "a/missed@28", "end 30")
		r.wait(12 * time.Second)
		r.sees("30", "a/x@11")
		if got := r.asked(object.AskAdvance); got != 3 {
			t.Errorf("asked %d times for a newer position", got)
		}
		r.stop()
		r.start()
		r.wait(time.Second)
		r.sees("30", "a/x@11")
		r.log("at 31")
		r.sees("31", "a/x@11", "a/missed@28")
		if e := r.lastEntry(); e.Barrier != "31" {
			t.Errorf("entry %+v", e)
		}
	})
}

func TestMissedDeletion(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11#1", "end 20")
		r.log("a/x@30#2", "at 30")
		r.sees("30", "a/x@30#2")
		e := r.lastEntry()
		if len(e.Changes) != 2 || e.Changes[0].Type != object.Deleted || e.Changes[0].Object.UID != "a/x#1" || e.Changes[1].Type != object.Added {
			t.Errorf("changes %s", changesText(e.Changes))
		}
		if e.Barrier != "30" {
			t.Errorf("barrier %q", e.Barrier)
		}
	})
}
