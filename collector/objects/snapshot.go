package objects

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const (
	callTimeout = 5 * time.Second
	readWait    = 5 * time.Second        // for news; then Redis is asked whether it still knows what it knew
	poll        = 500 * time.Millisecond // while there is no snapshot
	sayEvery    = time.Minute            // that there is none
	maxBackoff  = 5 * time.Second
)

// errAnew asks for the snapshot to be read again.
var errAnew = errors.New("the feed cannot be followed any further")

// follower walks along one resource's feed. A view needs less than a mirror does:
// what changed is applied as it comes, also in the midst of a resync.
type follower[T any] struct {
	*Objects
	table  table[T]
	feed   Feed
	last   object.LogID // the last entry that is applied
	behind bool         // Redis said that there is more, but the last read brought nothing
	// loading holds the objects of a scan until the feed has passed target: only then
	// are they a state that there was. nil afterwards.
	loading map[object.Key]T
	target  object.LogID

	broken  map[object.Key]bool  // what the snapshot has and cannot be read
	said    map[string]time.Time // when each warning was last given
	counted time.Time            // when a wrong number of objects last caused a reload
}

// follow keeps t as the feed says until ctx ends, and returns nil.
func follow[T any](ctx context.Context, o *Objects, t table[T], feed Feed) error {
	f := &follower[T]{Objects: o, table: t, feed: feed, said: map[string]time.Time{}}
	const least = 100 * time.Millisecond
	pause, loaded := least, false
	for ctx.Err() == nil {
		var err error
		if loaded {
			err = f.step(ctx)
		} else {
			err = f.load(ctx)
		}
		switch {
		case ctx.Err() != nil:
		case err == nil:
			pause, loaded = least, true
		case errors.Is(err, errAnew):
			loaded = false
			sleep(ctx, least)
		case errors.Is(err, object.ErrNotSynced):
			loaded = false
			f.say("KRM keeps no snapshot: collecting goes on without what it would tell (let a streamer watch it)", nil)
			sleep(ctx, poll)
		default:
			f.say("snapshot cannot be read: going on with what is known", err)
			sleep(ctx, pause/2+rand.N(pause))
			pause = min(2*pause, maxBackoff)
		}
	}
	return nil
}

// say warns of one thing at most once a minute.
func (f *follower[T]) say(what string, err error) {
	if now := time.Now(); now.Sub(f.said[what]) >= sayEvery {
		f.said[what] = now
		f.log.Warn("objects may be out of date", "resource", f.table.resource, "reason", what, "err", err)
	}
}

// load reads the whole snapshot. What was known stays until it is complete.
func (f *follower[T]) load(ctx context.Context) error {
	before, err := f.state(ctx)
	if err != nil {
		return err
	}
	all := make(map[object.Key]T, before.Objects)
	f.broken = map[object.Key]bool{}
	for record, err := range f.feed.Scan(ctx) {
		var one T
		if err == nil {
			one, err = f.open(record)
		}
		switch {
		case errors.Is(err, object.ErrUnreadable):
			f.leaveOut(record.Key, err)
		case err != nil:
			return fmt.Errorf("scan snapshot of %s: %w", f.table.resource, err)
		default:
			all[record.Key] = one
		}
	}
	after, err := f.state(ctx)
	if err != nil {
		return err
	}
	if after.Lineage != before.Lineage || compareID(after.Tail, before.Tail) < 0 {
		return errAnew
	}
	f.last, f.behind, f.loading, f.target = before.Tail, false, all, after.Tail
	f.arrived(after.Freshness)
	return ctx.Err()
}

// state returns the snapshot's state, ErrNotSynced if it is not complete.
func (f *follower[T]) state(ctx context.Context) (object.SnapshotState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	state, err := f.feed.State(ctx)
	if err == nil && !state.Synced {
		err = object.ErrNotSynced
	}
	if err != nil {
		return state, fmt.Errorf("read state of %s: %w", f.table.resource, err)
	}
	return state, nil
}

// open reads a record's body; it fails with ErrUnreadable if that makes no sense.
func (f *follower[T]) open(record object.Record) (T, error) {
	one, err := f.table.decode(record.Body)
	if err == nil && f.table.key(one) != record.Key {
		err = fmt.Errorf("the body is of %v", f.table.key(one))
	}
	if err != nil {
		return one, fmt.Errorf("%w: %w", object.ErrUnreadable, err)
	}
	return one, nil
}

