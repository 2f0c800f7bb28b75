package aggregator

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// world is an API server, its streamer, Redis and an aggregator, of which the last
// is real: but for the goroutines and the time.
type world struct {
	api      *apiserver
	streamer *streamer
	redis    *redis
	client   *client
	tenure   *tenure
	after    object.LogID // read by the tenure
	lists    []statement
	listed   int
}

var errCrash = fmt.Errorf("the process ends: %w", object.ErrLost)

func newWorld(rt *rapid.T) *world {
	w := &world{api: newAPIServer(), redis: newRedis()}
	w.streamer = &streamer{api: w.api, redis: w.redis}
	w.streamer.newLineage()
	w.client = w.redis.client("a")
	w.restart(rt)
	return w
}

// restart begins a tenure from what Redis holds.
func (w *world) restart(rt *rapid.T) {
	w.redis.take("")
	w.redis.onPublish = nil
	state, err := w.client.Acquire(rt.Context())
	if err != nil {
		rt.Fatal(err)
	}
	a := New(object.Resource{Name: "pods"}, w.client, Options{}, slog.New(slog.DiscardHandler))
	if w.tenure, err = a.begin(rt.Context(), rt.Context(), state); err != nil {
		rt.Fatal(err)
	}
	w.tenure.batch.few = rapid.IntRange(1, 4).Draw(rt, "changes of a piece")
	w.after = state.Checkpoint
}

// merge reads up to so many entries and publishes what they change.
func (w *world) merge(rt *rapid.T, most int) (merged bool) {
	entries, _, err := w.client.readOnce(w.after)
	tail := w.redis.look().logState.Tail
	if errors.Is(err, object.ErrExpired) || len(entries) == 0 && tail != w.after {
		w.tenure.overtaken(object.ErrExpired)
		w.after = tail
		return true
	}
	if entries = entries[:min(most, len(entries))]; len(entries) == 0 {
		return false
	}
	w.after = entries[len(entries)-1].ID
	w.tenure.merge(entries)
	w.publish(rt)
	return true
}

func (w *world) publish(rt *rapid.T) {
	err := w.tenure.publish(rt.Context())
	if errors.Is(err, errCrash) {
		w.restart(rt)
	} else if err != nil {
		rt.Fatal(err)
	}
	w.check(rt)
}

// check compares readers with Redis.
func (w *world) check(rt *rapid.T) {
	if len(w.redis.faults) > 0 {
		rt.Fatalf("%v\n%s", w.redis.faults[0], strings.Join(w.redis.story, "\n"))
	}
	if !w.redis.reader.strays {
		if diff := cmp.Diff(w.redis.now.snapshot, w.redis.reader.objects); diff != "" {
			rt.Fatalf("readers differ from redis: %s", diff)
		}
	}
}

// list takes a statement about now.
func (w *world) list(full bool) *statement {
	w.listed++
	w.lists = append(w.lists, w.api.list(fmt.Sprint("list ", w.listed), w.redis.look().logState, full))
	return &w.lists[len(w.lists)-1]
}

// audit reads what Redis holds.
func (w *world) audit(rt *rapid.T, s *statement) {
	if w.tenure.moved {
		w.publish(rt)
	}
	var err error
	if s.audit, err = NewAudit(&s.listed, w.tenure.state.steps, w.client.Hashes(rt.Context())); err != nil {
		rt.Fatal(err)
	}
	s.of = w.tenure
}

// adopt adopts the statement if the aggregator would. It returns whether it did.
func (w *world) adopt(rt *rapid.T, s *statement) bool {
	t := w.tenure
	r := &round{listed: s.listed, bodies: s.bodies}
	if !t.whole() || t.state.gap {
		return false
	}
	if wait, refused := t.judge(r, t.options.LateAfter); wait || refused != "" {
		return false
	}
	if s.of == t && s.audit.covers(t.state) {
		r.audit = s.audit
	}
	found := t.state.Compare(&r.listed, r.audit)
	if !found.Empty() && !t.mayRepair(r) {
		return false
	}
	if lacking := found.Wants(s.bodies); len(lacking) > 0 {
		rt.Fatalf("lacks bodies of %v", lacking)
	}
	if !w.redis.reader.strays {
		w.checkDrift(rt, s, found.Drift)
	}
	before := w.redis.look().state
	t.round = r
	t.adopt(r, found)
	w.publish(rt)
	if after := w.redis.look().state; w.tenure == t {
		if got, want := after.Drift, before.Drift.Add(found.Drift); got != want {
			rt.Fatalf("counted %v, want %v", got, want)
		}
		if after.Freshness.Verified != s.listed.Version || after.Listed != s.listed.ID || s.listed.Version.Newer(after.Freshness.Streamed) {
			rt.Fatalf("adopted %v at %s, state %+v", s.listed.ID, s.listed.Version, after)
		}
	}
	return true
}

