package aggregator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// client is one instance's end of a redis.
type client struct {
	*redis
	name    string
	token   string
	tail    object.LogID
	unknown *object.Publication // its outcome was not told
}

func (r *redis) client(name string) *client { return &client{redis: r, name: name} }

func (c *client) Acquire(ctx context.Context) (object.SnapshotState, error) {
	for {
		c.mu.Lock()
		err, free := c.down, c.fence == "" || time.Now().After(c.until)
		if err == nil && free {
			break
		}
		c.mu.Unlock()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return object.SnapshotState{}, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	defer c.mu.Unlock()
	c.tenures++
	c.token = fmt.Sprint(c.name, c.tenures)
	c.fence, c.until = c.token, time.Now().Add(5*time.Second)
	c.tail, c.unknown = c.now.state.Tail, nil
	c.tell("tenure %s, state %s", c.token, stateText(c.now.state))
	return c.now.state, nil
}

func (c *client) Beat(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.down != nil:
		return c.down
	case c.fence != c.token:
		return object.ErrFenced
	}
	c.until = time.Now().Add(5 * time.Second)
	return nil
}

func (c *client) Release(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down == nil && c.fence == c.token {
		c.fence = ""
	}
	return c.down
}

func (c *client) Report(_ context.Context, status object.Status) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.statuses = append(c.statuses, status)
	return c.down
}

func (c *client) Ask(_ context.Context, ask object.Ask) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down == nil {
		c.asks[ask] = append(c.asks[ask], time.Now())
	}
	return c.down
}

func (c *client) Heads(context.Context) iter.Seq2[object.Head, error] {
	return func(yield func(object.Head, error) bool) {
		now := c.look()
		if err := c.broken(); err != nil {
			yield(object.Head{}, err)
			return
		}
		for _, key := range inOrder(now.snapshot) {
			for range 2 { // as a scan may
				if !yield(now.snapshot[key].Head, nil) {
					return
				}
			}
		}
		for _, key := range inOrder(now.tombstones) {
			if !yield(now.tombstones[key], nil) {
				return
			}
		}
	}
}

func (c *client) Hashes(context.Context) iter.Seq2[object.ListedItem, error] {
	return func(yield func(object.ListedItem, error) bool) {
		now := c.look().snapshot
		for _, key := range inOrder(now) {
			if !yield(itemOf(now[key]), c.broken()) {
				return
			}
		}
		if c.onHashes != nil {
			c.onHashes()
		}
	}
}

// inOrder returns m's keys so that a story can be told again.
func inOrder[T any](m map[object.Key]T) []object.Key {
	return slices.SortedFunc(maps.Keys(m), object.Key.Compare)
}

func (c *client) ReadLog(ctx context.Context, after object.LogID, wait time.Duration) ([]object.LogEntry, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		entries, changed, err := c.readOnce(after)
		if err != nil || len(entries) > 0 {
			return entries, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timer.C:
			return nil, nil
		case <-changed:
		}
	}
}

func (c *client) readOnce(after object.LogID) ([]object.LogEntry, chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return nil, nil, c.down
	}
	for i, entry := range c.now.log {
		if entry.ID.Compare(after) <= 0 {
			continue
		}
		if entry.Prev.Compare(after) > 0 {
			return nil, nil, fmt.Errorf("read after %s: %w", after, object.ErrExpired)
		}
		return slices.Clone(c.now.log[i:min(i+8, len(c.now.log))]), nil, nil
	}
	return nil, c.changed, nil
}

func (c *client) LogState(context.Context) (object.LogState, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now.logState, c.down
}

func (c *client) Listed(_ context.Context, notID string) (object.Listed, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil || c.now.listed.ID == "" || c.now.listed.ID == notID {
		return object.Listed{}, false, c.down
	}
	return c.now.listed, true, nil
}

func (c *client) Want(_ context.Context, listedID string, keys []object.Key) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.down != nil:
		return c.down
	case c.fence != c.token:
		return object.ErrFenced
	case listedID == c.now.listed.ID:
		for _, key := range keys {
			c.now.wants[key] = true
		}
	}
	return nil
}

func (c *client) Bodies(_ context.Context, listedID string) (map[object.Key]object.Packed, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil || listedID != c.now.listed.ID || len(c.now.wants) > 0 {
		return nil, false, c.down
	}
	return maps.Clone(c.now.bodies), true, nil
}

