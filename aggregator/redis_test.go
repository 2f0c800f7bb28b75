package aggregator

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

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

// between puts f between every publication and its execution.
func (r *redis) between(f func(p object.Publication) (apply bool, err error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onPublish = f
}

// killAfter lets so many publications through.
func (r *redis) killAfter(publications int) {
	r.between(func(object.Publication) (bool, error) {
		if publications--; publications < 0 {
			r.fence, r.until = "killed", time.Now().Add(time.Minute)
		}
		return true, nil
	})
}

// holder is whose lease it is, "" if nobody's.
func (r *redis) holder() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fence
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
