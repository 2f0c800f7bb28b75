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
	listed  object.Listed
	came    time.Time
	since   time.Time // from when on it waits for the stream; zero while the state itself has to wait
	waiting bool      // the bodies that were wanted have not all come
	bodies  map[object.Key]object.Packed
	blocked object.Version // the position at which a repair had to wait for a newer one

	audit    *Audit // of a full round
	auditing chan audited
	stop     context.CancelFunc // ends the auditing

	found   Difference // once adopted
	late    bool
	adopted bool
}

// audited is how an audit ended.
type audited struct {
	audit *Audit
	err   error
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
	if r == nil {
		return nil
	}
	if !t.whole() || t.state.gap {
		r.since = time.Time{}
		return nil
	}
	if r.since.IsZero() {
		r.since = time.Now()
	}
	waited := time.Since(r.since)
	switch wait, refused := t.judge(r, waited); {
	case wait:
		if waited >= advanceAfter { // on a quiet resource the position moves once a minute, unless asked for
			t.insist(ctx, object.AskAdvance)
		}
		return nil
	case refused != "":
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
	now, err := call(ctx, scanTimeout, func(ctx context.Context) (a answer, err error) {
		a.listed, a.ok, err = t.snapshot.Listed(ctx, known)
		return a, err
	})
	switch {
	case err != nil:
		return err
	case now.ok && now.listed.ID != t.done:
		t.drop()
		t.round = &round{listed: now.listed, came: time.Now()}
		return nil
	case t.round == nil || !t.round.waiting:
		return nil
	}
	bodies, err := call(ctx, scanTimeout, func(ctx context.Context) (map[object.Key]object.Packed, error) {
		bodies, complete, err := t.snapshot.Bodies(ctx, t.round.listed.ID)
		if !complete {
			return nil, err
		}
		return bodies, err
	})
	if err == nil && bodies != nil {
		t.round.bodies, t.round.waiting = bodies, false
	}
	return err
}

// drop forgets the round, if there is one.
func (t *tenure) drop() {
	if t.round != nil && t.round.stop != nil {
		t.round.stop()
	}
	t.round = nil
}

// judge says whether the round has to wait for the stream, or why it is refused.
func (t *tenure) judge(r *round, waited time.Duration) (wait bool, refused string) {
	l, patience := r.listed, waited < t.options.LateAfter
	switch {
	case l.Lineage != t.state.lineage:
		return patience, "it is of another lineage"
	case l.ClusterUID != "" && t.state.clusterUID != "" && l.ClusterUID != t.state.clusterUID:
		return false, "it is of another cluster"
	case l.After.Newer(l.Version):
		return false, "it is older than the log was before it: etcd was restored"
	case t.state.floor.Newer(l.Version):
		return false, supersededBy
	}
	return patience && l.Version.Newer(t.state.position), ""
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
	t.drop()
	t.done, t.moved = r.listed.ID, true
	t.ask(ctx, ask)
}

// compare finds what is wrong, gets what it takes to repair it, and adopts.
func (t *tenure) compare(ctx context.Context, r *round) error {
	if r.waiting || t.stillBlocked(ctx, r) {
		return nil
	}
	if ok, err := t.ready(ctx, r); !ok {
		return err
	}
	found := t.state.Compare(&r.listed, r.audit)
	if lacking := found.Wants(r.bodies); len(lacking) > 0 {
		t.want(ctx, r, lacking)
		return nil
	}
	if !found.Empty() && !t.mayRepair(r) {
		r.blocked = t.state.position
		t.stillBlocked(ctx, r)
		return nil
	}
	t.adopt(r, found)
	return nil
}

// mayRepair says whether the position will be above every one that readers know.
func (t *tenure) mayRepair(r *round) bool {
	return t.state.position.Newest(r.listed.Version).Newer(t.last.Freshness.Streamed)
}

// adopt makes the round true; found is what is wrong now.
func (t *tenure) adopt(r *round, found Difference) {
	r.found, r.adopted, t.moved = found, true, true
	r.late = r.listed.Version.Newer(t.state.position)
	t.state.Adopt(&r.listed, &found, r.bodies, &t.batch)
}

// stillBlocked says whether the round waits for a newer position, and asks for one.
func (t *tenure) stillBlocked(ctx context.Context, r *round) bool {
	if r.blocked == "" || t.state.position.Newer(r.blocked) {
		return false
	}
	t.insist(ctx, object.AskAdvance)
	return true
}

// want asks for the bodies of keys.
func (t *tenure) want(ctx context.Context, r *round, keys []object.Key) {
	t.log.Info("asking for bodies", "version", r.listed.Version, "bodies", len(keys))
	err := t.do(ctx, func(ctx context.Context) error { return t.snapshot.Want(ctx, r.listed.ID, keys) })
	if err != nil && ctx.Err() == nil {
		t.log.Warn("cannot ask for bodies", "err", err)
	}
	r.waiting = err == nil
}

// ready says whether the round has the audit that it needs, if it needs one. The
// audit is made while the merge goes on; it begins with everything published.
func (t *tenure) ready(ctx context.Context, r *round) (ok bool, err error) {
	if !r.listed.Full || r.audit.covers(t.state) {
		return true, nil
	}
	if r.auditing == nil {
		if t.moved {
			if err := t.publish(ctx); err != nil {
				return false, err
			}
		}
		t.startAudit(ctx, r)
	}
	select {
	case now := <-r.auditing:
		r.stop()
		r.auditing, r.audit = nil, now.audit
		if now.err != nil && ctx.Err() == nil {
			t.log.Warn("cannot read the whole snapshot, comparing without bodies", "err", now.err)
			r.listed.Full = false
		}
	default:
	}
	return false, nil
}

// startAudit reads what Redis holds in the background.
func (t *tenure) startAudit(ctx context.Context, r *round) {
	ctx, r.stop = context.WithTimeout(ctx, scanTimeout)
	done := make(chan audited, 1)
	r.auditing = done
	listed, step := &r.listed, t.state.steps
	t.background.Go(func() {
		audit, err := NewAudit(listed, step, t.snapshot.Hashes(ctx))
		done <- audited{audit, err}
	})
}

// count writes the round's outcome into the state after it.
func (r *round) count(s *object.SnapshotState) {
	s.Listed, s.LastDrift = r.listed.ID, r.found.Drift
	s.Verified++
	if r.late {
		s.Late++
	}
}

// settle ends a round that was published.
func (t *tenure) settle(r *round) {
	t.drop()
	t.done = r.listed.ID
	t.meter.verified(&t.last)
	attrs := []any{"version", r.listed.Version, "objects", len(r.listed.Items), "full", r.listed.Full, "late", r.late, "took", time.Since(r.came)}
	if r.found.Empty() {
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
