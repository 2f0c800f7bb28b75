package aggregator

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// apiserver is a model of one: a history of a few keys.
type apiserver struct {
	cluster string
	rev     int
	schema  int
	live    map[object.Key]object.Head
	events  []object.Head // in order; a deletion is a tombstone
	moments []moment      // by time, to be restored
	uids    int
}

type moment struct {
	rev  int
	live map[object.Key]object.Head
}

func newAPIServer() *apiserver {
	return &apiserver{cluster: "one", rev: 10, live: map[object.Key]object.Head{}}
}

func (a *apiserver) version() object.Version { return versionOf(a.rev) }

func versionOf(rev int) object.Version {
	if rev <= 0 {
		return ""
	}
	return object.Version(strconv.Itoa(rev))
}

func revOf(v object.Version) int {
	rev, _ := strconv.Atoi(string(v))
	return rev
}

// write changes one key.
func (a *apiserver) write(key object.Key, remove bool) {
	a.moments = append(a.moments, moment{a.rev, maps.Clone(a.live)})
	a.rev++
	head, exists := a.live[key]
	switch {
	case !exists:
		a.uids++
		head = object.Head{Key: key, UID: fmt.Sprintf("%s-%d", a.cluster, a.uids)}
	case remove:
		head.Deleted = true
	}
	head.Version = a.version()
	if a.live[key] = head; head.Deleted {
		delete(a.live, key)
	}
	a.events = append(a.events, head)
}

// restore makes etcd an earlier one. What was written since is gone.
func (a *apiserver) restore(m moment) {
	a.rev, a.live = m.rev, maps.Clone(m.live)
	a.moments = slices.DeleteFunc(a.moments, func(other moment) bool { return other.rev >= m.rev })
	a.events = slices.DeleteFunc(a.events, func(e object.Head) bool { return revOf(e.Version) > m.rev })
}

// replace makes the cluster another one.
func (a *apiserver) replace() {
	a.cluster += "'"
	*a = apiserver{cluster: a.cluster, rev: 5, uids: a.uids, schema: a.schema, live: map[object.Key]object.Head{}}
}

// pack is how the object comes through the log: its body depends on the schema.
func (a *apiserver) pack(head object.Head) object.Packed {
	return object.Packed{Head: head, Data: fmt.Appendf(nil, "%s@%s#%d", head.UID, head.Version, a.schema)}
}

// list returns a statement about now, and the bodies that belong to it.
func (a *apiserver) list(id string, log object.LogState, full bool) statement {
	s := statement{
		listed: object.Listed{
			ID: id, Version: a.version(), At: time.Unix(int64(a.rev), 0).UTC(), After: log.Position,
			Lineage: log.Resync.Lineage, ClusterUID: a.cluster, Full: full,
		},
		bodies: map[object.Key]object.Packed{},
	}
	for _, head := range a.live {
		p := a.pack(head)
		item := itemOf(p)
		if !full {
			item.Hash = 0
		}
		s.bodies[p.Key] = p
		s.listed.Items = append(s.listed.Items, item)
	}
	slices.SortFunc(s.listed.Items, func(a, b object.ListedItem) int { return a.Key.Compare(b.Key) })
	return s
}

type statement struct {
	listed object.Listed
	bodies map[object.Key]object.Packed
	audit  *Audit
	of     *tenure // whose audit that is
}

// streamer is a model of one, with its faults.
type streamer struct {
	api       *apiserver
	redis     *redis
	lineage   string
	lineages  int
	schema    int           // of the last resync that ended
	rewriting bool          // the last resync that began rewrites
	pending   []object.Head // events not yet delivered
	seen      int           // of api.events, those that are in pending or were
	delivered []object.Head // of the lineage; of those, the resync that runs delivered
	own       int           // the last so many
	resync    *relist       // that runs
	mustList  bool          // the next thing is a resync
}

type relist struct {
	rev     int
	initial []object.Head
}

// newLineage gives up the history so far.
func (s *streamer) newLineage() {
	s.lineages++
	s.lineage, s.mustList, s.resync = fmt.Sprintf("L%d", s.lineages), true, nil
	s.pending, s.delivered, s.seen = nil, nil, len(s.api.events)
	s.rewriting, s.schema = false, s.api.schema
}

// watch notes what happened at the API server.
func (s *streamer) watch() {
	s.pending = append(s.pending, s.api.events[s.seen:]...)
	s.seen = len(s.api.events)
}

