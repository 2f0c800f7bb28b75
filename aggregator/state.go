package aggregator

import (
	"iter"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// State is what merging needs to know of a resource: a head per key, never a
// body. It does no I/O and reads no clock; it belongs to one goroutine.
//
// A list at R is a statement about every key at R. Per key a log record wins if
// its version is above R, and among log records the highest version wins. So the
// result is the same however often and in whatever order records come.
type State struct {
	lineage    string
	clusterUID string // of the lineage; "" if unknown
	schema     string // of the newest complete list in the log; "" if unknown
	synced     bool   // a complete list has been merged since the lineage began
	position   object.Version
	positionAt time.Time
	verified   object.Version // R of the list adopted last
	verifiedAt time.Time
	floor      object.Version // R of the newest complete list of any kind: records up to it lose
	columns    []object.Column

	heads    map[object.Key]*head
	live     int64
	garbage  []object.Key // tombstones that the floor has passed: Redis may drop them
	outdated []object.Key // tombstones of an older lineage: Redis must drop them before this one is synced

	resyncing bool   // between begin and end, both of which we saw
	torn      bool   // a part of a resync is merged whose end will not come: only another one mends that
	gap       bool   // log entries were lost: the next ones say nothing until a complete list begins
	rewrite   bool   // the resync's bodies count at the same version, too
	brings    string // the resync's schema
	received  int64
	expect    int64

	generation uint32 // of versions: an older one's lose against any record
	naming     uint32 // counts resyncs
	rounds     uint32 // counts comparisons
	steps      uint64 // counts calls that change something
	swept      uint64 // steps when tombstones were dropped last
}

// head is what is known of a key.
type head struct {
	uid        string
	version    object.Version
	step       uint64 // State.steps of the last change
	generation uint32 // State.generation in which it was learned
	named      uint32 // State.naming of the last resync that named it
	listed     uint32 // State.rounds of the last list that named it
	deleted    bool   // a tombstone
}

// NewState returns the state before the first entry of a log.
func NewState() *State { return &State{heads: map[object.Key]*head{}} }

// Load returns the state as Redis holds it: heads are the live objects and the
// tombstones, in any order; of a key that comes twice the newer head counts. It
// returns the first error of heads.
func Load(state object.SnapshotState, heads iter.Seq2[object.Head, error]) (*State, error) {
	s := NewState()
	s.lineage, s.clusterUID, s.schema = state.Lineage, state.ClusterUID, state.Schema
	s.synced, s.torn, s.columns = state.Synced, state.Resyncing, state.Columns
	s.position, s.positionAt = state.Freshness.Streamed, state.Freshness.StreamedAt
	s.verified, s.verifiedAt = state.Freshness.Verified, state.Freshness.VerifiedAt
	s.floor = state.Floor.Newest(s.verified)
	s.received, s.expect = state.Received, state.Expect
	for loaded, err := range heads {
		if err != nil {
			return nil, err
		}
		s.load(loaded)
	}
	return s, nil
}

func (s *State) load(loaded object.Head) {
	if loaded.Deleted && !loaded.Version.Newer(s.floor) {
		s.garbage = append(s.garbage, own(loaded.Key))
		return
	}
	e := s.heads[loaded.Key]
	if e != nil && (e.version.Newer(loaded.Version) || e.version == loaded.Version && e.deleted) {
		return
	}
	if e == nil {
		e = s.insert(loaded.Key)
	}
	s.set(e, loaded)
}

// own returns a copy of key that keeps no buffer alive.
func own(key object.Key) object.Key { return object.ParseKey(strings.Clone(key.String())) }

// insert adds key as a tombstone of nothing, for set to fill.
func (s *State) insert(key object.Key) *head {
	e := &head{deleted: true}
	s.heads[own(key)] = e
	return e
}

// set makes e what now says, and counts.
func (s *State) set(e *head, now object.Head) {
	switch {
	case e.deleted && !now.Deleted:
		s.live++
	case !e.deleted && now.Deleted:
		s.live--
	}
	if e.uid != now.UID {
		e.uid = strings.Clone(now.UID)
	}
	e.version = object.Version(strings.Clone(string(now.Version)))
	e.deleted = now.Deleted
	e.generation, e.step = s.generation, s.steps
}

// Gap tells that log entries were lost before they could be read. What follows
// says nothing until the next complete list begins.
func (s *State) Gap() {
	s.torn = s.torn || s.resyncing
	s.gap, s.resyncing = true, false
}

// Settled says whether the state is that of a complete list moved on, and not
// between two of them.
func (s *State) Settled() bool { return s.synced && !s.resyncing && !s.torn }

// following says whether the log's records and positions move the state on.
func (s *State) following() bool { return s.Settled() && !s.gap }

// Freshness says how far the state may be trusted.
func (s *State) Freshness() object.Freshness {
	return object.Freshness{Streamed: s.position, StreamedAt: s.positionAt, Verified: s.verified, VerifiedAt: s.verifiedAt}
}

// sweep drops the tombstones that the floor has passed, and those of older lineages.
func (s *State) sweep() {
	s.swept = s.steps
	old := func(e *head) bool { return e.generation != s.generation }
	for _, key := range s.keys(func(e *head) bool { return e.deleted && (old(e) || !e.version.Newer(s.floor)) }) {
		if old(s.heads[key]) {
			s.outdated = append(s.outdated, key)
		} else {
			s.garbage = append(s.garbage, key)
		}
		delete(s.heads, key)
	}
}
