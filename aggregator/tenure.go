package aggregator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// tenure is the time in which the snapshot is ours: from one Acquire to the next.
type tenure struct {
	*Aggregator
	state *State
	batch Batch
	last  object.SnapshotState // as published

	read       object.LogID // merged up to here
	resyncFrom object.LogID // where to read again if the resync that runs is cut short; of use while one runs
	unfinished bool         // Redis holds a part of a resync whose begin has not come again yet
	moved      bool         // something was merged and not published
	trimmable  []mark
	round      *round
	done       string    // the Listed adopted or refused last
	looked     time.Time // for statements
	gapAsked   time.Time // for a complete list, because of a gap
}

// mark is a log entry and the position that the state had before it.
type mark struct {
	id       object.LogID
	position object.Version
}

// portion is what one read of the log brought.
type portion struct {
	entries []object.LogEntry
	err     error
}

// work loads what Redis holds and goes on from there until ctx ends or Redis fails.
func (a *Aggregator) work(ctx context.Context, published object.SnapshotState) error {
	a.say(object.StateStarting, "loading the snapshot")
	state, err := call(ctx, scanTimeout, func(ctx context.Context) (*State, error) {
		return Load(published, a.snapshot.Heads(ctx))
	})
	if err != nil {
		return fmt.Errorf("load the snapshot: %w", err)
	}
	a.log.Info("took over the snapshot", "objects", state.live, "position", state.position, "verified", state.verified, "checkpoint", published.Checkpoint)
	t := &tenure{
		Aggregator: a, state: state, last: published, read: published.Checkpoint,
		unfinished: published.Resyncing, done: published.Listed,
	}
	a.meter.start(published)
	return t.run(ctx)
}

// run merges and publishes until ctx ends. The log is read ahead while that is done.
func (t *tenure) run(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	portions := make(chan portion, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t.readAhead(reading, t.read, portions)
	}()
	defer func() { stop(); <-ended }()

	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		var next portion
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case next = <-portions:
		case <-tick.C:
		}
		if err := t.step(ctx, next); err != nil {
			return err
		}
	}
}

// readAhead reads the log from after on, and sends what comes until ctx ends.
func (t *tenure) readAhead(ctx context.Context, after object.LogID, portions chan<- portion) {
	for failures := 0; ctx.Err() == nil; {
		entries, err := call(ctx, callTimeout, func(ctx context.Context) ([]object.LogEntry, error) {
			return t.snapshot.ReadLog(ctx, after, readWait)
		})
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, object.ErrExpired):
			state, stateErr := call(ctx, callTimeout, t.snapshot.LogState)
			if stateErr != nil {
				err = stateErr
				break
			}
			after = state.Tail
		case len(entries) > 0:
			after = entries[len(entries)-1].ID
		}
		if err != nil && !errors.Is(err, object.ErrExpired) {
			failures++
			sleep(ctx, pause(failures))
		} else if failures = 0; err == nil && len(entries) == 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case portions <- portion{entries, err}:
		}
	}
}

// step merges one portion, looks after the verification, and publishes.
func (t *tenure) step(ctx context.Context, next portion) error {
	switch {
	case errors.Is(next.err, object.ErrExpired):
		t.overtaken(ctx, next.err)
	case next.err != nil:
		t.say(object.StateFailing, next.err.Error())
		return nil
	}
	for entries := next.entries; len(entries) > 0; {
		entries = t.merge(entries)
		if len(entries) > 0 { // more waits: readers get this much already
			if err := t.publish(ctx); err != nil {
				return err
			}
		}
	}
	t.mendGap(ctx)
	if err := t.verify(ctx); err != nil {
		return err
	}
	if t.moved {
		return t.publish(ctx)
	}
	return nil
}

// merge merges entries until the batch has enough, and returns the rest.
func (t *tenure) merge(entries []object.LogEntry) (rest []object.LogEntry) {
	for i, entry := range entries {
		for _, item := range entry.Items {
			if item.Kind == object.ItemResyncBegin {
				t.resyncFrom, t.unfinished = t.read, false
				t.meter.resync()
				t.log.Info("a complete list begins", "lineage", item.Resync.Lineage, "expect", item.Resync.Expect)
			}
		}
		t.trimmable = append(t.trimmable, mark{entry.ID, t.state.position})
		t.state.Merge(entry.Items, &t.batch)
		t.meter.merged(len(entry.Items))
		t.read, t.moved = entry.ID, true
		if changes, bytes := t.batch.Changes(); changes >= fillChanges || bytes >= fillChanges*1024 {
			return entries[i+1:]
		}
	}
	return nil
}

// overtaken goes on after log entries that were trimmed before they were merged.
func (t *tenure) overtaken(ctx context.Context, err error) {
	t.meter.overtaken.Inc()
	t.log.Warn("the log was trimmed before it was merged, asking for a complete list", "err", err)
	t.state.Gap()
	t.gapAsked = time.Time{}
	t.mendGap(ctx)
}

// mendGap asks for a complete list until one begins.
func (t *tenure) mendGap(ctx context.Context) {
	if t.state.gap && !t.state.resyncing && time.Since(t.gapAsked) > askEvery {
		t.gapAsked = time.Now()
		t.ask(ctx, object.AskResync)
	}
}

// ask leaves a wish. If that fails whoever still needs it asks again.
func (t *tenure) ask(ctx context.Context, ask object.Ask) {
	_, err := call(ctx, callTimeout, func(ctx context.Context) (struct{}, error) { return struct{}{}, t.snapshot.Ask(ctx, ask) })
	if err != nil && ctx.Err() == nil {
		t.log.Warn("cannot ask", "ask", ask, "err", err)
	}
}

// whole says whether readers may see the state as it is.
func (t *tenure) whole() bool { return t.state.Settled() && !t.unfinished }
