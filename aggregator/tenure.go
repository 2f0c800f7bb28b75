package aggregator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// tenure is the time in which the snapshot is ours: from one Acquire to the next.
type tenure struct {
	*Aggregator
	writing context.Context // outlives the reading by the time to drain
	state   *State
	batch   Batch
	last    object.SnapshotState // as published

	read       object.LogID // merged up to here
	resyncFrom object.LogID // where to read again if the resync that runs is cut short; of use while one runs
	merged     bool         // an entry was merged since the state was loaded
	moved      bool         // something was merged and not published
	stirred    bool         // something changed that readers do not see yet
	owes       bool         // what a resync changed waits for a position that readers do not know
	trimmable  []mark
	round      *round
	done       string                   // the Listed adopted or refused last
	looked     time.Time                // for statements
	asked      map[object.Ask]time.Time // for what is asked again until it is given
	background sync.WaitGroup
}

// mark is a log entry and the position that the state had before it.
type mark struct {
	id       object.LogID
	position object.Version
}

// begin loads what Redis holds. What is being published when the tenure ends is
// published as long as writing allows.
func (a *Aggregator) begin(ctx, writing context.Context, published object.SnapshotState) (*tenure, error) {
	a.health.set(object.StateStarting, "loading the snapshot")
	state, err := call(ctx, scanTimeout, func(ctx context.Context) (*State, error) {
		return Load(published, a.snapshot.Heads(ctx))
	})
	if err != nil {
		return nil, fmt.Errorf("load the snapshot: %w", err)
	}
	a.log.Info("took over the snapshot", "objects", state.live, "position", state.position, "verified", state.verified, "checkpoint", published.Checkpoint)
	a.meter.verified(&published)
	return &tenure{
		Aggregator: a, writing: writing, state: state, last: published,
		read: published.Checkpoint, done: published.Listed, stirred: published.Resyncing,
		// The entries before us we do not know one by one.
		trimmable: []mark{{}},
		// If a complete list is needed, it may be in the log already.
		asked: map[object.Ask]time.Time{object.AskResync: time.Now()},
	}, nil
}

// run merges and publishes until ctx ends. The log is read ahead while that is done.
func (t *tenure) run(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	defer t.background.Wait()
	defer stop()
	portions := make(chan portion, 1)
	t.background.Go(func() {
		r := &reader{snapshot: t.snapshot, after: t.read}
		r.run(reading, &retry{a: t.Aggregator, op: "read the log"}, portions)
	})

	t.tell()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		var next portion
		select {
		case <-ctx.Done():
			continue
		case next = <-portions:
		case <-tick.C:
		}
		if err := t.step(reading, next); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// step merges one portion, looks after the verification, and publishes.
func (t *tenure) step(ctx context.Context, next portion) error {
	switch {
	case errors.Is(next.err, object.ErrLost) && t.merged:
		return fmt.Errorf("read the log: %w", next.err)
	case next.err != nil:
		t.overtaken(next.err)
	}
	for entries := next.entries; len(entries) > 0 && ctx.Err() == nil; {
		entries = t.merge(entries)
		if len(entries) > 0 { // more waits: readers get this much already
			if err := t.publish(ctx); err != nil {
				return err
			}
		}
	}
	if err := t.verify(ctx); err != nil {
		return err
	}
	if t.moved {
		if err := t.publish(ctx); err != nil {
			return err
		}
	}
	t.mend(ctx)
	return nil
}

// merge merges entries until the batch has enough, and returns the rest.
func (t *tenure) merge(entries []object.LogEntry) (rest []object.LogEntry) {
	for i, entry := range entries {
		for _, item := range entry.Items {
			if item.Kind == object.ItemResyncBegin {
				t.begun(item.Resync)
			}
		}
		t.trimmable = append(t.trimmable, mark{entry.ID, t.state.position})
		t.state.Merge(entry.Items, &t.batch)
		t.meter.items.Add(float64(len(entry.Items)))
		t.read, t.merged, t.moved = entry.ID, true, true
		if changes, bytes := t.batch.Changes(); changes >= fillChanges || bytes >= fillChanges*1024 {
			return entries[i+1:]
		}
	}
	return nil
}

// begun notes that the next entry begins a complete list.
func (t *tenure) begun(resync object.Resync) {
	t.meter.resyncs.Inc()
	t.log.Info("a complete list begins", "lineage", resync.Lineage, "was", t.state.lineage, "rewrite", resync.Rewrite, "expect", resync.Expect)
	t.resyncFrom = t.read
	if resync.Lineage != t.state.lineage {
		t.trimmable = t.trimmable[:0] // their positions say nothing any more
	}
}

// overtaken goes on after log entries that were gone before they were merged.
func (t *tenure) overtaken(err error) {
	t.meter.overtaken.Inc()
	t.log.Warn("the log is gone before it was merged, asking for a complete list", "err", err)
	t.state.Gap()
	t.tell()
	delete(t.asked, object.AskResync)
}

// mend asks for what has to come before readers can be told the truth.
func (t *tenure) mend(ctx context.Context) {
	switch {
	case t.state.resyncing:
	case t.state.gap, t.state.torn:
		t.insist(ctx, object.AskResync)
	case t.state.Settled() && !t.whole():
		t.insist(ctx, object.AskAdvance)
	}
}

// insist asks now and, if it is called again and again, every 5 s.
func (t *tenure) insist(ctx context.Context, ask object.Ask) {
	if time.Since(t.asked[ask]) >= askEvery {
		t.asked[ask] = time.Now()
		t.ask(ctx, ask)
	}
}

// ask leaves a wish. If that fails whoever still needs it asks again.
func (t *tenure) ask(ctx context.Context, ask object.Ask) {
	err := t.do(ctx, func(ctx context.Context) error { return t.snapshot.Ask(ctx, ask) })
	if err != nil && ctx.Err() == nil {
		t.log.Warn("cannot ask", "ask", ask, "err", err)
	}
}

// continues says whether readers have a state of the lineage already.
func (t *tenure) continues() bool { return t.last.Synced && t.last.Lineage == t.state.lineage }

// whole says whether readers may see the state as it is: all of it is there, and
// they are at the barrier behind which it belongs.
func (t *tenure) whole() bool {
	barred := t.continues() && t.last.Barrier.Newer(t.state.position)
	return t.state.Settled() && !t.owes && !barred
}

// tell sets the status that fits the state.
func (t *tenure) tell() {
	s := t.state
	switch {
	case s.resyncing && s.expect > 0:
		t.health.set(object.StateSyncing, fmt.Sprintf("%d of about %d objects", s.received, s.expect))
	case s.resyncing:
		t.health.set(object.StateSyncing, fmt.Sprintf("%d objects so far", s.received))
	case s.gap || !s.Settled():
		t.health.set(object.StateSyncing, "waiting for a complete list")
	case !t.whole():
		t.health.set(object.StateSyncing, "waiting for a newer position, to publish what was repaired")
	default:
		t.health.set(object.StateFollowing, "")
	}
}