// begin begins a resync: a new connection.
func (s *streamer) begin(expect int64) {
	s.rewriting = s.rewriting || s.schema != s.api.schema
	s.resync, s.mustList = &relist{rev: s.api.rev}, false
	for _, key := range inOrder(s.api.live) {
		s.resync.initial = append(s.resync.initial, s.api.live[key])
	}
	s.pending, s.own, s.seen = nil, 0, len(s.api.events)
	s.redis.append(object.LogItem{Kind: object.ItemResyncBegin, Resync: object.Resync{
		Lineage: s.lineage, ClusterUID: s.api.cluster, Schema: strconv.Itoa(s.api.schema), Rewrite: s.rewriting, Expect: expect,
	}})
}

// end delivers what a list at rev owes, and ends it.
func (s *streamer) end(rt *rapid.T, rev int) {
	owed := slices.Clone(s.resync.initial)
	var later []object.Head
	for _, e := range s.pending {
		if revOf(e.Version) <= rev {
			owed = append(owed, e)
		} else {
			later = append(later, e)
		}
	}
	items := s.records(shuffled(rt, owed))
	s.pending, s.resync = later, nil
	s.schema, s.rewriting = s.api.schema, false
	s.redis.append(append(items, object.LogItem{Kind: object.ItemResyncEnd, Version: versionOf(rev), At: time.Unix(int64(rev), 0).UTC()})...)
}

func (s *streamer) records(heads []object.Head) []object.LogItem {
	var items []object.LogItem
	for _, head := range heads {
		items = append(items, object.LogItem{Kind: object.ItemRecord, Packed: s.api.pack(head)})
		s.delivered = append(s.delivered, head)
		s.own++
	}
	return items
}

// repeatable is what may come again: in a resync, only what belongs to it.
func (s *streamer) repeatable() []object.Head {
	if s.resync != nil {
		return s.delivered[len(s.delivered)-s.own:]
	}
	return s.delivered
}

// deliver appends some of what is to be delivered, in any order, and some of it again.
func (s *streamer) deliver(rt *rapid.T) {
	var now []object.Head
	s.pending, now = some(rt, s.pending, now)
	if s.resync != nil {
		s.resync.initial, now = some(rt, s.resync.initial, now)
	}
	if before := s.repeatable(); len(before) > 0 {
		for range rapid.IntRange(0, 3).Draw(rt, "again") {
			now = append(now, rapid.SampledFrom(before).Draw(rt, "repeated"))
		}
	}
	items := s.records(shuffled(rt, now))
	if s.resync == nil && rapid.Bool().Draw(rt, "mark") {
		items = append(items, s.mark())
	}
	if len(items) > 0 {
		s.redis.append(items...)
	}
}

// mark says how far everything was delivered.
func (s *streamer) mark() object.LogItem {
	rev := s.api.rev
	for _, e := range s.pending {
		rev = min(rev, revOf(e.Version)-1)
	}
	return object.LogItem{Kind: object.ItemPosition, Version: versionOf(rev), At: time.Unix(int64(rev), 0).UTC()}
}

// lose forgets what has come over the wire.
func (s *streamer) lose(rt *rapid.T) {
	if s.resync == nil {
		s.pending, _ = some(rt, s.pending, nil)
	}
}

// resume goes on from what the log says, after Redis lost writes.
func (s *streamer) resume() {
	log := s.redis.look().logState
	if log.Resync.Lineage != s.lineage {
		s.newLineage()
		return
	}
	s.rewriting = log.Resyncing && log.Resync.Rewrite
	if !log.Resyncing {
		s.schema, _ = strconv.Atoi(log.Resync.Schema)
	}
	s.resync, s.mustList = nil, log.Resyncing || log.Position == ""
	s.pending, s.seen = nil, len(s.api.events)
	s.delivered, s.own = slices.DeleteFunc(s.delivered, func(e object.Head) bool { return e.Version.Newer(log.Position) }), 0
	for _, e := range s.api.events {
		if e.Version.Newer(log.Position) {
			s.pending = append(s.pending, e)
		}
	}
}

// some moves some of from to to.
func some(rt *rapid.T, from, to []object.Head) (rest, taken []object.Head) {
	for _, head := range from {
		if rapid.Bool().Draw(rt, "taken") {
			to = append(to, head)
		} else {
			rest = append(rest, head)
		}
	}
	return rest, to
}

func shuffled(rt *rapid.T, heads []object.Head) []object.Head {
	slices.SortFunc(heads, func(a, b object.Head) int { return a.Version.Compare(b.Version) })
	if len(heads) < 2 {
		return heads
	}
	return rapid.Permutation(heads).Draw(rt, "order")
}
