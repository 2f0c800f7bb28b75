package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Log is the streamer's end of a resource's log. It is safe for concurrent use:
// one goroutine may append while another beats.
type Log struct {
	*writer
	codec *codec
	ring  *ring

	mu    sync.Mutex // one append at a time
	state object.LogState
	next  place
	trainer
	pending *pendingAppend // sent, but Redis did not tell whether it arrived
	blob    []byte         // scratch
	packed  []byte         // scratch
}

// pendingAppend is an append whose outcome is unknown.
type pendingAppend struct {
	items []object.LogItem
	id    place
	state object.LogState // after it
	entry []byte
	meta  []any
}

// Log returns the streamer's end of resource's log. It does no I/O.
func (s *Store) Log(resource object.Resource) *Log {
	return &Log{
		writer: s.writer(resource, object.RoleStreamer),
		codec:  s.codec(resource),
		ring:   s.ring(s.options.LogMaxBytes, s.options.LogMaxAge),
	}
}

// Acquire blocks until the streamer's lease is ours (and reports standby
// meanwhile), starts a tenure, and returns where the log stands. Call it again
// after ErrFenced or ErrLost. What an earlier tenure could not finish is dropped:
// the state tells what arrived.
func (l *Log) Acquire(ctx context.Context) (object.LogState, error) {
	if err := l.acquire(ctx); err != nil {
		return object.LogState{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = nil
	state, meta, err := l.read(ctx)
	if err != nil {
		return object.LogState{}, err
	}
	last, err := l.store.rebuild(ctx, l.ring, l.keys.log, l.subject(), l.renew)
	if err != nil {
		return object.LogState{}, err
	}
	if l.next, err = nextTenure(l.next, last, state.Tail); err != nil {
		return object.LogState{}, err
	}
	if err := l.loadDictionary(ctx, meta); err != nil {
		return object.LogState{}, err
	}
	l.state = state
	l.measure()
	return state, nil
}

// renew keeps the lease during what takes long.
func (w *writer) renew(ctx context.Context) error {
	_, err := w.beat(ctx)
	return err
}

// nextTenure returns the first place of a tenure that lies above all that this
// process has written, and all that the stream and its meta know of.
func nextTenure(own, last place, tail object.LogID) (place, error) {
	t, err := parsePlace(tail)
	if err != nil {
		return place{}, err
	}
	tenure := max(uint64(time.Now().UnixMilli()), own.tenure+1, last.tenure+1, t.tenure+1)
	return place{tenure: tenure, n: 1}, nil
}

// State reads where the log stands. It needs no lease.
func (l *Log) State(ctx context.Context) (object.LogState, error) {
	state, _, err := l.read(ctx)
	return state, err
}

func (l *Log) read(ctx context.Context) (object.LogState, map[string]string, error) {
	return l.store.logState(ctx, l.keys, l.resource)
}

// Append writes items as one entry, in one script with the log's meta. It packs
// the records. It returns ErrFenced if another writer took over, ErrLost if Redis
// no longer holds what it had acknowledged, ErrFull if it has no memory left.
//
// After any other error it is unknown whether the entry arrived: call Append
// again with the same items; an entry that had arrived is not written twice. If
// other items come instead, the unfinished entry is completed before them.
func (l *Log) Append(ctx context.Context, items []object.LogItem) error {
	if len(items) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.pending; p != nil {
		if err := l.write(ctx, p); err != nil {
			return err
		}
		if slices.EqualFunc(p.items, items, sameItem) {
			return nil
		}
	}
	if err := l.prepareDictionary(ctx, items); err != nil {
		return err
	}
	p, err := l.encode(items)
	if err != nil {
		return fmt.Errorf("append %v: %w", l.resource, err)
	}
	return l.write(ctx, p)
}

// sameItem says whether two items are the same statement.
func sameItem(a, b object.LogItem) bool {
	return a.Kind == b.Kind && a.Record.Head == b.Record.Head && a.Version == b.Version && a.At.Equal(b.At) && a.Resync == b.Resync
}

// encode makes the next entry. Its bytes are valid until the next encode.
func (l *Log) encode(items []object.LogItem) (*pendingAppend, error) {
	b := appendLogHead(l.blob[:0], time.Now(), l.state.Tail, len(items))
	for _, item := range items {
		l.packed = l.packed[:0]
		if item.Kind == object.ItemRecord {
			l.packed = l.packer.pack(l.packed, item.Record)
		}
		var err error
		if b, err = appendItem(b, item, l.packed); err != nil {
			return nil, err
		}
	}
	l.blob = b
	state := l.state
	for _, item := range items {
		advance(&state, item)
	}
	state.Tail = l.next.id()
	meta, err := logMeta(state, l.state, items)
	if err != nil {
		return nil, err
	}
	if l.packer.dict != nil && l.unnamed {
		meta = append(meta, "dict", l.packer.dict.id, "dictObjects", l.trained)
	}
	return &pendingAppend{items: items, id: l.next, state: state, entry: b, meta: meta}, nil
}

// write sends p and remembers it until its outcome is known.
func (l *Log) write(ctx context.Context, p *pendingAppend) error {
	args := append([]any{l.fence(), string(l.state.Tail), string(p.state.Tail), p.entry}, p.meta...)
	err := l.store.call(ctx, "append", l.resource.String(), scanTimeout, func(ctx context.Context) error {
		_, _, err := l.store.run(ctx, appendScript, []string{l.keys.fence(l.role), l.keys.logMeta, l.keys.log}, args...)
		return err
	})
	if err != nil {
		if l.pending == nil {
			l.pending = p
			p.items = slices.Clone(p.items) // the caller's to reuse
			l.blob = nil                    // p.entry's now
		}
		return err
	}
	l.pending = nil
	l.ring.add(ringEntry{place: p.id, bytes: int64(len(p.entry)), at: time.Now()})
	l.state = p.state
	l.next.n++
	l.unnamed = false
	return nil
}

// Beat renews the lease, takes the wishes for the streamer, and trims the log:
// before what every reader has done with, and beyond the caps of bytes and age
// in any case. Call it every third of the lease's time to live.
func (l *Log) Beat(ctx context.Context) ([]object.Ask, error) {
	asks, err := l.beat(ctx, object.AskAdvance, object.AskCheck, object.AskResync)
	if err != nil {
		return nil, err
	}
	if err := l.trim(ctx); err != nil {
		return asks, err
	}
	l.measure()
	return asks, nil
}

func (l *Log) trim(ctx context.Context) error {
	limit, tail := l.ring.overflow(time.Now(), 0), l.ring.last()
	var from string
	err := l.store.call(ctx, "trim", l.resource.String(), scanTimeout, func(ctx context.Context) error {
		_, rest, err := l.store.run(ctx, trimScript, []string{l.keys.fence(l.role), l.keys.log, l.keys.readers},
			l.fence(), string(limit), string(tail))
		if err == nil && len(rest) == 1 {
			from, _ = rest[0].(string)
		}
		return err
	})
	if err != nil || from == "" {
		return err
	}
	p, err := parsePlace(object.LogID(from))
	if err != nil {
		return err
	}
	l.ring.forget(p)
	return nil
}

func (l *Log) measure() {
	entries, bytes := l.ring.size()
	l.store.options.Metrics.stream(l.resource.String(), "log", entries, bytes)
}

// Release gives the lease back, if it is ours.
func (l *Log) Release(ctx context.Context) error {
	l.store.options.Metrics.forget(l.resource.String(), "log")
	return l.writer.Release(ctx)
}