// checkDrift compares what was found with what anybody can see in Redis.
func (w *world) checkDrift(rt *rapid.T, s *statement, got object.Drift) {
	if w.tenure.moved {
		return // Redis is behind
	}
	now, at, position := w.redis.look(), s.listed.Version, w.tenure.state.position
	var want object.Drift
	named := map[object.Key]bool{}
	for _, item := range s.listed.Items {
		named[item.Key] = true
		have, live := now.snapshot[item.Key]
		same := live && have.Version == item.Version && have.UID == item.UID
		switch {
		case live && have.Version.Newer(at), now.tombstones[item.Key].Version.Newer(at):
		case !same && item.Version.Newer(position): // may still come
		case !live:
			want.Missing++
		case !same:
			want.Stale++
		case s.of == w.tenure && s.audit.covers(w.tenure.state) && w.tenure.state.heads[item.Key].step <= s.audit.step && !slices.Equal(have.Data, s.bodies[item.Key].Data):
			want.Altered++
		}
	}
	for key, have := range now.snapshot {
		if !named[key] && !have.Version.Newer(at) && !at.Newer(position) {
			want.Ghost++
		}
	}
	if got != want {
		rt.Fatalf("drift %v, want %v", got, want)
	}
}

func (w *world) actions() map[string]func(*rapid.T) {
	keys := []object.Key{{Namespace: "a", Name: "zz"}, {Namespace: "a-b", Name: "zz"}, {Name: "node"}}
	write := func(rt *rapid.T) {
		for range rapid.IntRange(1, 3).Draw(rt, "writes") {
			w.api.write(rapid.SampledFrom(keys).Draw(rt, "key"), rapid.Bool().Draw(rt, "remove"))
		}
		w.streamer.watch()
	}
	deliver := func(rt *rapid.T) {
		if w.streamer.mustList {
			w.streamer.begin(int64(len(w.api.live)))
		}
		w.streamer.deliver(rt)
	}
	complete := func(rt *rapid.T) {
		if r := w.streamer.resync; r != nil {
			w.streamer.end(rt, rapid.IntRange(r.rev, w.api.rev).Draw(rt, "R"))
		}
	}
	merge := func(rt *rapid.T) { w.merge(rt, rapid.IntRange(1, 5).Draw(rt, "entries")) }
	return map[string]func(*rapid.T){
		"write": write, "deliver": deliver, "merge": merge, "complete the list": complete,
		"write, deliver":        func(rt *rapid.T) { write(rt); deliver(rt) },
		"deliver, merge":        func(rt *rapid.T) { deliver(rt); merge(rt) },
		"write, deliver, merge": func(rt *rapid.T) { write(rt); deliver(rt); merge(rt) },
		"a whole list":          func(rt *rapid.T) { w.streamer.begin(0); deliver(rt); complete(rt); merge(rt) },
		"verify": func(rt *rapid.T) {
			if w.streamer.lineage == w.redis.look().logState.Resync.Lineage && w.merge(rt, 100) {
				w.adopt(rt, w.list(false))
			}
		},
		"other writes": func(*rapid.T) { w.api.rev += 2 },
		"lose events":  func(rt *rapid.T) { w.streamer.lose(rt) },
		"list again":   func(*rapid.T) { w.streamer.begin(0) },
		"list again, only partly": func(*rapid.T) {
			if w.streamer.resync != nil {
				w.streamer.resync, w.streamer.mustList = nil, true
			}
		},
		"new schema": func(*rapid.T) { w.api.schema++ },
		"restore etcd": func(rt *rapid.T) {
			if len(w.api.moments) > 0 && rapid.IntRange(0, 3).Draw(rt, "seldom") == 0 {
				w.api.restore(rapid.SampledFrom(w.api.moments).Draw(rt, "moment"))
				w.streamer.newLineage()
			}
		},
		"other cluster": func(rt *rapid.T) {
			if rapid.IntRange(0, 3).Draw(rt, "seldom") == 0 {
				w.api.replace()
				w.streamer.newLineage()
			}
		},
		"list": func(rt *rapid.T) {
			if w.redis.look().logState.Resync.Lineage == w.streamer.lineage {
				w.list(rapid.Bool().Draw(rt, "full"))
			}
		},
		"audit": func(rt *rapid.T) {
			if len(w.lists) > 0 {
				if s := &w.lists[len(w.lists)-1]; s.listed.Full {
					w.audit(rt, s)
				}
			}
		},
		"adopt": func(rt *rapid.T) {
			if len(w.lists) > 0 {
				w.adopt(rt, &w.lists[rapid.IntRange(0, len(w.lists)-1).Draw(rt, "which")])
			}
		},
		"adopt the newest": func(rt *rapid.T) {
			if len(w.lists) > 0 {
				w.adopt(rt, &w.lists[len(w.lists)-1])
			}
		},
		"restart": w.restart,
		"crash": func(rt *rapid.T) {
			left, applied := rapid.IntRange(0, 5).Draw(rt, "pieces"), rapid.Bool().Draw(rt, "applied")
			w.redis.onPublish = func(object.Publication) (bool, error) {
				if left--; left >= 0 {
					return true, nil
				}
				return applied, errCrash
			}
		},
		"trim the log": func(rt *rapid.T) {
			w.redis.trim(rapid.IntRange(0, len(w.redis.look().log)).Draw(rt, "entries"))
		},
		"redis loses writes": func(rt *rapid.T) {
			if most := min(len(w.redis.history)-1, 5); most > 0 {
				w.redis.lose(rapid.IntRange(1, most).Draw(rt, "writes"))
				w.streamer.resume()
				w.restart(rt)
			}
		},
	}
}

