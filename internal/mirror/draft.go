package mirror

import (
	"math"
	"strconv"
	"strings"

	"github.com/tidwall/btree"

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
	bytes     int64
	tree      *btree.BTreeG[*Object]
}

// newDraft begins with what Redis said before the snapshot is read.
func newDraft(state object.SnapshotState, load int) *draft {
	return &draft{
		load: load, lineage: state.Lineage, freshness: state.Freshness, barrier: state.Barrier, columns: state.Columns,
		last: state.Tail, hold: state.Resyncing, newest: reached(state.Freshness), tree: newTree(),
	}
}

// reached is the newest version that a state of this freshness may know of: a
// verification may have been adopted before the stream had reached it.
func reached(f object.Freshness) object.Version { return f.Streamed.Newest(f.Verified) }

func (d *draft) set(o *Object) {
	if before, replaced := d.tree.Set(o); replaced {
		d.bytes -= before.size()
	}
	d.bytes += o.size()
	d.newest = d.newest.Newest(o.Version)
}

func (d *draft) remove(head object.Head) {
	if before, found := d.tree.Delete(&Object{path: head.Key.String()}); found {
		d.bytes -= before.size()
	}
	d.newest = d.newest.Newest(head.Version)
}

// apply takes over one entry of the feed. objects are the new states of its
// changes, nil for deletions.
//
// While the snapshot is loaded its entries are applied as they come, too: what a
// scan found is never older than the feed was when it began, and nothing is served
// before the feed has passed the end of the scan, so the last change of each key
// decides, whatever the scan had seen of it. That holds even where versions cannot
// be compared because a new lineage began.
func (d *draft) apply(entry object.FeedEntry, objects []*Object) {
	if entry.Lineage != d.lineage {
		d.lineage, d.newest, d.barrier = entry.Lineage, "", ""
	}
	for i, change := range entry.Changes {
		if objects[i] == nil {
			d.remove(change.Object.Head)
		} else {
			d.set(objects[i])
		}
	}
	if entry.Columns != nil {
		d.columns = entry.Columns
	}
	d.freshness = entry.Freshness
	d.newest = d.newest.Newest(reached(entry.Freshness))
	d.barrier = d.barrier.Newest(entry.Barrier)
	d.last, d.hold = entry.ID, entry.Hold
}

// root returns the draft's present state; the draft may go on changing.
func (d *draft) root(r object.Resource) *Root {
	return &Root{
		Resource: r, Freshness: d.freshness, Lineage: d.lineage, ID: d.last, Load: d.load, Barrier: d.barrier,
		Columns: d.columns, Bytes: d.bytes, tree: d.tree.Copy(),
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
