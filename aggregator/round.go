package aggregator

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// round is one statement of the verifier on its way to being adopted.
type round struct {
	listed   object.Listed
	came     time.Time
	late     bool
	waiting  bool // the bodies that were wanted have not all come
	bodies   map[object.Key]object.Packed
	blocked  object.Version // the position at which a repair had to wait for a newer one
	asked    time.Time      // when we last asked for that
	found    Difference
	stored   Stored // of a full round: what Redis held at the state's step storedAt
	storedAt uint32
	adopted  bool
}

// verify moves the verification on by what can be done now. If the round is
// adopted, the batch holds its changes and the caller publishes them.
func (t *tenure) verify(ctx context.Context) error {
	if now := time.Now(); now.Sub(t.looked) >= lookEvery {
		t.looked = now
		if err := t.look(ctx); err != nil {
			t.log.Debug("cannot look for a statement", "err", err)
			return nil
		}
	}
	r := t.round
	if r == nil || r.adopted || !t.whole() || t.state.gap {
		return nil
	}
	if wait, refused := t.judge(r); wait {
		// On a quiet resource the position moves once a minute, unless asked for.
		if time.Since(r.came) >= advanceAfter {
			t.advance(ctx, r)
		}
		return nil
	} else if refused != "" {
		t.refuse(ctx, r, refused)
		return nil
	}
	return t.compare(ctx, r)
}

// look takes up the newest statement, and the bodies that were wanted for it.
func (t *tenure) look(ctx context.Context) error {
	known := t.done
	if t.round != nil {
		known = t.round.listed.ID
	}
	type answer struct {
		listed object.Listed
		ok     bool
	}
	now, err := call(ctx, callTimeout, func(ctx context.Context) (a answer, err error) {
		a.listed, a.ok, err = t.snapshot.Listed(ctx, known)
		return a, err
	})
	if err != nil {
		return err
	}
	if now.ok && now.listed.ID != t.done {
		t.round = &round{listed: now.listed, came: time.Now()}
		return nil
	}
	if t.round == nil || !t.round.waiting {
		return nil
	}
	bodies, err := call(ctx, scanTimeout, func(ctx context.Context) (map[object.Key]object.Packed, error) {
		bodies, _, err := t.snapshot.Bodies(ctx, t.round.listed.ID)
		return bodies, err
	})
	if bodies != nil {
		t.round.bodies, t.round.waiting = bodies, false
	}
	return err
}

// judge says whether the round has to wait for the stream, or why it is refused.
func (t *tenure) judge(r *round) (wait bool, refused string) {
	l, patience := r.listed, time.Since(r.came) < t.options.LateAfter
	switch {
	case l.Lineage != t.state.lineage:
		return patience, "it is of another lineage"
	case l.ClusterUID != "" && t.state.clusterUID != "" && l.ClusterUID != t.state.clusterUID:
		return false, "it is of another cluster"
	case l.After.Newer(l.Version):
		return false, "it is older than the log was before it: etcd was restored"
	case t.state.floor.Newer(l.Version):
		return false, supersededBy
	case l.Version.Newer(t.state.position) && !r.late:
		r.late = !patience
		return patience, ""
	}
	return false, ""
}

const supersededBy = "a newer complete list has been merged"

// refuse drops a round that says nothing about this state.
func (t *tenure) refuse(ctx context.Context, r *round, why string) {
	t.meter.refused.Inc()
	level, ask := slog.LevelWarn, object.AskCheck
	if why == supersededBy {
		level, ask = slog.LevelInfo, object.AskVerify
	}
	t.log.Log(ctx, level, "statement refused", "reason", why, "version", r.listed.Version, "after", r.listed.After,
		"lineage", r.listed.Lineage, "position", t.state.position)
	t.round, t.done, t.moved = nil, r.listed.ID, true
	t.ask(ctx, ask)
}

