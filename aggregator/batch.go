package aggregator

import (
	"cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// The bounds of one publication: what Redis does in one script is seen as a pause by everyone else.
const (
	maxChanges   = 512
	maxBytes     = 1 << 20
	maxForgotten = 2048
)

// Batch collects what a State's steps change, cut into pieces that are each small
// enough for one publication. Its zero value is empty; Reset makes it so again.
type Batch struct {
	Repair bool // something changed that has no place in the order of versions
	Synced bool // a resync ended

	few     int      // changes and tombstones of one piece, instead of the bounds above
	pieces  []*piece // the last one is open
	spare   []*piece
	touched []object.Head // tombstones that the open piece may have to remember or to forget
}

// piece is what one publication carries, and the state after it.
type piece struct {
	changes    []object.Change
	tombstones []object.Head
	forgotten  []object.Key
	columns    []object.Column
	drift      object.Drift // that changes repair
	bytes      int

	lineage, clusterUID, schema string
	floor                       object.Version
	resyncing                   bool // or torn
	objects                     int64
	received, expect            int64
}

// Changes returns how many changes and how many bytes of them b holds.
func (b *Batch) Changes() (changes, bytes int) {
	for _, p := range b.pieces {
		changes += len(p.changes)
		bytes += p.bytes
	}
	return changes, bytes
}

// Reset empties b and keeps its memory.
func (b *Batch) Reset() {
	for _, p := range b.pieces {
		clear(p.changes)
		*p = piece{changes: p.changes[:0], tombstones: p.tombstones[:0], forgotten: p.forgotten[:0]}
	}
	b.spare = append(b.spare, b.pieces...)
	if len(b.spare) > 4 { // a large step is rare
		clear(b.spare[4:])
		b.spare = b.spare[:4]
	}
	clear(b.pieces)
	b.pieces, b.touched = b.pieces[:0], b.touched[:0]
	b.Repair, b.Synced = false, false
}

func (b *Batch) open() *piece {
	if len(b.pieces) == 0 {
		b.next()
	}
	return b.pieces[len(b.pieces)-1]
}

func (b *Batch) next() {
	p := &piece{}
	if last := len(b.spare) - 1; last >= 0 {
		p, b.spare = b.spare[last], b.spare[:last]
	}
	b.pieces = append(b.pieces, p)
}

func (b *Batch) add(kind object.EventType, o object.Packed) {
	p := b.open()
	p.changes = append(p.changes, object.Change{Type: kind, Object: o})
	p.bytes += len(o.Data)
}

func (b *Batch) touch(tombstone object.Head) { b.touched = append(b.touched, tombstone) }

// found counts what the change before has repaired.
func (b *Batch) found(s *State, drift object.Drift) {
	p := b.open()
	p.drift = p.drift.Add(drift)
	b.Repair = true
	b.cut(s)
}

// cut closes the open piece if it is full. It is called between two steps, so
// that a piece is complete: whoever reloads after it loses nothing.
func (b *Batch) cut(s *State) {
	p := b.open()
	if len(p.changes) >= cmp.Or(b.few, maxChanges) || p.bytes >= maxBytes || len(b.touched) >= cmp.Or(b.few, maxForgotten) {
		b.seal(s)
		b.next()
	}
}

// finish closes the last piece and returns all of them, at least one. An empty
// last one goes away, unless it is the only one.
func (b *Batch) finish(s *State) []*piece {
	p := b.open()
	if last := len(b.pieces) - 1; last > 0 && len(p.changes) == 0 && len(b.touched) == 0 && p.columns == nil {
		b.pieces = b.pieces[:last]
		b.spare = append(b.spare, p)
	}
	b.seal(s)
	for len(s.outdated) > 0 {
		b.next()
		b.seal(s)
	}
	return b.pieces
}

// seal writes down what the state is after the open piece, which may be sealed
// already: then that is brought up to date.
func (b *Batch) seal(s *State) {
	p := b.open()
	for _, tombstone := range b.touched {
		switch e := s.heads[tombstone.Key]; {
		case e == nil || !e.deleted:
			p.forgotten = append(p.forgotten, tombstone.Key)
		case e.version == tombstone.Version:
			p.tombstones = append(p.tombstones, tombstone)
		}
	}
	b.touched = b.touched[:0]
	most := cmp.Or(b.few, maxForgotten)
	s.outdated = p.forget(s, s.outdated, most)
	s.garbage = p.forget(s, s.garbage, most)
	p.lineage, p.clusterUID, p.schema, p.floor = s.lineage, s.clusterUID, s.schema, s.floor
	p.resyncing, p.objects = s.resyncing || s.torn, s.live
	p.received, p.expect = s.received, s.expect
}

// forget takes from keys what fits into most and returns the rest. A key that has
// another tombstone by now keeps that.
func (p *piece) forget(s *State, keys []object.Key, most int) (rest []object.Key) {
	for len(keys) > 0 && len(p.forgotten) < most {
		last := len(keys) - 1
		key := keys[last]
		keys = keys[:last]
		if e := s.heads[key]; e == nil || !e.deleted {
			p.forgotten = append(p.forgotten, key)
		}
	}
	return keys
}
