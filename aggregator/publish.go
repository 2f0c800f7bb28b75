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
// to repeat. Its error is object.ErrFenced, object.ErrLost, or ctx's.
func (t *tenure) publish(ctx context.Context) error {
	adopted := t.adopted()
	first := !t.last.Synced
	barrier := t.barrier()
	pieces := t.batch.finish(t.state)
	for i, p := range pieces {
		next := t.publication(p)
		if i == len(pieces)-1 {
			t.complete(&next, barrier)
			if adopted != nil {
				adopted.count(&next)
			}
		}
		if err := t.write(ctx, next); err != nil {
			return err
		}
	}
	synced := t.batch.Synced
	t.batch.Reset()
	t.moved = false
	if adopted != nil {
		t.settle(adopted)
	}
	if synced {
		t.log.Info("a complete list is merged", "version", t.state.position, "objects", t.state.live, "first", first)
		t.ask(ctx, object.AskVerify)
	}
	t.tell()
	return nil
}

// barrier is the version below which no watch may go on after this batch, "" if
// all of it has its place in the order of versions.
func (t *tenure) barrier() object.Version {
	if t.batch.Repair || t.batch.Synced && t.last.Synced {
		return t.state.position
	}
	return ""
}

// publication is a piece that leaves the snapshot between two states.
func (t *tenure) publication(p *piece) object.Publication {
	next := object.Publication{
		Entry: object.FeedEntry{
			Hold: true, Lineage: p.lineage, Freshness: t.last.Freshness,
			Objects: p.objects, Columns: p.columns, Changes: p.changes,
		},
		State:      t.last,
		Tombstones: p.tombstones,
		Forgotten:  p.forgotten,
	}
	s := &next.State
	s.Lineage, s.Objects, s.Synced = p.lineage, p.objects, p.synced
	s.Received, s.Expect = p.received, p.expect
	s.Resyncing = t.state.resyncing || t.unfinished
	if p.columns != nil {
		s.Columns = p.columns
	}
	return next
}

// complete makes next the last piece of its batch.
func (t *tenure) complete(next *object.Publication, barrier object.Version) {
	s := &next.State
	s.Listed = t.done
	s.Checkpoint = t.checkpoint()
	next.TrimBefore = s.Checkpoint
	if !t.whole() {
		return
	}
	s.Freshness = t.state.Freshness()
	next.Entry.Hold, next.Entry.Freshness = false, s.Freshness
	if barrier != "" {
		next.Entry.Barrier, s.Barrier = barrier, barrier
	}
	next.TrimBefore = t.trimBefore()
}

// checkpoint is where a new tenure has to begin to read: before a resync that has
// not ended, so that it learns what was named, and before a gap, so that it notices.
func (t *tenure) checkpoint() object.LogID {
	switch {
	case t.unfinished, t.state.gap && !t.state.resyncing:
		return t.last.Checkpoint
	case t.state.resyncing:
		return t.resyncFrom
	}
	return t.read
}

// trimBefore is the first log entry that may be needed again: what is above the
// last verified version stays.
func (t *tenure) trimBefore() object.LogID {
	keep := 0
	for keep < len(t.trimmable)-1 && !t.trimmable[keep+1].position.Newer(t.state.verified) {
		keep++
	}
	t.trimmable = t.trimmable[keep:]
	if len(t.trimmable) > maxMarks { // the log's own cap is what bounds it then
		t.trimmable = append(t.trimmable[:0], t.trimmable[len(t.trimmable)/2:]...)
	}
	if len(t.trimmable) == 0 {
		return t.read
	}
	return t.trimmable[0].id
}

const maxMarks = 1 << 16

// write publishes one step, however long Redis is away.
func (t *tenure) write(ctx context.Context, next object.Publication) error {
	for failures := 0; ; {
		begun := time.Now()
		id, err := call(ctx, 3*callTimeout, func(ctx context.Context) (object.LogID, error) { return t.snapshot.Publish(ctx, next) })
		switch {
		case err == nil:
			t.last = next.State
			t.last.Tail = id
			t.last.Drift = t.last.Drift.Add(next.Drift)
			t.meter.published(next, time.Since(begun))
			return nil
		case errors.Is(err, object.ErrFenced), errors.Is(err, object.ErrLost):
			return fmt.Errorf("publish: %w", err)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if failures++; failures == 1 {
			t.log.Warn("cannot publish, trying on", "err", err)
		}
		t.say(object.StateFailing, fmt.Sprintf("publish: %v", err))
		sleep(ctx, pause(failures))
	}
}

// tell sets the status that fits the state.
func (t *tenure) tell() {
	switch {
	case t.whole():
		t.say(object.StateFollowing, "")
	case t.state.resyncing && t.state.expect > 0:
		t.say(object.StateSyncing, fmt.Sprintf("%d of about %d objects", t.state.received, t.state.expect))
	default:
		t.say(object.StateSyncing, "waiting for a complete list")
	}
}
