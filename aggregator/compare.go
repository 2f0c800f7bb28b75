package aggregator

import (
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Stored is what the snapshot in Redis really holds, by key: a full round compares
// it too. Objects of a Stored have the version at which they were read.
type Stored map[object.Key]object.ListedItem

// Difference is what a statement at R shows to be wrong with a State.
type Difference struct {
	Missing []object.ListedItem // the API server had it at R, the state has not
	Stale   []object.ListedItem // the state has an older version, or another life of the key
	Altered []object.ListedItem // the same version with another body, or none, in Redis
	Ghost   []object.Key        // the state has it, the API server had not
	Stray   []object.Key        // only Redis has it
}

// Drift counts the difference by kind.
func (d *Difference) Drift() object.Drift {
	return object.Drift{
		Missing: int64(len(d.Missing)), Stale: int64(len(d.Stale)),
		Ghost: int64(len(d.Ghost) + len(d.Stray)), Altered: int64(len(d.Altered)),
	}
}

// Wants returns the items whose bodies are needed to repair the difference.
func (d *Difference) Wants() []object.ListedItem {
	return slices.Concat(d.Missing, d.Stale, d.Altered)
}

// Compare returns what listed shows to be wrong. stored is nil unless listed is
// full. It is O(heads + items) and changes nothing that readers see.
func (s *State) Compare(listed object.Listed, stored Stored) Difference {
	var d Difference
	s.rounds++
	for _, item := range listed.Items {
		e := s.heads[item.Key]
		if e != nil {
			e.listed = s.rounds
		}
		switch {
		case e == nil:
			d.Missing = append(d.Missing, item)
		case e.version.Newer(listed.Version): // the log knows better, by a record or a tombstone
		case e.deleted:
			d.Missing = append(d.Missing, item)
		case e.version != item.Version || e.uid != item.UID:
			d.Stale = append(d.Stale, item)
		case stored != nil && stored[item.Key] != item:
			d.Altered = append(d.Altered, item)
		}
	}
	d.Ghost = s.keys(func(e *head) bool {
		return !e.deleted && e.listed != s.rounds && !e.version.Newer(listed.Version)
	})
	for key := range stored {
		if e := s.heads[key]; e == nil || e.deleted {
			d.Stray = append(d.Stray, key)
		}
	}
	slices.SortFunc(d.Stray, object.Key.Compare)
	return d
}

// Adopt makes listed true of s: from now on records up to its version lose. d is
// what Compare has just found, and bodies has all that d.Wants names. What changes
// goes to b. The position becomes the list's version if that is the newer one.
func (s *State) Adopt(listed object.Listed, d Difference, bodies map[object.Key]object.Packed, b *Batch) {
	s.steps++
	for _, item := range d.Wants() {
		s.repair(bodies[item.Key], b)
		b.cut(s)
	}
	for _, key := range d.Ghost {
		s.remove(key, s.heads[key], listed.Version, listed.At, b)
		b.cut(s)
	}
	for _, key := range d.Stray {
		stray := object.Head{Key: key, Version: listed.Version, Deleted: true, SeenAt: listed.At}
		b.add(object.Deleted, object.Packed{Head: stray})
		b.cut(s)
	}
	b.Repair = b.Repair || d.Drift().Total() > 0
	s.floor = s.floor.Newest(listed.Version)
	s.verified, s.verifiedAt = listed.Version, listed.At
	if listed.Version.Newer(s.position) {
		s.position, s.positionAt = listed.Version, latest(s.positionAt, listed.At)
	}
	s.sweep()
}

// repair puts the body of a list in the place of what is known.
func (s *State) repair(p object.Packed, b *Batch) {
	e := s.heads[p.Key]
	if e == nil || e.deleted || e.uid != p.UID {
		s.put(e, &p, b)
		return
	}
	b.add(object.Modified, p)
	s.set(e, p.Head)
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
