package aggregator

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

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

// The whole of a story, cut at any place by an end of the process.
func TestRestart(t *testing.T) {
	many := make([]string, 1300)
	for i := range many {
		many[i] = fmt.Sprintf("many/%04d@%d", i, 40+i)
	}
	story := [][]string{
		{"begin L1", "a/x@11"},
		{"a/y@12", "end 20"},
		{"a/z@21", "at 21"},
		{"-a/y@22", "at 22"},
		{"begin L1", "a/x@11"},
		{"begin L1", "a/x@11"},
		slices.Concat(many, []string{"a/v@30"}),
		{"-a/v@1990", "end 2000"},
		{"a/w@2001", "at 2001"},
	}
	want := slices.Concat(many, []string{"a/x@11", "a/w@2001"}) // z was not named
	f := func(name string, cut func(r *rig, i int)) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				for i, entry := range story {
					cut(r, i)
					r.log(entry...)
				}
				cut(r, len(story))
				r.wait(10 * time.Second)
				r.sees("2001", want...)
				if s := r.state(); s.Checkpoint != r.redis.look().logState.Tail || s.Resyncing {
					t.Errorf("state %s", stateText(s))
				}
			})
		})
	}
	for at := range story {
		f(fmt.Sprint("stopped before entry ", at), func(r *rig, i int) {
			if i == at {
				r.stop()
				r.start()
			}
		})
		f(fmt.Sprint("down during entry ", at), func(r *rig, i int) {
			if i == at {
				r.stop()
			}
			if i == at+1 {
				r.start()
			}
		})
	}
	for after := range 14 {
		for _, applied := range []bool{false, true} {
			f(fmt.Sprint("killed in publication ", after, applied), func(r *rig, i int) {
				if i == len(story)-1 {
					r.wait(time.Second)
					if r.redis.onPublish = nil; r.redis.fence == "killed" {
						r.kill()
						r.start()
					}
				}
				if i > 0 {
					return
				}
				left := after
				r.redis.onPublish = func(object.Publication) (bool, error) {
					if left--; left >= 0 {
						return true, nil
					}
					r.redis.fence, r.redis.until = "killed", time.Now().Add(time.Minute)
					return applied, errors.New("no answer")
				}
			})
		}
	}
}

// Only entries from before the resync that runs are checkpoints.
func TestCheckpointStaysBeforeResync(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := r.log("begin L1", "a/x@11", "end 20")
		r.log("begin L1", "a/x@11")
		r.log("a/y@21")
		if s := r.state(); s.Checkpoint != first || !s.Resyncing {
			t.Errorf("checkpoint %s, want %s; %+v", s.Checkpoint, first, s)
		}
		last := r.log("end 30")
		if s := r.state(); s.Checkpoint != last || s.Resyncing {
			t.Errorf("checkpoint %s, want %s; %+v", s.Checkpoint, last, s)
		}
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
		if got := first.redis.fence; got != "a1" {
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

func TestRedisLosesWrites(t *testing.T) {
	f := func(name string, story func(t *testing.T, r *rig)) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.log("begin L1", "a/x@11", "end 20")
				r.log("a/y@21", "at 21")
				story(t, r)
			})
		})
	}
	f("the last publication", func(t *testing.T, r *rig) {
		r.redis.lose(1)
		r.log("a/z@22", "at 22")
		r.wait(time.Second)
		r.sees("22", "a/x@11", "a/y@21", "a/z@22")
		if got := r.metric("krm_aggregator_restarts_total", "lost"); got != 1 {
			t.Errorf("%v restarts", got)
		}
	})
	f("what it was made of, too", func(t *testing.T, r *rig) {
		r.redis.lose(2)
		r.log("a/z@22", "at 22") // y's record does not come again
		r.wait(time.Second)
		r.sees("22", "a/x@11", "a/z@22")
	})
	f("in silence", func(t *testing.T, r *rig) {
		r.redis.lose(2)
		r.wait(3 * time.Second)
		if got := r.metric("krm_aggregator_restarts_total", "lost"); got != 1 {
			t.Errorf("%v restarts", got)
		}
		r.sees("20", "a/x@11")
	})
	f("the beginning of a resync", func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11")
		r.redis.lose(2)
		r.log("a/z@22", "at 22") // the watch goes on
		r.wait(time.Second)
		r.sees("22", "a/x@11", "a/y@21", "a/z@22")
	})
	f("the log alone", func(t *testing.T, r *rig) {
		r.redis.mu.Lock()
		r.redis.now.log, r.redis.now.logState = nil, object.LogState{}
		r.redis.mu.Unlock()
		r.wait(3 * time.Second)
		if r.asked(object.AskResync) == 0 {
			t.Error("no complete list was asked for")
		}
		r.log("begin L2", "a/x@3")
		r.log("end 5")
		r.wait(3 * time.Second)
		r.sees("5", "a/x@3")
	})
}

func TestOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "end 20")
		r.wait(time.Second)
		r.redis.fail(errors.New("connection refused"))
		r.log("a/y@21", "at 21")
		r.log("a/z@22", "at 22")
		r.wait(3 * time.Minute)
		r.sees("20", "a/x@11")
		if got := r.status(); got.State != object.StateFailing || got.Message != "read the log: connection refused" {
			t.Errorf("status %+v", got)
		}
		r.redis.fail(nil)
		r.wait(10 * time.Second)
		r.sees("22", "a/x@11", "a/y@21", "a/z@22")
		if got := r.status(); got.State != object.StateFollowing {
			t.Errorf("status %+v", got)
		}
		if got := r.metric("krm_aggregator_restarts_total"); got != 0 {
			t.Errorf("%v restarts", got)
		}
	})
}

func TestPublishIsRepeated(t *testing.T) {
	f := func(name string, applied bool, err error) {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.log("begin L1", "a/x@11", "end 20")
				failures := 3
				r.redis.onPublish = func(object.Publication) (bool, error) {
					if failures--; failures < 0 {
						return true, nil
					}
					return applied, err
				}
				before := len(r.redis.look().feed)
				r.log("a/y@21", "at 21")
				r.wait(5 * time.Second)
				r.sees("21", "a/x@11", "a/y@21")
				if got := len(r.redis.look().feed) - before; got != 1 {
					t.Errorf("%d entries", got)
				}
			})
		})
	}
	f("full", false, object.ErrFull)
	f("no answer, not applied", false, errors.New("timeout"))
	f("no answer, applied", true, errors.New("timeout"))
}

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
		r.put(r.list("2", "41", false, "a/x@11", "a/z@40"))
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

func TestStopDrains(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		many := []string{"begin L1"}
		for i := range 1500 {
			many = append(many, fmt.Sprintf("many/%04d@%d", i, 40+i))
		}
		away := true
		r.redis.onPublish = func(object.Publication) (bool, error) {
			if away {
				return false, errors.New("no answer")
			}
			return true, nil
		}
		r.log(append(many, "end 2000")...)
		time.AfterFunc(time.Second, func() { away = false })
		r.stop() // waits for it
		r.sees("2000", many[1:]...)
		if r.redis.fence != "" {
			t.Error("the lease was not given back")
		}
		away = true
		r.start()
		r.log("a/x@2001", "at 2001")
		begun := time.Now()
		r.stop() // does not wait for ever
		if took := time.Since(begun); took != drainTimeout {
			t.Errorf("took %v", took)
		}
		away = false
		r.start()
		r.sees("2001", append(many[1:], "a/x@2001")...)
	})
}

func TestReports(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.log("begin L1", "a/x@11", "end 20")
		r.wait(time.Second)
		before := len(r.redis.statuses)
		r.wait(time.Minute)
		if got := len(r.redis.statuses) - before; got != 12 {
			t.Errorf("%d reports a minute", got)
		}
		if got := r.status(); got.Role != object.RoleAggregator || got.State != object.StateFollowing || time.Since(got.At) > reportEvery {
			t.Errorf("status %+v", got)
		}
	})
}
