package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Snapshot is the aggregator's end of a resource: it reads the log and what the
// verifier listed, and writes the snapshot and its feed. It is safe for
// concurrent use.
type Snapshot struct {
	*writer
	codec *codec
	ring  *ring // of the feed
	tail  tailer

	mu      sync.Mutex // one publication at a time
	last    object.LogID
	columns []object.Column // as Redis has them
	next    place
	pending *pendingPublish
}

// Snapshot returns the aggregator's end of resource. It does no I/O.
func (s *Store) Snapshot(resource object.Resource) *Snapshot {
	w := s.writer(resource, object.RoleAggregator)
	return &Snapshot{
		writer: w,
		codec:  s.codec(resource),
		ring:   s.ring(s.options.FeedMaxBytes, s.options.FeedMaxAge),
		tail:   tailer{store: s, key: w.keys.log, meta: w.keys.logMeta, subject: resource.String() + " log"},
	}
}

// Acquire blocks until the aggregator's lease is ours (and reports standby
// meanwhile), starts a tenure, and returns the snapshot's state: the zero state
// if there is no snapshot. Call it again after ErrFenced or ErrLost.
func (a *Snapshot) Acquire(ctx context.Context) (object.SnapshotState, error) {
	if err := a.acquire(ctx); err != nil {
		return object.SnapshotState{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pending = nil
	state, _, err := a.store.snapshotState(ctx, a.keys, a.resource)
	if err != nil {
		return object.SnapshotState{}, err
	}
	last, err := a.store.rebuild(ctx, a.ring, a.keys.feed, a.subject(), a.renew)
	if err != nil {
		return object.SnapshotState{}, err
	}
	if a.next, err = nextTenure(a.next, last, state.Tail); err != nil {
		return object.SnapshotState{}, err
	}
	a.last, a.columns = state.Tail, state.Columns
	a.measure()
	return state, nil
}

// Beat renews the lease. Call it every third of the lease's time to live.
func (a *Snapshot) Beat(ctx context.Context) error {
	_, err := a.beat(ctx)
	return err
}

// Release gives the lease back, if it is ours.
func (a *Snapshot) Release(ctx context.Context) error {
	a.store.options.Metrics.forget(a.resource.String(), "feed")
	return a.writer.Release(ctx)
}

// Ask leaves a wish for the streamer or the verifier.
func (a *Snapshot) Ask(ctx context.Context, ask object.Ask) error {
	return a.store.Ask(ctx, a.resource, ask)
}

// LogState reads where the log stands.
func (a *Snapshot) LogState(ctx context.Context) (object.LogState, error) {
	state, _, err := a.store.logState(ctx, a.keys, a.resource)
	return state, err
}

func (a *Snapshot) measure() {
	entries, bytes := a.ring.size()
	a.store.options.Metrics.stream(a.resource.String(), "feed", entries, bytes)
}

// ReadLog returns the log's entries after after, about 4 MB at once, and waits
// up to wait for the first; nil if none came. Records come as Packed. It returns
// ErrExpired if entries between after and the first one left were trimmed: ask
// for a resync and go on from LogState's Tail. If Redis lost the entry after
// itself, ReadLog goes on: the streamer resumed from before it and delivers
// again what was lost.
func (a *Snapshot) ReadLog(ctx context.Context, after object.LogID, wait time.Duration) ([]object.LogEntry, error) {
	raws, err := a.tail.read(ctx, after, wait)
	if err != nil {
		return nil, err
	}
	var entries []object.LogEntry
	for _, r := range raws {
		entry, err := decodeLog(r.id, r.blob)
		if err != nil {
			return nil, fmt.Errorf("read log of %v: %w", a.resource, err)
		}
		gap, err := above(entry.Prev, after)
		if err != nil {
			return nil, fmt.Errorf("read log of %v: entry %s: %w", a.resource, entry.ID, err)
		}
		if gap && len(entries) > 0 {
			return entries, nil // the next call finds the gap
		}
		if gap {
			return nil, fmt.Errorf("read log of %v after %q: %w: the next entry follows %q", a.resource, after, object.ErrExpired, entry.Prev)
		}
		entries = append(entries, entry)
		after = entry.ID
	}
	return entries, nil
}

// above says whether a lies above b.
func above(a, b object.LogID) (bool, error) {
	if a == b {
		return false, nil
	}
	p, err := parsePlace(a)
	if err != nil {
		return false, err
	}
	q, err := parsePlace(b)
	return p.compare(q) > 0, err
}

// Heads yields every live object and every tombstone (Deleted), in no order; an
// object may come twice.
func (a *Snapshot) Heads(ctx context.Context) iter.Seq2[object.Head, error] {
	return func(yield func(object.Head, error) bool) {
		for _, key := range []string{a.keys.snapshot, a.keys.tombstones} {
			for p, err := range a.store.objects(ctx, key, a.resource) {
				p.Deleted = key == a.keys.tombstones
				if !yield(p.Head, err) || err != nil {
					return
				}
			}
		}
	}
}

// Hashes yields every live object as Redis holds it with the hash of its body, 0
// if it cannot be unpacked, in no order; an object may come twice.
func (a *Snapshot) Hashes(ctx context.Context) iter.Seq2[object.ListedItem, error] {
	return func(yield func(object.ListedItem, error) bool) {
		for p, err := range a.store.objects(ctx, a.keys.snapshot, a.resource) {
			item := object.ListedItem{Key: p.Key, UID: p.UID, Version: p.Version}
			if err == nil {
				item.Hash, err = a.hash(ctx, p)
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// hash returns 0 for what is broken, and an error only if Redis or ctx is the cause.
func (a *Snapshot) hash(ctx context.Context, p object.Packed) (uint64, error) {
	if len(p.Data) == 0 {
		return 0, nil
	}
	r, err := a.codec.unpack(ctx, p)
	if errors.Is(err, object.ErrUnreadable) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return object.Hash(r.Body), nil
}

// objects yields a snapshot hash's fields in no order. The values' Data shares
// memory with its neighbours only within one object.
func (s *Store) objects(ctx context.Context, key string, resource object.Resource) iter.Seq2[object.Packed, error] {
	return func(yield func(object.Packed, error) bool) {
		for cursor, first := uint64(0), true; first || cursor != 0; first = false {
			var page []string
			err := s.call(ctx, "scan", resource.String(), scanTimeout, func(ctx context.Context) (err error) {
				page, cursor, err = s.client.HScan(ctx, key, cursor, "", 1000).Result()
				return err
			})
			if err != nil {
				yield(object.Packed{}, err)
				return
			}
			for ; len(page) >= 2; page = page[2:] {
				p, err := decodeObject(object.ParseKey(page[0]), []byte(page[1]))
				if !yield(p, err) || err != nil {
					return
				}
			}
		}
	}
}

// snapshotState reads a snapshot's meta hash; found is false if there is none.
func (s *Store) snapshotState(ctx context.Context, k keys, resource object.Resource) (state object.SnapshotState, found bool, err error) {
	var meta map[string]string
	err = s.call(ctx, "read snapshot state", resource.String(), callTimeout, func(ctx context.Context) error {
		meta, err = s.client.HGetAll(ctx, k.snapshotMeta).Result()
		return err
	})
	if err != nil || len(meta) == 0 {
		return object.SnapshotState{}, false, err
	}
	if state, err = parseSnapshotState(meta); err != nil {
		return object.SnapshotState{}, false, fmt.Errorf("read snapshot state of %v: %w", resource, err)
	}
	return state, true, nil
}

func parseSnapshotState(meta map[string]string) (object.SnapshotState, error) {
	var state object.SnapshotState
	if err := json.Unmarshal([]byte(meta["state"]), &state); err != nil {
		return state, err
	}
	for _, v := range []object.Version{state.Freshness.Streamed, state.Freshness.Verified, state.Barrier} {
		if !isVersion(v) {
			return state, fmt.Errorf("version %q: %w", v, errGarbage)
		}
	}
	if text := meta["columns"]; text != "" {
		if err := json.Unmarshal([]byte(text), &state.Columns); err != nil {
			return state, err
		}
	}
	state.Tail = object.LogID(meta["tail"])
	for name, counter := range map[string]*int64{
		"missing": &state.Drift.Missing, "stale": &state.Drift.Stale,
		"ghost": &state.Drift.Ghost, "altered": &state.Drift.Altered,
	} {
		if meta[name] == "" {
			continue
		}
		n, err := strconv.ParseInt(meta[name], 10, 64)
		if err != nil {
			return state, err
		}
		*counter = n
	}
	return state, nil
}
