package aggregator

import (
	"iter"
	"slices"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// finding is what is wrong with one object in Redis.
type finding uint8

const (
	fine finding = iota
	missing
	stale
	altered
)

// Audit is what Redis really holds, compared with a list that has hashes. It may
// be made while the state moves on: what has changed since is not judged by it.
type Audit struct {
	step   uint64       // State.steps when it began
	found  []finding    // by index of the list's items
	strays []object.Key // what the list does not name, in order
}

// NewAudit reads everything that Redis holds and compares it with listed, which
// must be Full. step is the State's when it begins, with everything published. Of
// a key that comes twice the last one counts. It returns the first error of held.
func NewAudit(listed *object.Listed, step uint64, held iter.Seq2[object.ListedItem, error]) (*Audit, error) {
	a := &Audit{step: step, found: make([]finding, len(listed.Items))}
	index := make(map[object.Key]int, len(listed.Items))
	for i := range listed.Items {
		index[listed.Items[i].Key] = i
		a.found[i] = missing
	}
	for now, err := range held {
		if err != nil {
			return nil, err
		}
		i, named := index[now.Key]
		if !named {
			a.strays = append(a.strays, own(now.Key))
			continue
		}
		switch item := &listed.Items[i]; {
		case now.Version != item.Version || now.UID != item.UID:
			a.found[i] = stale
		case now.Hash != item.Hash:
			a.found[i] = altered
		default:
			a.found[i] = fine
		}
	}
	slices.SortFunc(a.strays, object.Key.Compare)
	a.strays = slices.Compact(a.strays)
	return a, nil
}

// covers says whether the audit can be used with s: not if tombstones went since
// it began, because a deleted object looks like one that s never knew then.
func (a *Audit) covers(s *State) bool { return a != nil && s.swept <= a.step }

// strayOf returns which keys only Redis has.
func (s *State) strayOf(a *Audit) []object.Key {
	var keys []object.Key
	for _, key := range a.strays {
		if e := s.heads[key]; e == nil || e.deleted && e.step <= a.step {
			keys = append(keys, key)
		}
	}
	return keys
}
