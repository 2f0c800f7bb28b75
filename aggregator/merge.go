package aggregator

import (
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Merge takes over items of the log, in the order of arrival, and adds to b what
// they change. Items that are already known change nothing. The cost is that of
// one map access a record, and of all heads where a resync ends.
func (s *State) Merge(items []object.LogItem, b *Batch) {
	s.steps++
	for i := range items {
		item := &items[i]
		switch item.Kind {
		case object.ItemRecord:
			s.record(&item.Packed, b)
		case object.ItemPosition:
			s.moveTo(item.Version, item.At)
		case object.ItemResyncBegin:
			s.begin(item.Resync)
		case object.ItemResyncEnd:
			s.end(item.Version, item.At, b)
		case object.ItemColumns:
			s.columns = item.Columns
			b.open().columns = item.Columns
		}
		b.cut(s)
	}
}

// moveTo believes that the stream has delivered everything up to version.
func (s *State) moveTo(version object.Version, at time.Time) {
	if !s.following() || s.position.Newer(version) {
		return
	}
	s.position, s.positionAt = version, latest(s.positionAt, at)
}

// begin starts the naming anew. What an unfinished first list brought counts no
// more than what was known before it: its versions may be another lineage's.
func (s *State) begin(resync object.Resync) {
	s.resyncing, s.torn = true, false
	s.received, s.expect = 0, resync.Expect
	s.clusterUID, s.brings = resync.ClusterUID, resync.Schema
	s.naming++
	// Of a gap, a rewrite may have been a part.
	altered := s.schema != "" && resync.Schema != "" && s.schema != resync.Schema
	s.rewrite = resync.Rewrite || altered
	if s.synced && s.lineage == resync.Lineage {
		return
	}
	s.generation++
	s.lineage, s.schema, s.synced, s.rewrite = resync.Lineage, "", false, false
	s.floor, s.verified, s.verifiedAt = "", "", time.Time{}
	s.position, s.positionAt = "", time.Time{}
	s.outdated, s.garbage = append(s.outdated, s.garbage...), nil // what was old in the old lineage
	s.sweep()
}

// end removes what the resync did not name and what is not newer than it.
//
// A list that was adopted while the resync was under way may be newer. That does
// no harm: what it says holds against the resync's records as against any other,
// and what was there at both versions was named.
func (s *State) end(version object.Version, at time.Time, b *Batch) {
	if !s.resyncing {
		return // we did not see it begin
	}
	gone := s.keys(func(e *head) bool {
		return !e.deleted && e.named != s.naming && (e.generation != s.generation || !e.version.Newer(version))
	})
	for _, key := range gone {
		s.remove(key, s.heads[key], version, at, b)
		b.cut(s)
	}
	s.resyncing, s.rewrite, s.gap, s.synced = false, false, false, true
	s.schema = s.brings
	s.floor = s.floor.Newest(version)
	s.moveTo(version, at)
	s.sweep()
	b.Synced = true
}

// keys returns the keys whose heads are wanted, in order.
func (s *State) keys(wanted func(*head) bool) []object.Key {
	var keys []object.Key
	for key, e := range s.heads {
		if wanted(e) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, object.Key.Compare)
	return keys
}

// remove publishes that key was found to be gone at version, and remembers it
// until the floor has passed that.
func (s *State) remove(key object.Key, e *head, version object.Version, at time.Time, b *Batch) {
	gone := object.Head{Key: key, UID: e.uid, Version: version, Deleted: true, SeenAt: at}
	b.add(object.Deleted, object.Packed{Head: gone})
	s.set(e, gone)
	b.touch(gone)
}

// record merges one record.
func (s *State) record(p *object.Packed, b *Batch) {
	if !s.resyncing && !s.following() {
		return // it may be the rest of a list whose begin we did not see, even of another lineage
	}
	e := s.heads[p.Key]
	if s.resyncing {
		s.received++
	}
	if s.wins(p, e) {
		e = s.put(e, p, b)
	}
	if s.resyncing && !p.Deleted && e != nil {
		e.named = s.naming
	}
}

// wins decides whether p is news: the one rule.
func (s *State) wins(p *object.Packed, e *head) bool {
	known := e != nil && e.generation == s.generation
	switch {
	case s.rewrite && known && !p.Deleted && !e.deleted && p.Version == e.version:
		return true
	case !p.Version.Newer(s.floor):
		return false
	}
	return !known || p.Version.Newer(e.version)
}

// put makes p what is known of its key, whose head is e (nil if there is none),
// and publishes the difference.
func (s *State) put(e *head, p *object.Packed, b *Batch) *head {
	if e == nil {
		e = s.insert(p.Key)
	}
	was := !e.deleted
	switch same := e.uid == p.UID; {
	case !was && !p.Deleted:
		b.add(object.Added, *p)
	case was && same && !p.Deleted:
		b.add(object.Modified, *p)
	case was && same:
		b.add(object.Deleted, *p)
	case was: // the deletion of the old one was missed
		old := object.Head{Key: p.Key, UID: e.uid, Version: p.Version, Deleted: true, SeenAt: p.SeenAt}
		b.add(object.Deleted, object.Packed{Head: old})
		if !p.Deleted {
			b.add(object.Added, *p)
			b.Repair = true
		}
	}
	if p.Deleted || !was {
		b.touch(p.Head)
	}
	s.set(e, p.Head)
	return e
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