func (c *client) Publish(_ context.Context, p object.Publication) (object.LogID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.Entry.Changes, p.Tombstones, p.Forgotten = slices.Clone(p.Entry.Changes), slices.Clone(p.Tombstones), slices.Clone(p.Forgotten)
	if before := c.unknown; before != nil && c.fence == c.token {
		c.unknown = nil
		if !gocmp.Equal(*before, p) {
			c.faults = append(c.faults, errors.New("another publication follows one whose outcome is unknown"))
		}
		if c.tail != c.now.state.Tail {
			c.tail = c.now.state.Tail
			return c.tail, nil // it had arrived
		}
	}
	apply, err := true, c.down
	if err == nil && c.onPublish != nil {
		apply, err = c.onPublish(p)
	}
	switch {
	case c.down != nil || !apply:
		c.unknown = &p
		return "", cmp.Or(c.down, err)
	case c.fence != c.token:
		return "", object.ErrFenced
	case c.tail != c.now.state.Tail:
		return "", fmt.Errorf("tail %s, wrote %s: %w", c.now.state.Tail, c.tail, object.ErrLost)
	}
	id := c.applyLocked(p)
	if err != nil { // the answer gets lost
		c.unknown = &p
		return "", err
	}
	c.tail = id
	return id, nil
}

func (c *client) applyLocked(p object.Publication) object.LogID {
	now, before := &c.now, c.now.state
	p.Entry.ID, p.Entry.Prev = c.id(2000+c.tenures, len(c.writes)+1), now.state.Tail
	for _, change := range p.Entry.Changes {
		if change.Type == object.Deleted {
			delete(now.snapshot, change.Object.Key)
		} else {
			now.snapshot[change.Object.Key] = change.Object
		}
	}
	for _, head := range p.Tombstones {
		now.tombstones[head.Key] = head
	}
	for _, key := range p.Forgotten {
		delete(now.tombstones, key)
	}
	if p.State.Listed != now.state.Listed {
		now.wants, now.bodies = map[object.Key]bool{}, map[object.Key]object.Packed{}
	}
	drift := now.state.Drift.Add(p.Drift)
	now.state = p.State
	now.state.Tail, now.state.Drift = p.Entry.ID, drift
	if p.TrimBefore != "" {
		now.trimBefore = p.TrimBefore
	}
	now.feed = append(now.feed, p.Entry)
	c.tell("feed %s: hold=%v barrier=%q %s%s, state %s", p.Entry.ID, p.Entry.Hold, p.Entry.Barrier, p.Entry.Lineage, changesText(p.Entry.Changes), stateText(p.State))
	c.writes = append(c.writes, p)
	c.checkLocked(before, p)
	c.saveLocked()
	return p.Entry.ID
}

// checkLocked looks for faults of the aggregator.
func (c *client) checkLocked(before object.SnapshotState, p object.Publication) {
	fault := func(format string, args ...any) {
		c.faults = append(c.faults, fmt.Errorf("entry %s: %w", p.Entry.ID, fmt.Errorf(format, args...)))
	}
	if err := c.reader.apply(p.Entry); err != nil {
		fault("%w", err)
	}
	if p.State.Checkpoint.Compare(c.now.logState.Tail) > 0 {
		fault("checkpoint %s above the log's end %s", p.State.Checkpoint, c.now.logState.Tail)
	}
	if p.TrimBefore.Compare(p.State.Checkpoint) > 0 {
		fault("trims before %s, needs what follows %s", p.TrimBefore, p.State.Checkpoint)
	}
	if !p.Entry.Hold && (p.State.Resyncing || !p.State.Synced || p.State.Freshness != p.Entry.Freshness) {
		fault("shown, but the state is %+v", p.State)
	}
	if before.Resyncing && !p.State.Resyncing && p.State.Checkpoint == before.Checkpoint {
		fault("a new tenure reads from %s, and would not know of the resync", before.Checkpoint)
	}
	for key := range c.now.tombstones {
		if _, live := c.now.snapshot[key]; live {
			fault("%v is live and has a tombstone", key)
		}
	}
}

// itemOf is what a list says of p.
func itemOf(p object.Packed) object.ListedItem {
	return object.ListedItem{Key: p.Key, UID: p.UID, Version: p.Version, Hash: object.Hash(p.Data)}
}