// leaveOut goes on without an object: one that is broken must not keep all others
// from being known.
func (f *follower[T]) leaveOut(key object.Key, err error) {
	f.broken[key] = true
	f.say("an object is left out, for it cannot be read", fmt.Errorf("read %v: %w", key, err))
}

// arrived shows the objects of a scan once the feed has brought all that changed
// while it went on.
func (f *follower[T]) arrived(freshness object.Freshness) {
	if f.loading == nil {
		f.touch(f.table.resource, freshness.StreamedAt)
		return
	}
	if compareID(f.last, f.target) >= 0 {
		replace(f.Objects, f.table, f.loading, freshness.StreamedAt)
		f.log.Info("objects are known", "resource", f.table.resource, "objects", len(f.loading))
		f.loading = nil
	}
}

// step reads the feed once, and applies what came.
func (f *follower[T]) step(ctx context.Context) error {
	callCtx, cancel := context.WithTimeout(ctx, readWait+callTimeout)
	defer cancel()
	entries, err := f.feed.Read(callCtx, f.last, readWait)
	if errors.Is(err, object.ErrExpired) {
		return errAnew
	}
	if err != nil {
		return fmt.Errorf("read feed of %s: %w", f.table.resource, err)
	}
	if len(entries) == 0 {
		return f.idle(ctx)
	}
	f.behind = false
	for _, entry := range entries {
		if entry.Prev != f.last {
			return errAnew
		}
		if err := f.apply(ctx, entry); err != nil {
			return err
		}
	}
	return nil
}

// apply takes an entry over, whole or not at all.
func (f *follower[T]) apply(ctx context.Context, entry object.FeedEntry) error {
	changed := make([]*T, len(entry.Changes)) // nil: it is gone, or cannot be read
	for i, change := range entry.Changes {
		delete(f.broken, change.Object.Key)
		if change.Type == object.Deleted {
			continue
		}
		record, err := f.feed.Unpack(ctx, change.Object)
		var one T
		if err == nil {
			one, err = f.open(record)
		}
		switch {
		case errors.Is(err, object.ErrUnreadable):
			f.leaveOut(change.Object.Key, err)
		case err != nil:
			return fmt.Errorf("unpack %v of %s: %w", change.Object.Key, f.table.resource, err)
		default:
			changed[i] = &one
		}
	}
	count := f.put(entry.Changes, changed) + len(f.broken)
	f.last = entry.ID
	f.arrived(entry.Freshness)
	if f.loading == nil && int64(count) != entry.Objects && !entry.Hold && time.Since(f.counted) > sayEvery {
		// It must heal by itself; if reading anew does not help, the number is wrong.
		f.counted = time.Now()
		f.log.Warn("another number of objects than in the snapshot: reading it anew", "resource", f.table.resource, "known", count, "snapshot", entry.Objects)
		return errAnew
	}
	return nil
}

// put changes the view, or the scan that is not shown yet, and returns how many
// objects there are then.
func (f *follower[T]) put(changes []object.Change, to []*T) int {
	if f.loading != nil {
		for i, change := range changes {
			if to[i] == nil {
				delete(f.loading, change.Object.Key)
			} else {
				f.loading[change.Object.Key] = *to[i]
			}
		}
		return len(f.loading)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, change := range changes {
		if to[i] == nil {
			f.table.remove(change.Object.Key)
		} else {
			f.table.put(*to[i])
		}
	}
	return f.table.count()
}

// idle asks, when the feed has brought nothing for a while, whether Redis still has
// what was read: one that lost it may stay silent for ever.
func (f *follower[T]) idle(ctx context.Context) error {
	state, err := f.state(ctx)
	if err != nil {
		return err
	}
	switch order := compareID(state.Tail, f.last); {
	case order < 0 || order > 0 && f.behind:
		return errAnew
	default:
		f.behind = order > 0
	}
	if !f.behind {
		f.arrived(state.Freshness)
	}
	return nil
}

// compareID orders IDs of a feed; "" is before the first.
func compareID(a, b object.LogID) int {
	aTenure, aN := splitID(a)
	bTenure, bN := splitID(b)
	switch {
	case aTenure < bTenure, aTenure == bTenure && aN < bN:
		return -1
	case aTenure == bTenure && aN == bN:
		return 0
	}
	return 1
}

func splitID(id object.LogID) (tenure, n uint64) {
	before, after, _ := strings.Cut(string(id), "-")
	tenure, _ = strconv.ParseUint(before, 10, 64)
	n, _ = strconv.ParseUint(after, 10, 64)
	return tenure, n
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
