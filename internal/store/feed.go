package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Feed is a reader's end of a resource's snapshot. It needs no lease, and is safe
// for concurrent use.
type Feed struct {
	store    *Store
	resource object.Resource
	keys     keys
	codec    *codec
	tail     tailer
}

// Feed returns a reader's end of resource. It does no I/O.
func (s *Store) Feed(resource object.Resource) *Feed {
	k := newKeys(s.options.Prefix, resource)
	return &Feed{
		store: s, resource: resource, keys: k, codec: s.codec(resource),
		tail: tailer{store: s, key: k.feed, meta: k.snapshotMeta, subject: resource.String() + " feed"},
	}
}

// State reads the snapshot's state. It returns object.ErrNotSynced if there is no
// snapshot at all; one that is there may still not be Synced.
func (f *Feed) State(ctx context.Context) (object.SnapshotState, error) {
	state, found, err := f.store.snapshotState(ctx, f.keys, f.resource)
	if err == nil && !found {
		err = fmt.Errorf("read snapshot state of %v: %w", f.resource, object.ErrNotSynced)
	}
	return state, err
}

// Scan yields the whole snapshot, unpacked, in no order. It is no single moment's:
// what changes meanwhile may come in either state, and a key may come twice.
// An object that cannot be opened comes as its Head with ErrUnreadable, and the scan
// goes on; any other error ends it.
func (f *Feed) Scan(ctx context.Context) iter.Seq2[object.Record, error] {
	return func(yield func(object.Record, error) bool) {
		for p, err := range f.store.objects(ctx, f.keys.snapshot, f.resource) {
			var r object.Record
			if err == nil {
				r, err = f.codec.unpack(ctx, p)
			}
			if !yield(r, err) || err != nil && !errors.Is(err, object.ErrUnreadable) {
				return
			}
		}
	}
}

// Read returns the feed's entries after after, about 4 MB at once, and waits up
// to wait for the first; nil if none came. Whether the first one follows after
// is for the caller to see from its Prev.
func (f *Feed) Read(ctx context.Context, after object.LogID, wait time.Duration) ([]object.FeedEntry, error) {
	raws, err := f.tail.read(ctx, after, wait)
	if err != nil {
		return nil, err
	}
	var entries []object.FeedEntry
	for _, r := range raws {
		entry, err := decodeFeed(r.id, r.blob)
		if err != nil {
			return nil, fmt.Errorf("read feed of %v: %w", f.resource, err)
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// Tail reads the ID of the feed's last entry, "" if there is none.
func (f *Feed) Tail(ctx context.Context) (object.LogID, error) {
	return f.store.tail(ctx, f.keys.snapshotMeta, f.resource.String())
}

// Unpack opens an object of an entry. The record's Body and Cells are memory of
// their own, shared with nothing.
func (f *Feed) Unpack(ctx context.Context, p object.Packed) (object.Record, error) {
	return f.codec.unpack(ctx, p)
}
