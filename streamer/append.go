package streamer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// redisPatience is the longest pause between two tries to write to Redis: unlike
// the API server it is ours, and it does not mind.
const redisPatience = 5 * time.Second

// drain appends what the buffer gathers, one append at a time, until the buffer
// is closed and empty. Its error is object.ErrFenced, object.ErrLost or errStopped.
func (t *tenure) drain(b *buffer) error {
	for {
		next, ok, err := b.take(t.writing)
		if err != nil {
			return context.Cause(t.writing)
		}
		if !ok {
			return nil
		}
		if err := t.append(next); err != nil {
			return err
		}
		t.meter.depth(b.depth())
	}
}

// append writes one batch, however long Redis is away. An append that was tried
// may be in the log though its answer was lost, so nothing but the same items may
// follow it until it is acknowledged.
func (t *tenure) append(next batch) error {
	var retry backoff
	for {
		err := t.appendOnce(next.items)
		switch {
		case err == nil:
			t.acknowledge(next)
			t.s.board.set(writing, "", "")
			return nil
		case errors.Is(err, object.ErrFenced), errors.Is(err, object.ErrLost):
			return fmt.Errorf("append: %w", err)
		case t.writing.Err() != nil:
			return context.Cause(t.writing)
		}
		wait := min(retry.next(nil), redisPatience)
		if retry.failures == 1 {
			t.logger.Warn("cannot append, trying on", "err", err)
		}
		t.s.board.set(writing, object.StateFailing, fmt.Sprintf("append to the log: %v", err))
		if sleep(t.writing, wait) != nil {
			return context.Cause(t.writing)
		}
	}
}

func (t *tenure) appendOnce(items []object.LogItem) error {
	ctx, cancel := context.WithTimeout(t.writing, writeTimeout)
	defer cancel()
	return t.log.Append(ctx, items)
}

// acknowledge notes what the log holds now.
func (t *tenure) acknowledge(written batch) {
	t.meter.appended(written)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.appended = true
	for i := range written.items {
		switch item := &written.items[i]; item.Kind {
		case object.ItemResyncBegin:
			t.resyncing(item.Resync)
		case object.ItemResyncEnd:
			t.state.Resyncing = false
			t.state.Position, t.state.PositionAt = item.Version, item.At
		case object.ItemPosition:
			t.state.Position, t.state.PositionAt = item.Version, item.At
		}
	}
	t.meter.position(t.state.Position, t.state.PositionAt)
}

// resyncing notes, with t.mu held, that the log has the beginning of a resync.
func (t *tenure) resyncing(resync object.Resync) {
	t.s.memory.begun(t.wishes, resync.Lineage, t.state.Resync.Lineage)
	if t.state.Resync.Lineage != resync.Lineage {
		t.state.Position = ""
	}
	t.state.Resync, t.state.Resyncing = resync, true
	t.begun = time.Now()
}

// promise notes that the plan in force heeds so many wishes.
func (t *tenure) promise(wishes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wishes = wishes
}
