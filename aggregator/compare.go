package aggregator

import "github.com/kubernetes-resource-monitor/krm/internal/object"

// Difference is what a list at R shows to be wrong with a State.
type Difference struct {
	Missing []object.ListedItem // the API server had it at R, the state or Redis has not
	Stale   []object.ListedItem // the state or Redis has an older version, or another life of the key
	Altered []object.ListedItem // the same version with another body in Redis
	Ghost   []object.Key        // the state has it, the API server had not
	Stray   []object.Key        // only Redis has it

	// Drift counts the same, without what the stream had not reached: that is late,
	// and not wrong.
	Drift object.Drift
}

// Empty says that there is nothing to repair.
func (d *Difference) Empty() bool {
	return len(d.Missing)+len(d.Stale)+len(d.Altered)+len(d.Ghost)+len(d.Stray) == 0
}

// Wants returns the keys of what is needed to repair the difference and is not in bodies.
func (d *Difference) Wants(bodies map[object.Key]object.Packed) []object.Key {
	var keys []object.Key
	for _, items := range [][]object.ListedItem{d.Missing, d.Stale, d.Altered} {
		for _, item := range items {
			if body, ok := bodies[item.Key]; !ok || body.Version != item.Version || body.UID != item.UID {
				keys = append(keys, item.Key)
			}
		}
	}
	return keys
}

// Compare returns what listed shows to be wrong. audit is nil, or says what Redis
// really holds. It is O(heads + items) and changes nothing that readers see.
func (s *State) Compare(listed *object.Listed, audit *Audit) Difference {
	var d Difference
	s.rounds++
	for i, item := range listed.Items {
		e := s.heads[item.Key]
		if e != nil {
			e.listed = s.rounds
		}
		switch s.judge(e, &item, listed.Version, audit, i) {
		case missing:
			d.Missing = append(d.Missing, item)
			d.Drift.Missing += s.missed(item.Version)
		case stale:
			d.Stale = append(d.Stale, item)
			d.Drift.Stale += s.missed(item.Version)
		case altered:
			d.Altered = append(d.Altered, item)
			d.Drift.Altered++
		}
	}
	d.Ghost = s.keys(func(e *head) bool {
		return !e.deleted && e.listed != s.rounds && !e.version.Newer(listed.Version)
	})
	d.Drift.Ghost = int64(len(d.Ghost)) * s.missed(listed.Version)
	if audit != nil {
		d.Stray = s.strayOf(audit)
		d.Drift.Ghost += int64(len(d.Stray))
	}
	return d
}

// judge says what is wrong with the i-th item of a list at version; e is its key's
// head, nil if there is none.
func (s *State) judge(e *head, item *object.ListedItem, version object.Version, audit *Audit, i int) finding {
	switch {
	case e == nil:
		return missing
	case e.version.Newer(version): // the log knows better, by a record or a tombstone
		return fine
	case e.deleted:
		return missing
	case e.version != item.Version || e.uid != item.UID:
		return stale
	case audit != nil && e.step <= audit.step:
		return audit.found[i]
	}
	return fine
}

// missed is 1 if the stream has passed version, and 0 if that may still come.
func (s *State) missed(version object.Version) int64 {
	if version.Newer(s.position) {
		return 0
	}
	return 1
}

// Adopt makes listed true of s: from now on records up to its version lose. d is
// what Compare has just found, and bodies has all that d.Wants names. What changes
// goes to b. The position becomes the list's version if that is the newer one.
func (s *State) Adopt(listed *object.Listed, d *Difference, bodies map[object.Key]object.Packed, b *Batch) {
	s.steps++
	for _, key := range d.Stray {
		stray := object.Head{Key: key, Version: listed.Version, Deleted: true, SeenAt: listed.At}
		b.add(object.Deleted, object.Packed{Head: stray})
		b.found(s, object.Drift{Ghost: 1})
	}
	for _, key := range d.Ghost {
		s.remove(key, s.heads[key], listed.Version, listed.At, b)
		b.found(s, object.Drift{Ghost: s.missed(listed.Version)})
	}
	for _, item := range d.Missing {
		s.repair(bodies[item.Key], b)
		b.found(s, object.Drift{Missing: s.missed(item.Version)})
	}
	for _, item := range d.Stale {
		s.repair(bodies[item.Key], b)
		b.found(s, object.Drift{Stale: s.missed(item.Version)})
	}
	for _, item := range d.Altered {
		s.repair(bodies[item.Key], b)
		b.found(s, object.Drift{Altered: 1})
	}
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
