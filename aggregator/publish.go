package aggregator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// publish writes what the batch holds, piece by piece; only the last piece moves
// the checkpoint and the position, so a crash between two repeats what is harmless
// to repeat. Its error is object.ErrFenced, object.ErrLost, or why writing ended.
func (t *tenure) publish(ctx context.Context) error {
	first := !t.continues()
	barrier := t.barrier()
	pieces := t.batch.finish(t.state)
	for i, p := range pieces {
		next := t.publication(p, barrier)
		if i == len(pieces)-1 {
			t.complete(&next)
		}
		if err := t.write(next); err != nil {
			return err
		}
	}
	synced := t.batch.Synced
	t.batch.Reset()
	t.moved, t.stirred = false, t.stirred && !t.whole()
	if t.round != nil && t.round.adopted {
		t.settle(t.round)
	}
	if synced {
		t.log.Info("a complete list is merged", "version", t.state.floor, "objects", t.state.live, "first", first)
		t.ask(ctx, object.AskVerify)
	}
	t.tell()
	return nil
}

// barrier is the version below which no watch may go on after this batch, "" if
// all of it has its place in the order of versions. It is above every position
// that readers know; what a resync has changed waits for that.
func (t *tenure) barrier() object.Version {
	changes, _ := t.batch.Changes()
	t.stirred = t.stirred || changes > 0
	if !t.continues() {
		t.owes = false
		return ""
	}
	t.owes = t.owes || t.batch.Synced && t.stirred
	known := !t.state.position.Newer(t.last.Freshness.Streamed)
	switch {
	case t.owes && known, !t.owes && !t.batch.Synced && !t.batch.Repair:
		return ""
	}
	t.owes = false
	return t.state.position
}

// publication is a piece that leaves the snapshot between two states. Its barrier
// is written down already: should no other piece follow, the next tenure knows
// that what it finds is not for readers who are below.
func (t *tenure) publication(p *piece, barrier object.Version) object.Publication {
	s := t.last
	if s.Lineage != p.lineage { // the old one's versions say nothing any more, nor does the log before
		s.Synced, s.Freshness, s.Barrier, s.Checkpoint = false, object.Freshness{}, "", t.resyncFrom
	}
	s.Lineage, s.ClusterUID, s.Schema, s.Floor = p.lineage, p.clusterUID, p.schema, p.floor
	s.Objects, s.Received, s.Expect = p.objects, p.received, p.expect
	s.Resyncing = s.Resyncing || p.resyncing
	s.Barrier = s.Barrier.Newest(barrier)
	if p.columns != nil {
		s.Columns = p.columns
	}
	return object.Publication{
		Entry: object.FeedEntry{
			Hold: true, Barrier: barrier, Lineage: s.Lineage, Freshness: s.Freshness,
			Objects: s.Objects, Columns: p.columns, Changes: p.changes,
		},
		State:      s,
		Tombstones: p.tombstones,
		Forgotten:  p.forgotten,
		Drift:      p.drift,
	}
}

// complete makes next the last piece of its batch.
func (t *tenure) complete(next *object.Publication) {
	s := &next.State
	s.Listed, s.Checkpoint = t.done, t.checkpoint()
	unfinished := t.state.resyncing || t.state.torn || t.owes
	s.Resyncing = unfinished || s.Resyncing && !t.whole() // the new tenure reads from before it
	next.TrimBefore = t.trimBefore(s.Checkpoint)
	if t.round != nil && t.round.adopted {
		t.round.count(s)
	}
	if t.whole() {
		s.Synced, s.Freshness = true, t.state.Freshness()
		next.Entry.Hold, next.Entry.Freshness = false, s.Freshness
	}
}

// checkpoint is where a new tenure has to begin to read: before a resync that has
// not ended, so that it learns what was named; before a gap, so that it notices;
// and before what readers do not see yet, so that it knows why.
func (t *tenure) checkpoint() object.LogID {
	switch {
	case t.state.resyncing:
		return t.resyncFrom
	case !t.whole(), t.state.gap:
		return t.last.Checkpoint
	}
	return t.read
}

// trimBefore is the first log entry that may be needed again, "" if that cannot
// be said yet: what is above the last verified version stays, and what comes
// after the checkpoint.
func (t *tenure) trimBefore(checkpoint object.LogID) object.LogID {
	keep := 0
	if verified := t.state.verified; verified != "" {
		for keep < len(t.trimmable)-1 && !t.trimmable[keep+1].position.Newer(verified) {
			keep++
		}
	}
	t.trimmable = t.trimmable[keep:]
	if len(t.trimmable) > maxMarks { // the log's own cap is what bounds it then
		t.trimmable = append(t.trimmable[:0], t.trimmable[len(t.trimmable)/2:]...)
	}
	if len(t.trimmable) == 0 || t.trimmable[0].id.Compare(checkpoint) > 0 {
		return checkpoint
	}
	return t.trimmable[0].id
}

const maxMarks = 1 << 16

// write publishes one step, however long Redis is away.
func (t *tenure) write(next object.Publication) error {
	for again := (&retry{a: t.Aggregator, op: "publish"}); ; again.wait(t.writing) {
		begun := time.Now()
		id, err := call(t.writing, 3*callTimeout, func(ctx context.Context) (object.LogID, error) { return t.snapshot.Publish(ctx, next) })
		switch {
		case err == nil:
			again.done(nil)
			t.last = next.State
			t.last.Tail = id
			t.last.Drift = t.last.Drift.Add(next.Drift)
			t.meter.published(&t.last, len(next.Entry.Changes), time.Since(begun))
			return nil
		case errors.Is(err, object.ErrFenced), errors.Is(err, object.ErrLost):
			again.done(nil) // whoever takes over reports that
			return fmt.Errorf("publish: %w", err)
		case t.writing.Err() != nil:
			return context.Cause(t.writing)
		}
		again.done(err)
	}
}
