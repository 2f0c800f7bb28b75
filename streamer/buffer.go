package streamer

import (
	"context"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// entry is one thing that was read, and the position that may be claimed once it
// is in the log.
type entry struct {
	item  object.LogItem // Kind 0: nothing but the claim
	claim object.Version // "" claims nothing
	at    time.Time      // when claim was known
}

func (e *entry) size() int { return len(e.item.Record.Body) + len(e.item.Record.Cells) }

// batch is what one append writes.
type batch struct {
	items   []object.LogItem
	records int
	bytes   int // of the records' bodies and cells
}

// buffer holds what was read and not yet appended, in the order of arrival. It
// belongs to one watch. When it is full, whoever pushes waits: the watch is then
// not read, and the API server sees a slow client.
type buffer struct {
	records, bytes           int // bounds
	batchRecords, batchBytes int // bounds of one batch

	mu       sync.Mutex
	moved    *sync.Cond // something was pushed, taken, closed or cancelled
	queue    []entry
	head     int // queue[:head] is taken
	held     int // bytes in queue[head:]
	claimed  object.Version
	waits    int // pushes that had to wait
	isClosed bool
}

// newBuffer makes a buffer of a watch that goes on from position.
func newBuffer(options Options, position object.Version) *buffer {
	b := &buffer{
		records: options.BufferRecords, bytes: options.BufferBytes,
		batchRecords: options.BatchRecords, batchBytes: options.BatchBytes,
		claimed: position,
	}
	b.moved = sync.NewCond(&b.mu)
	return b
}

// push waits for room and adds e. A claim below an earlier one is dropped: the
// position never goes back. The error is ctx's; e was not added then.
func (b *buffer) push(ctx context.Context, e entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full(e.size()) {
		b.waits++
		if err := b.wait(ctx, func() bool { return !b.full(e.size()) }); err != nil {
			return err
		}
	}
	b.restrain(&e)
	switch {
	case e.item.Kind != 0:
	case e.claim == "":
		return nil
	case len(b.queue) > b.head:
		last := &b.queue[len(b.queue)-1]
		last.claim, last.at = e.claim, e.at
		return nil
	}
	b.queue = append(b.queue, e)
	b.held += e.size()
	b.moved.Broadcast()
	return nil
}

// restrain keeps e's claim in order with those before it.
func (b *buffer) restrain(e *entry) {
	switch {
	case e.item.Kind == object.ItemResyncEnd:
		b.claimed = e.item.Version
	case e.claim == "":
	case b.claimed.Newer(e.claim):
		e.claim = ""
	default:
		b.claimed = e.claim
	}
}

// full says whether there is no room for size bytes more. An empty buffer has
// room for anything.
func (b *buffer) full(size int) bool {
	count := len(b.queue) - b.head
	return count > 0 && (count >= b.records || b.held+size > b.bytes)
}

// wait waits, with b.mu held, until ready or ctx ends.
func (b *buffer) wait(ctx context.Context, ready func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.moved.Broadcast()
	})
	defer stop()
	for !ready() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.moved.Wait()
	}
	return nil
}

// take waits until there is something, and removes as much of it as one append
// may hold, the newest position at the end. ok is false once the buffer is closed
// and empty. The error is ctx's.
func (b *buffer) take(ctx context.Context) (next batch, ok bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ready := func() bool { return len(b.queue) > b.head || b.isClosed }
	if !ready() {
		if err := b.wait(ctx, ready); err != nil {
			return batch{}, false, err
		}
	}
	if len(b.queue) == b.head {
		return batch{}, false, nil
	}
	next = b.cut()
	b.moved.Broadcast()
	return next, true, nil
}

// cut removes the next batch from the queue.
func (b *buffer) cut() batch {
	var next batch
	var claim object.LogItem
	end := b.head
	for ; end < len(b.queue) && end-b.head < b.batchRecords; end++ {
		e := &b.queue[end]
		if next.bytes > 0 && next.bytes+e.size() > b.batchBytes {
			break
		}
		if e.item.Kind != 0 {
			next.items = append(next.items, e.item)
		}
		if e.item.Kind == object.ItemRecord {
			next.records++
			next.bytes += e.size()
		}
		if e.claim != "" {
			claim = object.LogItem{Kind: object.ItemPosition, Version: e.claim, At: e.at}
		}
	}
	if claim.Kind != 0 {
		next.items = append(next.items, claim)
	}
	b.held -= next.bytes
	b.drop(end)
	return next
}

// drop forgets queue[:end], and moves the rest to the front now and then.
func (b *buffer) drop(end int) {
	clear(b.queue[b.head:end])
	b.head = end
	if b.head < len(b.queue)-b.head {
		return
	}
	rest := copy(b.queue, b.queue[b.head:])
	clear(b.queue[rest:])
	b.queue, b.head = b.queue[:rest], 0
}

// close says that nothing more will be pushed.
func (b *buffer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.isClosed = true
	b.moved.Broadcast()
}

// depth is how many entries wait to be appended.
func (b *buffer) depth() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) - b.head
}

// stalled is how many pushes have had to wait so far.
func (b *buffer) stalled() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waits
}
