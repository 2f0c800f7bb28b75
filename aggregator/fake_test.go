package aggregator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// contents is what a Redis holds of one resource. Values are not changed once
// they are in it, so that a copy is cheap.
type contents struct {
	log      []object.LogEntry
	logState object.LogState

	snapshot   map[object.Key]object.Packed
	tombstones map[object.Key]object.Head
	state      object.SnapshotState
	feed       []object.FeedEntry
	trimBefore object.LogID

	listed object.Listed
	wants  map[object.Key]bool
	bodies map[object.Key]object.Packed
}

func (c *contents) clone() contents {
	now := *c
	now.log, now.feed = slices.Clone(c.log), slices.Clone(c.feed)
	now.snapshot, now.tombstones = maps.Clone(c.snapshot), maps.Clone(c.tombstones)
	now.wants, now.bodies = maps.Clone(c.wants), maps.Clone(c.bodies)
	return now
}

// redis is a Redis of one resource, and what can happen to it.
type redis struct {
	mu       sync.Mutex
	now      contents
	history  []contents    // after each write
	changed  chan struct{} // closed at the next append
	fence    string
	until    time.Time // when the lease ends
	tenures  int64
	entries  int64
	reader   *follower
	faults   []error // of the protocol
	asks     map[object.Ask][]time.Time
	statuses []object.Status
	writes   []object.Publication
	story    []string // what happened, for those who have to understand a fault

	down      error                                              // what every call returns
	onPublish func(p object.Publication) (apply bool, err error) // comes in between
	onHashes  func()                                             // before the scan ends
}

func newRedis() *redis {
	return &redis{
		now: contents{
			snapshot: map[object.Key]object.Packed{}, tombstones: map[object.Key]object.Head{},
			wants: map[object.Key]bool{}, bodies: map[object.Key]object.Packed{},
		},
		changed: make(chan struct{}), reader: newFollower(), asks: map[object.Ask][]time.Time{},
	}
}

// client is one instance's end of a redis.
type client struct {
	*redis
	name    string
	token   string
	tail    object.LogID
	unknown *object.Publication // its outcome was not told
}

func (r *redis) client(name string) *client { return &client{redis: r, name: name} }

// id returns the next ID of a tenure.
func (r *redis) id(tenure int64, n int) object.LogID {
	return object.LogID(strconv.FormatInt(tenure, 10) + "-" + strconv.Itoa(n))
}

// append is what the streamer does.
func (r *redis) append(items ...object.LogItem) object.LogID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.appendLocked(items)
}

func (r *redis) appendLocked(items []object.LogItem) object.LogID {
	r.entries++
	entry := object.LogEntry{ID: r.id(1000+r.entries, 1), Prev: r.now.logState.Tail, Items: items}
	r.now.log = append(r.now.log, entry)
	r.tell("log %s: %s", entry.ID, text(items))
	s := &r.now.logState
	s.Tail = entry.ID
	for _, item := range items {
		switch item.Kind {
		case object.ItemResyncBegin:
			if s.Resync.Lineage != item.Resync.Lineage {
				s.Position = ""
			}
			s.Resync, s.Resyncing = item.Resync, true
		case object.ItemResyncEnd:
			s.Resyncing, s.Position = false, item.Version
		case object.ItemPosition:
			s.Position = item.Version
		}
	}
	r.saveLocked()
	close(r.changed)
	r.changed = make(chan struct{})
	return entry.ID
}

func (r *redis) saveLocked() { r.history = append(r.history, r.now.clone()) }

// lose forgets the last writes.
func (r *redis) lose(writes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell("%d writes are lost", writes)
	r.history = r.history[:len(r.history)-writes]
	r.now = r.history[len(r.history)-1].clone()
	r.reader = newFollower() // mirrors that have seen more reload
	for _, entry := range r.now.feed {
		if err := r.reader.apply(entry); err != nil {
			r.faults = append(r.faults, err)
		}
	}
}

// trim drops the log's first entries.
func (r *redis) trim(entries int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell("%d entries are trimmed", entries)
	r.now.log = slices.Clone(r.now.log[entries:])
}

// take is what another instance does that finds the lease run out.
func (r *redis) take(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fence, r.until = name, time.Now().Add(5*time.Second)
}

func (r *redis) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.down = err
}

func (r *redis) broken() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.down
}

func (r *redis) look() contents {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now.clone()
}

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
		for _, p := range now.snapshot {
			for range 2 { // twice, as a scan may
				if !yield(p.Head, nil) {
					return
				}
			}
		}
		for _, head := range now.tombstones {
			if !yield(head, nil) {
				return
			}
		}
	}
}

func (c *client) Hashes(context.Context) iter.Seq2[object.ListedItem, error] {
	return func(yield func(object.ListedItem, error) bool) {
		for _, p := range c.look().snapshot {
			if !yield(itemOf(p), c.broken()) {
				return
			}
		}
		if c.onHashes != nil {
			c.onHashes()
		}
	}
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

// put is what the verifier does.
func (r *redis) put(listed object.Listed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.listed = listed
	r.now.wants, r.now.bodies = map[object.Key]bool{}, map[object.Key]object.Packed{}
}

// give hands over what is wanted of bodies.
func (r *redis) give(bodies map[object.Key]object.Packed) (given int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.now.wants {
		if body, ok := bodies[key]; ok {
			r.now.bodies[key] = body
			delete(r.now.wants, key)
			given++
		}
	}
	return given
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
	now := &c.now
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
	c.checkLocked(p)
	c.saveLocked()
	return p.Entry.ID
}

// checkLocked looks for faults of the aggregator.
func (c *client) checkLocked(p object.Publication) {
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

func (r *redis) tell(format string, args ...any) {
	r.story = append(r.story, fmt.Sprintf(format, args...))
}

func text(items []object.LogItem) string {
	var b strings.Builder
	for _, item := range items {
		switch item.Kind {
		case object.ItemRecord:
			fmt.Fprintf(&b, " %s", headText(item.Packed.Head))
		case object.ItemPosition:
			fmt.Fprintf(&b, " position %s", item.Version)
		case object.ItemResyncBegin:
			fmt.Fprintf(&b, " begin(%s)", item.Resync.Lineage)
		case object.ItemResyncEnd:
			fmt.Fprintf(&b, " end(%s)", item.Version)
		}
	}
	return b.String()
}

func headText(h object.Head) string {
	if h.Deleted {
		return fmt.Sprintf("-%v@%s(%s)", h.Key, h.Version, h.UID)
	}
	return fmt.Sprintf("%v@%s(%s)", h.Key, h.Version, h.UID)
}

func changesText(changes []object.Change) string {
	var b strings.Builder
	for _, change := range changes {
		fmt.Fprintf(&b, " %v %s", change.Type, headText(change.Object.Head))
	}
	return b.String()
}

func stateText(s object.SnapshotState) string {
	return fmt.Sprintf("%s synced=%v resyncing=%v streamed=%s verified=%s floor=%s barrier=%s checkpoint=%s",
		s.Lineage, s.Synced, s.Resyncing, s.Freshness.Streamed, s.Freshness.Verified, s.Floor, s.Barrier, s.Checkpoint)
}
