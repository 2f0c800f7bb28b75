package streamer

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestFirstStart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.write("b") // 2
		w.write("a") // 3
		w.bump()     // 4
		w.follow()
		w.wantLog(0, "begin", "columns", "record 3", "record 2", "end 4")
		first := w.redis.all()[0].Resync
		if first.Lineage == "" || first.ClusterUID != "cluster-1" || first.Schema != "schema-1" || first.Rewrite || first.Expect != 2 {
			t.Errorf("began with %+v", first)
		}
		w.wantCount("resyncs first", 1)

		w.write("c")  // 5
		w.remove("a") // 6
		w.pass(time.Second)
		w.wantLog(5, "record 5", "record 6", "position 6")
		w.wantTruth()
		if w.opens("initial") != 1 || w.opens("watch") != 0 {
			t.Error("the list's connection should have gone on live")
		}
	})
}

func TestListWhereInitialIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.unsupported = true
		w.write("a")
		w.follow()
		w.write("b")
		w.pass(time.Second)
		w.wantLog(0, "begin", "columns", "record 2", "end 2", "record 3", "position 3")
		w.wantTruth()
	})
}

func TestLoneEventIsAppendedAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		before := len(w.redis.entries)
		w.write("a")
		w.pass(time.Millisecond) // an append takes 1 ms
		if len(w.redis.entries) != before+1 {
			t.Errorf("%d appends, want one", len(w.redis.entries)-before)
		}
		for range 3 {
			w.write("b")
		}
		w.pass(time.Second)
		w.wantTruth()
		if n := len(w.redis.entries) - before; n > 3 {
			t.Errorf("%d appends, want the last ones batched", n)
		}
	})
}

func TestAbsentUntilItAppears(t *testing.T) {
	inWorld(t, func(w *world) {
		w.absent = true
		w.start()
		w.pass(time.Minute)
		w.wantState(object.StateAbsent, "no such resource")
		if n := len(w.redis.reports); n < 12 {
			t.Errorf("%d reports in a minute, want one every 5 s", n)
		}
		w.do(func() { w.absent = false })
		w.pass(11 * time.Second)
		w.wantState(object.StateFollowing, "")
	})
}

func TestReportsBeforeItIsResolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.absent = true
		w.resource = object.Resource{Group: "apps", Version: "v1", Name: "deployments"}
		var opened []object.Resource
		s := New("deploy.v1.apps", w.server, func(r object.Resource) Log {
			opened = append(opened, r)
			return w.redis.open(r)
		}, w.options, w.logger)
		ctx, cancel := context.WithCancel(t.Context())
		w.running.Go(func() { _ = s.Run(ctx) })
		w.pass(time.Second)
		w.do(func() { w.absent = false })
		w.pass(15 * time.Second)
		cancel()
		w.running.Wait()
		want := []object.Resource{{Group: "apps", Version: "v1", Name: "deploy"}, w.resource}
		if !slices.Equal(opened, want) {
			t.Errorf("opened the logs of %v, want %v", opened, want)
		}
	})
}

func TestNameThatCannotBe(t *testing.T) {
	w := newWorld(t)
	if err := New("Pods!", w.server, w.redis.open, Options{}, w.logger).Run(t.Context()); err == nil {
		t.Error("Run accepted a name that is none")
	}
}

func TestServerThatRefuses(t *testing.T) {
	f := func(fault error, state object.State, least, most time.Duration) {
		t.Helper()
		inWorld(t, func(w *world) {
			w.fault = fault
			w.start()
			w.pass(2 * time.Minute)
			w.wantState(state, fault.Error())
			since := time.Now()
			w.do(func() { w.fault = nil })
			for w.redis.status().State != object.StateFollowing && time.Since(since) < time.Hour {
				w.pass(100 * time.Millisecond)
			}
			if took := time.Since(since); took < least || took > most {
				t.Errorf("%v: followed after %v, want %v to %v", fault, took, least, most)
			}
		})
	}
	f(errBroken, object.StateUnreachable, 0, 31*time.Second)
	f(object.ErrForbidden, object.StateForbidden, 0, 31*time.Second)
	f(&object.RetryError{After: 10 * time.Minute, Err: errors.New("busy")}, object.StateUnreachable, 7*time.Minute, 10*time.Minute)
}

