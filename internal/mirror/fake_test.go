package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var pods = object.Resource{Version: "v1", Name: "pods", Kind: "Pod", Singular: "pod", Namespaced: true}

var errAway = errors.New("connection refused")

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// record is an object whose body says which version it is.
func record(key, version string) object.Record {
	return object.Record{
		Head: object.Head{Key: object.ParseKey(key), UID: "uid-" + key, Version: object.Version(version), SeenAt: time.Now()},
		Body: []byte(fmt.Sprintf(`{"metadata":{"name":%q,"resourceVersion":%q,"labels":{"v":%q}}}`, object.ParseKey(key).Name, version, version)),
	}
}

func pack(r object.Record) object.Packed { return object.Packed{Head: r.Head, Data: r.Body} }

// redis is one resource's snapshot and feed as internal/store keeps them.
type redis struct {
	exists   bool
	snapshot map[object.Key]object.Record
	state    object.SnapshotState
	feed     []object.FeedEntry
}

func (r redis) clone() redis {
	r.snapshot, r.feed = maps.Clone(r.snapshot), slices.Clone(r.feed)
	return r
}

// fakeFeed is Redis and the aggregator that publishes into it.
type fakeFeed struct {
	mu      sync.Mutex
	redis   redis
	changed chan struct{} // closed at each change
	down    bool
	tenure  int64
	n       int
	pause   time.Duration // between two pages of a scan
	scans   int
}

func newFakeFeed() *fakeFeed { return &fakeFeed{changed: make(chan struct{})} }

// do runs f as one command that changes something.
func (f *fakeFeed) do(change func(*redis)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.redis)
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeFeed) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
	close(f.changed)
	f.changed = make(chan struct{})
}

// takeOver begins a new tenure, as an aggregator that starts does. No two begin
// within one millisecond.
func (f *fakeFeed) takeOver() {
	time.Sleep(2 * time.Millisecond)
	f.tenure, f.n = 0, 0
}

// publish writes one entry in one transaction with the snapshot and its state.
func (f *fakeFeed) publish(entry object.FeedEntry, edit func(*object.SnapshotState)) object.LogID {
	f.do(func(r *redis) {
		if !r.exists {
			*r = redis{exists: true, snapshot: map[object.Key]object.Record{}}
		}
		if f.tenure == 0 {
			tail, _ := splitID(r.state.Tail)
			f.tenure = max(time.Now().UnixMilli(), int64(tail)+1)
		}
		f.n++
		entry.ID, entry.Prev = object.LogID(fmt.Sprintf("%d-%d", f.tenure, f.n)), r.state.Tail
		for _, change := range entry.Changes {
			if change.Type == object.Deleted {
				delete(r.snapshot, change.Object.Key)
			} else {
				r.snapshot[change.Object.Key] = object.Record{Head: change.Object.Head, Body: change.Object.Data}
			}
		}
		entry.Objects = int64(len(r.snapshot))
		if entry.Lineage != r.state.Lineage {
			r.state.Barrier = ""
		}
		r.state.Synced, r.state.Lineage, r.state.Freshness, r.state.Objects = true, entry.Lineage, entry.Freshness, entry.Objects
		r.state.Barrier = entry.Barrier.Newest(r.state.Barrier)
		if entry.Columns != nil {
			r.state.Columns = entry.Columns
		}
		if edit != nil {
			edit(&r.state)
		}
		r.state.Tail = entry.ID
		r.feed = append(r.feed, entry)
	})
	return entry.ID
}

// put publishes objects as one complete state at version.
func (f *fakeFeed) put(version string, keys ...string) object.LogID {
	return f.publish(entryOf("one", version, keys...), nil)
}

func entryOf(lineage, version string, keys ...string) object.FeedEntry {
	entry := object.FeedEntry{Lineage: lineage, Freshness: object.Freshness{Streamed: object.Version(version), StreamedAt: time.Now().UTC()}}
	for _, key := range keys {
		entry.Changes = append(entry.Changes, object.Change{Type: object.Modified, Object: pack(record(key, version))})
	}
	return entry
}

func (f *fakeFeed) State(context.Context) (object.SnapshotState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.down:
		return object.SnapshotState{}, errAway
	case !f.redis.exists:
		return object.SnapshotState{}, object.ErrNotSynced
	}
	return f.redis.state, nil
}

// Scan goes through the keys in an order of its own, a few at a time; what is
// deleted and made again meanwhile may be missed, and some keys come twice.
func (f *fakeFeed) Scan(ctx context.Context) iter.Seq2[object.Record, error] {
	return func(yield func(object.Record, error) bool) {
		f.mu.Lock()
		f.scans++
		keys := slices.SortedFunc(maps.Keys(f.redis.snapshot), func(a, b object.Key) int {
			return cmp.Or(cmp.Compare(object.Hash([]byte(a.String())), object.Hash([]byte(b.String()))))
		})
		f.mu.Unlock()
		for i, key := range slices.Concat(keys, keys[:len(keys)/3]) {
			if i%3 == 2 {
				sleep(ctx, f.pause)
			}
			f.mu.Lock()
			r, found, down := f.redis.snapshot[key], false, f.down
			_, found = f.redis.snapshot[key]
			f.mu.Unlock()
			if down {
				yield(object.Record{}, errAway)
				return
			}
			if found && !yield(r, nil) {
				return
			}
		}
	}
}

func (f *fakeFeed) Tail(context.Context) (object.LogID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return "", errAway
	}
	return f.redis.state.Tail, nil
}

func (f *fakeFeed) Read(ctx context.Context, after object.LogID, wait time.Duration) ([]object.FeedEntry, error) {
	deadline := time.After(wait)
	for {
		f.mu.Lock()
		if f.down {
			f.mu.Unlock()
			return nil, errAway
		}
		i := slices.IndexFunc(f.redis.feed, func(e object.FeedEntry) bool { return compareID(e.ID, after) > 0 })
		if i >= 0 {
			entries := slices.Clone(f.redis.feed[i:])
			f.mu.Unlock()
			return entries, nil
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline:
			return nil, nil
		case <-changed:
		}
	}
}

func (f *fakeFeed) Unpack(_ context.Context, p object.Packed) (object.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return object.Record{}, errAway
	}
	return object.Record{Head: p.Head, Body: p.Data}, nil
}

// contents shows what a root holds, as key=version.
func contentsOf(root *Root) []string {
	var list []string
	for o := range root.All("") {
		list = append(list, o.Key.String()+"="+string(o.Version))
	}
	return list
}

// run starts m and returns a function that ends it and waits.
func run(m *Mirror) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = m.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func version(n int) object.Version { return object.Version(strconv.Itoa(n)) }
