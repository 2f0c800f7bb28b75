package mirror

import (
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// draft is the state that a mirror works on. Only the mirror's own goroutine sees
// it; readers get roots, which share its tree until it changes.
type draft struct {
	load      int
	lineage   string
	freshness object.Freshness
	barrier   object.Version
	columns   []object.Column
	last      object.LogID // the feed's last entry that is applied
	hold      bool         // last has left the snapshot between two states
	newest    object.Version
	contents  contents
}

// newDraft begins with what Redis said before the snapshot is read.
func newDraft(state object.SnapshotState, load int) *draft {
	return &draft{
		load: load, lineage: state.Lineage, freshness: state.Freshness, barrier: state.Barrier, columns: state.Columns,
		last: state.Tail, hold: state.Resyncing, newest: reached(state.Freshness), contents: newContents(),
	}
}

// reached is the newest version that a state of this freshness may know of: a
// verification may have been adopted before the stream had reached it.
func reached(f object.Freshness) object.Version { return f.Streamed.Newest(f.Verified) }

func (d *draft) set(o *Object) (before *Object) {
	d.newest = d.newest.Newest(o.Version)
	return d.contents.set(o)
}

func (d *draft) remove(head object.Head) (before *Object) {
	d.newest = d.newest.Newest(head.Version)
	return d.contents.remove(head.Key)
}

// apply takes over one entry of the feed and returns what that changed, in order.
// objects are the new states of its changes, the last ones of deletions, and nil
// where there is none that could be read. whole is false if watchers cannot be told
// of all that changed: they have to read everything again.
//
// While the snapshot is loaded its entries are applied as they come, too: what a
// scan found is never older than the feed was when it began, and nothing is served
// before the feed has passed the end of the scan, so the last change of each key
// decides, whatever the scan had seen of it. That holds even where versions cannot
// be compared because a new lineage began.
func (d *draft) apply(entry object.FeedEntry, objects []*Object) (events []Event, whole bool) {
	whole = entry.Barrier == "" && entry.Lineage == d.lineage
	if entry.Lineage != d.lineage {
		d.lineage, d.newest, d.barrier = entry.Lineage, "", ""
	}
	events = make([]Event, 0, len(entry.Changes))
	for i, change := range entry.Changes {
		o := objects[i]
		whole = whole && o != nil
		switch {
		case o == nil:
			d.remove(change.Object.Head)
		case change.Type == object.Deleted:
			if before := d.remove(change.Object.Head); before != nil {
				events = append(events, Event{Type: object.Deleted, Version: o.Version, Object: o, Before: before})
			}
		default:
			event := Event{Type: object.Modified, Version: o.Version, Object: o, Before: d.set(o)}
			if event.Before == nil {
				event.Type = object.Added
			}
			events = append(events, event)
		}
	}
	if entry.Columns != nil {
		d.columns = entry.Columns
	}
	d.freshness = entry.Freshness
	d.newest = d.newest.Newest(reached(entry.Freshness))
	d.barrier = d.barrier.Newest(entry.Barrier)
	d.last, d.hold = entry.ID, entry.Hold
	return events, whole
}

// root returns the draft's present state; the draft may go on changing.
func (d *draft) root(r object.Resource) *Root {
	return &Root{
		Resource: r, Freshness: d.freshness, Lineage: d.lineage, ID: d.last, Load: d.load, Barrier: d.barrier,
		Columns: d.columns, Bytes: d.contents.bytes, contents: d.contents.copy(), copying: new(sync.Mutex),
	}
}

// reaches says whether readers who have seen a state that knew of the version may
// be given the draft's: no key goes back in time. "" was never seen.
func (d *draft) reaches(seen object.Version) bool { return !seen.Newer(d.freshness.Streamed) }

// compareID orders IDs of a feed; "" is before the first.
func compareID(a, b object.LogID) int {
	aTenure, aN := splitID(a)
	bTenure, bN := splitID(b)
	switch {
	case aTenure != bTenure && aTenure < bTenure, aTenure == bTenure && aN < bN:
		return -1
	case aTenure == bTenure && aN == bN:
		return 0
	}
	return 1
}

func splitID(id object.LogID) (tenure, n uint64) {
	before, after, _ := strings.Cut(string(id), "-")
	tenure, _ = strconv.ParseUint(before, 10, 64)
	n, _ = strconv.ParseUint(after, 10, 64)
	return tenure, n
}

// beforeID is the ID just below id: reading after it yields id's own entry first.
func beforeID(id object.LogID) object.LogID {
	tenure, n := splitID(id)
	switch {
	case n > 0:
		n--
	case tenure > 0:
		tenure, n = tenure-1, math.MaxUint64
	default:
		return ""
	}
	return object.LogID(strconv.FormatUint(tenure, 10) + "-" + strconv.FormatUint(n, 10))
}