func TestOneStreamerAtATime(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		stopFirst := w.stop
		w.start()
		w.write("a")
		w.pass(time.Minute)
		if w.redis.acquired != 1 {
			t.Fatal("the second did not wait")
		}
		stopFirst()
		w.pass(time.Second)
		if w.redis.acquired != 2 || w.redis.released != 1 {
			t.Errorf("%d took the log, %d released it; want 2 and 1", w.redis.acquired, w.redis.released)
		}
		w.write("b")
		w.pass(10 * time.Second)
		w.wantTruth()
		w.wantCount("resyncs first", 1)
	})
}

func TestFenced(t *testing.T) {
	f := func(name string, write bool) {
		inWorld(t, func(w *world) {
			w.follow()
			w.redis.usurp()
			if write {
				w.write("a")
			}
			w.pass(2 * time.Second)
			if w.redis.acquired != 2 {
				t.Errorf("%s: took the log %d times, want 2", name, w.redis.acquired)
			}
			w.write("b")
			w.pass(10 * time.Second)
			w.wantTruth()
			w.wantCount("reconnects fenced", 1)
		})
	}
	f("append", true)
	f("beat", false)
}

func TestRedisAway(t *testing.T) {
	f := func(name string, forgetful bool, outage time.Duration, writes int) {
		inWorld(t, func(w *world) {
			w.options.BufferRecords, w.options.BatchRecords = 4, 2
			w.follow()
			w.redis.do(func() { w.redis.away, w.redis.forgetful = true, forgetful })
			for range writes {
				w.write("a")
				w.write("b")
				w.pass(outage / time.Duration(writes))
			}
			w.redis.do(func() { w.redis.away = false })
			w.pass(10 * time.Second)
			w.wantTruth()
			w.wantCount("resyncs first", 1)
			if n := w.count("resyncs expired"); n != 0 {
				t.Errorf("%s: %d resyncs", name, n)
			}
			seen := make(map[object.Version]bool)
			for _, item := range w.redis.all() {
				if item.Kind == object.ItemRecord {
					if seen[item.Record.Version] {
						t.Errorf("%s: record %s twice", name, item.Record.Version)
					}
					seen[item.Record.Version] = true
				}
			}
		})
	}
	f("short", false, 3*time.Second, 1)
	f("the answer is lost", true, 3*time.Second, 1)
	f("longer than the buffer", false, time.Minute, 20)
	f("longer than the watch", true, 30*time.Minute, 20)
}

func TestRedisAwayIsReported(t *testing.T) {
	inWorld(t, func(w *world) {
		log := &failing{handle: &handle{r: w.redis}}
		ctx, cancel := context.WithCancel(w.t.Context())
		w.stop = cancel
		w.running.Go(func() {
			_ = New("pods", w.server, func(object.Resource) Log { return log }, w.options, w.logger).Run(ctx)
		})
		w.pass(10 * time.Second)
		w.redis.do(func() { log.fail = true })
		w.write("a")
		w.pass(time.Second)
		w.wantState(object.StateFailing, "append to the log: redis is away")
		w.redis.do(func() { log.fail = false })
		w.pass(6 * time.Second)
		w.wantState(object.StateFollowing, "")
		w.wantTruth()
	})
}

func TestRedisLostWrites(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		for range 5 {
			w.write("a")
			w.write("b")
			w.pass(time.Second)
		}
		w.redis.lose(4, false)
		w.write("c")
		w.pass(10 * time.Second)
		w.wantTruth()
		w.wantCount("reconnects lost", 1)
		w.wantCount("resyncs lost", 0) // the log's own position sufficed

		w.redis.lose(100, false)
		w.write("c")
		w.pass(10 * time.Second)
		w.wantTruth()
		w.wantCount("resyncs lost", 1)
	})
}

func TestStopDrains(t *testing.T) {
	inWorld(t, func(w *world) {
		w.options.BatchRecords = 1
		w.follow()
		for range 100 {
			w.write("a")
		}
		w.pass(5 * time.Millisecond)
		w.stop()
		w.running.Wait()
		if state := w.redis.now(); state.Position != "101" || w.redis.released != 1 {
			t.Errorf("stopped at %s, released %d times", state.Position, w.redis.released)
		}
	})
}

func TestStopDoesNotWaitForRedis(t *testing.T) {
	inWorld(t, func(w *world) {
		w.follow()
		w.redis.do(func() { w.redis.away = true })
		w.write("a")
		w.pass(time.Second)
		began := time.Now()
		w.end()
		if took := time.Since(began); took > drainTimeout+time.Second {
			t.Errorf("took %v to stop", took)
		}
	})
}
