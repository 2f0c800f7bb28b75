package aggregator

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

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
					if r.redis.between(nil); r.redis.holder() == "killed" {
						r.kill()
						r.start()
					}
				}
				if i > 0 {
					return
				}
				left := after
				r.redis.between(func(object.Publication) (bool, error) {
					if left--; left >= 0 {
						return true, nil
					}
					r.redis.fence, r.redis.until = "killed", time.Now().Add(time.Minute)
					return applied, errors.New("no answer")
				})
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
	for _, silence := range []time.Duration{0, 3 * time.Second} {
		f(fmt.Sprint("the beginning of a resync that is just being published, silence ", silence), func(t *testing.T, r *rig) {
			r.redis.between(func(object.Publication) (bool, error) { return false, errors.New("no answer") })
			r.log("begin L1", "a/x@11")
			r.redis.lose(1)
			r.wait(silence)
			r.log("a/z@22", "at 22") // the watch goes on
			r.redis.between(nil)
			r.wait(10 * time.Second)
			r.sees("21", "a/x@11", "a/y@21")
			if r.asked(object.AskResync) == 0 {
				t.Error("no complete list was asked for")
			}
			r.log("begin L1", "a/x@11", "a/y@21", "a/z@22", "end 23")
			r.sees("23", "a/x@11", "a/y@21", "a/z@22")
		})
	}
	f("and goes on before that is noticed", func(t *testing.T, r *rig) {
		r.log("a/lost@22", "at 22")
		r.redis.lose(2)
		r.log("a/z@23", "at 23")
		r.wait(time.Second)
		r.sees("23", "a/x@11", "a/y@21", "a/z@23")
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
				r.redis.between(func(object.Publication) (bool, error) {
					if failures--; failures < 0 {
						return true, nil
					}
					return applied, err
				})
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

func TestStopDrains(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		many := []string{"begin L1"}
		for i := range 1500 {
			many = append(many, fmt.Sprintf("many/%04d@%d", i, 40+i))
		}
		var away atomic.Bool
		away.Store(true)
		r.redis.between(func(object.Publication) (bool, error) {
			if away.Load() {
				return false, errors.New("no answer")
			}
			return true, nil
		})
		r.log(append(many, "end 2000")...)
		time.AfterFunc(time.Second, func() { away.Store(false) })
		r.stop() // waits for it
		r.sees("2000", many[1:]...)
		if r.redis.holder() != "" {
			t.Error("the lease was not given back")
		}
		away.Store(true)
		r.start()
		r.log("a/x@2001", "at 2001")
		begun := time.Now()
		r.stop() // does not wait for ever
		if took := time.Since(begun); took != drainTimeout {
			t.Errorf("took %v", took)
		}
		away.Store(false)
		r.start()
		r.sees("2001", append(many[1:], "a/x@2001")...)
	})
}
