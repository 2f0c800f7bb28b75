package streamer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// watch is one connection to the API server and what belongs to it.
type watch struct {
	t      *tenure
	plan   plan
	buffer *buffer
	trail  *trail

	// The reader's own.
	live      bool // no complete list is on its way (any more)
	received  int
	delivered bool
}

func (t *tenure) newWatch(next plan, now cluster) *watch {
	return &watch{
		t: t, plan: next,
		buffer: newBuffer(t.s.options, next.after),
		trail:  newTrail(now.version),
	}
}

// run reads, appends and proves until the watch ends, and returns when all that
// was read is in the log. A nil error is the server's normal end.
func (w *watch) run(ctx context.Context, stop context.CancelCauseFunc) error {
	appended := make(chan error, 1)
	go func() {
		err := w.t.drain(w.buffer)
		if err != nil {
			stop(err)
		}
		appended <- err
	}()
	proved := make(chan struct{})
	go func() {
		defer close(proved)
		if err := w.prove(ctx); err != nil {
			stop(err)
		}
	}()

	err := w.read(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	stop(errEnded)
	<-proved
	w.buffer.close()
	return cmp.Or(<-appended, err)
}

// read is the watch from its first byte to its last.
func (w *watch) read(ctx context.Context) error {
	source, r := w.t.s.source, w.t.resource
	if w.plan.reason == "" {
		w.resume()
		return w.consume(ctx, source.Watch(ctx, r, w.plan.after, 0))
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	err := w.consume(ctx, source.Initial(ctx, r))
	if errors.Is(err, object.ErrUnsupported) && w.received == 0 {
		w.t.logger.Info("the API server refuses sendInitialEvents: listing", "err", err)
		if err := w.consume(ctx, source.List(ctx, r)); err != nil {
			return err
		}
		if w.live {
			return w.consume(ctx, source.Watch(ctx, r, w.trail.at(), 0))
		}
	}
	if err == nil && !w.live {
		return errPartial
	}
	return err
}

// resume starts a watch that goes on from the log's position.
func (w *watch) resume() {
	w.live = true
	w.trail.goLive(w.plan.after)
	if w.t.s.board.state(watching) != object.StateFollowing {
		w.t.s.board.set(watching, object.StateStarting, fmt.Sprintf("resumed at %s, not yet proven current", w.plan.after))
	}
	w.t.logger.Debug("resuming", "position", w.plan.after)
}

// begin starts a watch that first brings everything.
func (w *watch) begin(ctx context.Context) error {
	w.t.columns = nil // readers may forget them with what was before
	message := fmt.Sprintf("reading everything anew: %s", w.plan.reason)
	if w.plan.resync.Expect > 0 {
		message += fmt.Sprintf(", about %d objects", w.plan.resync.Expect)
	}
	w.t.s.board.set(watching, object.StateSyncing, message)
	return w.buffer.push(ctx, entry{item: object.LogItem{
		Kind: object.ItemResyncBegin, At: time.Now().UTC(), Resync: w.plan.resync,
	}})
}

// consume reads events to their end.
func (w *watch) consume(ctx context.Context, events iter.Seq2[object.Event, error]) error {
	for event, err := range events {
		if err != nil {
			return err
		}
		w.received++
		w.t.meter.event(event.Type)
		if err := w.take(ctx, event); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// take puts one event into the buffer.
func (w *watch) take(ctx context.Context, event object.Event) error {
	switch event.Type {
	case object.Added, object.Modified, object.Deleted:
		return w.record(ctx, event.Record)
	case object.Columns:
		return w.head(ctx, event.Columns)
	case object.InitialEnd:
		if !w.live {
			return w.complete(ctx, event.Version)
		}
		return w.claim(ctx, event.Version)
	case object.Bookmark:
		if w.live { // before that, it says nothing about what the list still owes
			return w.claim(ctx, event.Version)
		}
	}
	return nil
}

// record takes a record. Those of a list come in no order and claim nothing.
func (w *watch) record(ctx context.Context, record object.Record) error {
	w.t.s.memory.saw(w.plan.resync.Lineage, record.Version)
	e := entry{item: object.LogItem{Kind: object.ItemRecord, Record: record, At: record.SeenAt}}
	if w.live {
		e.claim, e.at = record.Version, record.SeenAt
	}
	if err := w.buffer.push(ctx, e); err != nil {
		return err
	}
	w.t.meter.depth(w.buffer.depth())
	if w.live {
		w.delivered = true
		w.reached(w.trail.saw(record.Version))
	}
	return nil
}

// claim takes the news that everything up to version has been delivered.
func (w *watch) claim(ctx context.Context, version object.Version) error {
	w.delivered = true
	if err := w.buffer.push(ctx, entry{claim: version, at: time.Now().UTC()}); err != nil {
		return err
	}
	w.reached(w.trail.reach(version))
	return nil
}

// complete takes the end of a complete list.
func (w *watch) complete(ctx context.Context, version object.Version) error {
	if w.plan.after.Newer(version) {
		return fmt.Errorf("list at %s, log at %s: %w", version, w.plan.after, errRestored)
	}
	err := w.buffer.push(ctx, entry{item: object.LogItem{
		Kind: object.ItemResyncEnd, Version: version, At: time.Now().UTC(),
	}})
	if err != nil {
		return err
	}
	w.live, w.delivered = true, true
	w.t.logger.Info("everything is read", "version", version, "events", w.received)
	w.trail.goLive(version)
	w.reached(w.trail.reach(version))
	return nil
}

// head takes the Table's columns, unless the log has them.
func (w *watch) head(ctx context.Context, columns []object.Column) error {
	if slices.Equal(columns, w.t.columns) {
		return nil
	}
	w.t.columns = columns
	return w.buffer.push(ctx, entry{item: object.LogItem{
		Kind: object.ItemColumns, Columns: columns, At: time.Now().UTC(),
	}})
}

// reached reports that the watch is current, when it has become so.
func (w *watch) reached(now bool) {
	if now {
		w.t.s.board.set(watching, object.StateFollowing, "")
	}
}
