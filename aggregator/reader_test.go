package aggregator

import (
	"fmt"
	"maps"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// follower is a reader that applies the feed from its beginning, as mirrors do,
// and checks what readers may rely on.
type follower struct {
	objects map[object.Key]object.Packed
	lineage string

	shown   map[object.Key]object.Packed // at the last entry without Hold
	at      object.FeedEntry             // that entry; its Lineage is "" before the first
	since   []object.Change              // after that entry
	barrier object.Version               // the highest after that entry
	dead    map[string]bool              // UIDs of the lineage that were deleted
	strays  bool                         // Redis was spoiled: it may hold what the feed did not bring
}

func newFollower() *follower {
	return &follower{objects: map[object.Key]object.Packed{}, dead: map[string]bool{}}
}

// apply returns what is wrong with entry.
func (f *follower) apply(entry object.FeedEntry) error {
	if entry.Lineage != f.lineage {
		f.lineage, f.barrier, f.dead = entry.Lineage, "", map[string]bool{}
	}
	f.barrier = f.barrier.Newest(entry.Barrier)
	// Before a lineage is shown the first time, what an unfinished list has brought
	// may be brought again.
	continues := f.at.Lineage == entry.Lineage
	for _, change := range entry.Changes {
		if err := f.change(change, continues); err != nil {
			return fmt.Errorf("%v %+v: %w", change.Type, change.Object.Head, err)
		}
	}
	f.since = append(f.since, entry.Changes...)
	if got := int64(len(f.objects)); entry.Objects != got && !f.strays {
		return fmt.Errorf("says %d objects, readers have %d", entry.Objects, got)
	}
	if entry.Hold {
		return nil
	}
	if err := f.show(entry, continues); err != nil {
		return err
	}
	f.shown, f.at, f.since, f.barrier = maps.Clone(f.objects), entry, nil, ""
	return nil
}

func (f *follower) change(change object.Change, continues bool) error {
	now := change.Object
	was, present := f.objects[now.Key]
	if now.Deleted != (change.Type == object.Deleted) {
		return fmt.Errorf("its head says deleted=%v", now.Deleted)
	}
	if present && continues && was.Version.Newer(now.Version) {
		return fmt.Errorf("back in time: was at %s", was.Version)
	}
	switch change.Type {
	case object.Added:
		if present {
			return fmt.Errorf("is there already: %+v", was.Head)
		}
		if continues && f.dead[now.UID] {
			return fmt.Errorf("was deleted before")
		}
	case object.Modified:
		if !present || was.UID != now.UID {
			return fmt.Errorf("is not what is there: %+v", was.Head)
		}
	case object.Deleted:
		if !present && !f.strays {
			return fmt.Errorf("is not there")
		}
		delete(f.objects, now.Key)
		if present && continues {
			f.dead[was.UID] = true
		}
		return nil
	default:
		return fmt.Errorf("what is that?")
	}
	if len(now.Data) == 0 {
		return fmt.Errorf("has no body")
	}
	f.objects[now.Key] = now
	return nil
}

// show checks a state that is shown to users.
func (f *follower) show(entry object.FeedEntry, continues bool) error {
	if !continues {
		return nil
	}
	before := f.at.Freshness.Streamed
	if before.Newer(entry.Freshness.Streamed) {
		return fmt.Errorf("the position went back from %s to %s", before, entry.Freshness.Streamed)
	}
	for key, was := range f.shown {
		if now, present := f.objects[key]; present && was.Version.Newer(now.Version) {
			return fmt.Errorf("shows %v at %s, was at %s", key, now.Version, was.Version)
		}
	}
	if f.barrier.Newer(entry.Freshness.Streamed) {
		return fmt.Errorf("shown at %s, below the barrier %s", entry.Freshness.Streamed, f.barrier)
	}
	for _, change := range f.since {
		if !change.Object.Version.Newer(before) && !f.barrier.Newer(before) {
			return fmt.Errorf("%v %+v is in the past of %s, and there is no barrier above that (%q)", change.Type, change.Object.Head, before, f.barrier)
		}
	}
	return nil
}