// settle lets all of it come to rest: a complete list in the log, all merged.
func (w *world) settle(rt *rapid.T) {
	for w.merge(rt, 3) { // and finds what is trimmed
	}
	w.api.rev++
	w.streamer.watch()
	w.streamer.begin(0)
	w.streamer.end(rt, w.api.rev)
	w.api.rev++
	w.redis.append(w.streamer.mark())
	for w.merge(rt, 3) {
	}
	for _, problem := range []struct {
		is   bool
		what string
	}{
		{!w.tenure.whole(), "readers see nothing"},
		{w.tenure.state.gap, "there is a gap"},
		{w.tenure.state.position != w.api.version(), "the position is " + string(w.tenure.state.position)},
		{w.redis.reader.at.Freshness.Streamed != w.api.version(), "readers are at " + string(w.redis.reader.at.Freshness.Streamed)},
	} {
		if problem.is {
			rt.Fatalf("after a complete list at %s %s: %+v", w.api.version(), problem.what, w.tenure.last)
		}
	}
}

// Any history, delivered with loss, repetition, disorder, breaks and restarts,
// ends in the true state, and readers never see a key go back in time.
func TestWorld(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		actions := w.actions()
		if rapid.Bool().Draw(rt, "begin in sync") {
			actions["a whole list"](rt)
		}
		rt.Repeat(actions)
		w.redis.onPublish = nil
		w.settle(rt)
		w.api.rev++
		s := w.list(true)
		w.audit(rt, s)
		if !w.adopt(rt, s) {
			rt.Fatalf("the final list at %s was not adopted: %+v", s.listed.Version, w.tenure.last)
		}
		if diff := cmp.Diff(s.bodies, w.redis.look().snapshot); diff != "" {
			rt.Fatalf("redis differs from the truth: %s", diff)
		}
		if diff := cmp.Diff(s.bodies, w.redis.reader.shown); diff != "" {
			rt.Fatalf("readers see another thing than the truth: %s", diff)
		}
		for range 100 { // all of it is old by now
			w.publish(rt)
		}
		if left := w.redis.look().tombstones; len(left) > 0 {
			rt.Fatalf("tombstones are left: %v", left)
		}
		again := w.list(true)
		w.audit(rt, again)
		if found := w.tenure.state.Compare(&again.listed, again.audit); !found.Empty() {
			rt.Fatalf("a second look finds %+v", found)
		}
	})
}