// compare finds what is wrong, gets what it takes to repair it, and adopts.
func (t *tenure) compare(ctx context.Context, r *round) error {
	if r.waiting || t.stillBlocked(ctx, r) {
		return nil
	}
	if r.listed.Full {
		if ok, err := t.readStored(ctx, r); !ok {
			return err
		}
	}
	found := t.state.Compare(r.listed, r.stored)
	if lacking := r.lacking(&found); len(lacking) > 0 {
		r.waiting = true
		t.log.Info("asking for bodies", "version", r.listed.Version, "bodies", len(lacking))
		_, err := call(ctx, callTimeout, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, t.snapshot.Want(ctx, r.listed.ID, lacking)
		})
		if err != nil {
			r.waiting = false
			t.log.Warn("cannot ask for bodies", "err", err)
		}
		return nil
	}
	newer := t.state.position.Newest(r.listed.Version).Newer(t.last.Freshness.Streamed)
	if found.Drift().Total() > 0 && !newer {
		// A repair needs a position above every one that readers know.
		r.blocked = t.state.position
		t.stillBlocked(ctx, r)
		return nil
	}
	r.found, r.adopted, t.moved = found, true, true
	t.state.Adopt(r.listed, found, r.bodies, &t.batch)
	t.batch.open()
	return nil
}

// stillBlocked says whether the round waits for a newer position, and asks for one.
func (t *tenure) stillBlocked(ctx context.Context, r *round) bool {
	if r.blocked == "" || t.state.position.Newer(r.blocked) {
		return false
	}
	t.advance(ctx, r)
	return true
}

// advance asks for a newer position, every 5 s.
func (t *tenure) advance(ctx context.Context, r *round) {
	if time.Since(r.asked) >= askEvery {
		r.asked = time.Now()
		t.ask(ctx, object.AskAdvance)
	}
}

// readStored reads what Redis really holds, which must be the state as it is: so
// that is published first. ok is false if it could not be read this time.
func (t *tenure) readStored(ctx context.Context, r *round) (ok bool, err error) {
	if r.stored != nil && r.storedAt == t.state.steps {
		return true, nil
	}
	if t.moved {
		if err := t.publish(ctx); err != nil {
			return false, err
		}
	}
	r.stored, err = call(ctx, scanTimeout, func(ctx context.Context) (Stored, error) {
		stored := Stored{}
		for item, err := range t.snapshot.Hashes(ctx) {
			if err != nil {
				return nil, err
			}
			stored[item.Key] = item
		}
		return stored, nil
	})
	if err != nil {
		t.log.Warn("cannot read the whole snapshot", "err", err)
		return false, nil
	}
	r.storedAt = t.state.steps
	return true, nil
}

// lacking returns the keys whose bodies have not come.
func (r *round) lacking(found *Difference) []object.Key {
	var keys []object.Key
	for _, item := range found.Wants() {
		if body, ok := r.bodies[item.Key]; !ok || body.Version != item.Version || body.UID != item.UID {
			keys = append(keys, item.Key)
		}
	}
	return keys
}

// adopted returns the round that the batch adopts, or nil.
func (t *tenure) adopted() *round {
	if t.round != nil && t.round.adopted {
		return t.round
	}
	return nil
}

// count writes the round's outcome into the publication that ends it.
func (r *round) count(next *object.Publication) {
	s := &next.State
	s.Listed, s.LastDrift = r.listed.ID, r.found.Drift()
	s.Verified++
	if r.late {
		s.Late++
	}
	next.Drift = s.LastDrift
}

// settle ends a round that was published.
func (t *tenure) settle(r *round) {
	t.round, t.done = nil, r.listed.ID
	t.meter.adopted(r)
	drift := r.found.Drift()
	attrs := []any{"version", r.listed.Version, "objects", len(r.listed.Items), "full", r.listed.Full, "late", r.late, "took", time.Since(r.came)}
	if drift.Total() == 0 {
		t.log.Info("verified", attrs...)
		return
	}
	for _, kind := range []struct {
		name string
		keys []object.Key
	}{
		{"missing", keysOf(r.found.Missing)},
		{"stale", keysOf(r.found.Stale)},
		{"ghost", slices.Concat(r.found.Ghost, r.found.Stray)},
		{"altered", keysOf(r.found.Altered)},
	} {
		if len(kind.keys) > 0 {
			attrs = append(attrs, kind.name, fmt.Sprintf("%d: %s", len(kind.keys), someOf(kind.keys)))
		}
	}
	t.log.Warn("drift found and repaired", attrs...)
}

func keysOf(items []object.ListedItem) []object.Key {
	keys := make([]object.Key, len(items))
	for i, item := range items {
		keys[i] = item.Key
	}
	return keys
}

// someOf is the first ten keys as text.
func someOf(keys []object.Key) string {
	var names []string
	for _, key := range keys[:min(len(keys), 10)] {
		names = append(names, key.String())
	}
	if len(keys) > len(names) {
		names = append(names, "…")
	}
	return strings.Join(names, " ")
}
