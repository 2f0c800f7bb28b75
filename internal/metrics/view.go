package metrics

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// View is what a model had of one cluster at one moment. It never changes: keep it as
// long as one answer needs. What its methods return is the caller's, the strings and
// Metas in it are shared. Lists are sorted by bytes and never nil.
//
// Lookups take a node's hostname for its name, and both the old and the new names
// of system containers (docker-daemon is runtime, system is misc).
//
// Of a cluster in shards a view is their union: a pod that moved is the newest's, and
// what namespaces and the cluster have is the sum. Lists and newest values leave out a
// shard that is more than three windows behind.
type View struct {
	cluster string
	shards  []*shard // the newest first
	current []*shard // those that are not far behind
}

// behind is how many windows a shard may be late and still be in lists.
const behind = 3

func newView(cluster string, shards []*shard) *View {
	slices.SortFunc(shards, newest)
	v := &View{cluster: cluster, shards: shards}
	oldest := v.Time().Add(-behind * v.Resolution())
	for _, s := range shards {
		if !s.head().at.Before(oldest) {
			v.current = append(v.current, s)
		}
	}
	return v
}

// Info is what is known of a metric set.
type Info struct {
	Key   Key       // by its true names, whatever alias was asked for
	Meta  *Meta     // nil if nothing is known; a container has its pod's, a system container its node's
	Image string    // of a Container
	Start time.Time // when collection of it started, UTC; zero if not known
}

// Point is a value of a series.
type Point struct {
	Time time.Time // its batch's, UTC
	Bits int64     // an integer, or the bits of a float as the metric says
}

// BatchInfo is what is known of a batch that is kept. Of a cluster in shards it is
// the sum of them.
type BatchInfo struct {
	Time          time.Time
	Nodes, Failed int // how many nodes it tried, and how many of these did not answer
}

// Cluster is the name of the cluster.
func (v *View) Cluster() string { return v.cluster }

// Time is the newest batch's.
func (v *View) Time() time.Time { return v.shards[0].head().at }

// Resolution is the newest batch's.
func (v *View) Resolution() time.Duration { return v.shards[0].head().resolution }

// ScrapedAt is when scraping of the newest batch began.
func (v *View) ScrapedAt() time.Time { return v.shards[0].head().scrapedAt }

// Batches returns what is kept, ascending by time.
func (v *View) Batches() []BatchInfo {
	all := map[time.Time]BatchInfo{}
	for _, shard := range v.shards {
		for _, segment := range shard.segments {
			for _, f := range segment.past {
				info := all[f.at]
				all[f.at] = BatchInfo{f.at, info.Nodes + f.nodes, info.Failed + f.failed}
			}
		}
	}
	batches := slices.SortedFunc(maps.Values(all), func(a, b BatchInfo) int { return a.Time.Compare(b.Time) })
	if batches == nil {
		return []BatchInfo{}
	}
	return batches
}

// Nodes returns how the newest collection of every node went, by name.
func (v *View) Nodes() []NodeStatus {
	nodes := []NodeStatus{}
	for _, s := range v.current {
		nodes = append(nodes, s.head().nodes...)
	}
	slices.SortStableFunc(nodes, func(a, b NodeStatus) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(nodes, func(a, b NodeStatus) bool { return a.Name == b.Name })
}

// Complete says that the newest sums lack nothing: all shards are there with the same
// window, and no pod's node failed to answer.
func (v *View) Complete() bool {
	first := v.shards[0]
	together := 0
	for _, s := range v.shards {
		if s.stream.Shards == first.stream.Shards && s.head().at.Equal(v.Time()) {
			together++
		}
	}
	missing, _ := v.Newest(Key{}, PodsMissing)
	return together == first.stream.Shards && missing == 0
}

// names returns the sorted names of what is live below parent in the current shards.
func (v *View) names(kind Kind, parent Key) []string {
	names := []string{}
	for _, s := range v.current {
		head := s.head()
		ref, ok := head.names.resolve(parent)
		if !ok {
			continue
		}
		rows := head.names.children(kind, ref)
		names = slices.Grow(names, len(rows))
		for row := range head.head[kind].liveRows(rows) {
			names = append(names, head.names.tables[kind].names[row])
		}
	}
	if len(v.current) > 1 {
		slices.Sort(names)
		names = slices.Compact(names)
	}
	return names
}

// NodeNames returns the nodes in the newest batch.
func (v *View) NodeNames() []string { return v.names(Node, Key{}) }

// Namespaces returns the namespaces in the newest batch.
func (v *View) Namespaces() []string { return v.names(Namespace, Key{}) }

// Pods returns the namespace's pods in the newest batch.
func (v *View) Pods(namespace string) []string {
	return v.names(Pod, Key{Kind: Namespace, Namespace: namespace})
}

// Containers returns the pod's containers in the newest batch.
func (v *View) Containers(namespace, pod string) []string {
	return v.names(Container, Key{Kind: Pod, Namespace: namespace, Pod: pod})
}

// SystemContainers returns the node's system containers in the newest batch.
func (v *View) SystemContainers(node string) []string {
	return v.names(SystemContainer, Key{Kind: Node, Node: node})
}

// Keys returns the keys of all sets of the newest batch.
func (v *View) Keys() []string {
	keys := make([]string, 0, 1024)
	v.each(func(parts []part) bool {
		keys = append(keys, parts[0].names.key(parts[0].ref).String())
		return true
	})
	if !slices.IsSorted(keys) { // "a/pod" comes after "a-b", but a before a-b
		slices.Sort(keys)
	}
	return keys
}

// part is an entity in one shard.
type part struct {
	*segment
	ref Ref
}

// alive returns where key is in the newest batch: one place, the newest, or several of
// what is summed.
func (v *View) alive(key Key) (parts []part) {
	for _, s := range v.current {
		head := s.head()
		ref, ok := head.names.resolve(key)
		if !ok || !head.head[ref.Kind].live().Has(ref.Row) {
			continue
		}
		if parts = append(parts, part{head, ref}); key.Kind > Namespace {
			break
		}
	}
	return parts
}

// Alive says whether key is in the newest batch.
func (v *View) Alive(key Key) bool { return len(v.alive(key)) > 0 }

// Entity returns what is known of key, which may have gone from the newest batch but
// not yet from those that are kept.
func (v *View) Entity(key Key) (Info, bool) {
	if parts := v.alive(key); len(parts) > 0 {
		return parts[0].info(), true
	}
	for _, s := range v.shards {
		for _, segment := range s.segments {
			if ref, ok := segment.names.resolve(key); ok && segment.remembers(ref) {
				return part{segment, ref}.info(), true
			}
		}
	}
	return Info{}, false
}

// remembers says whether an entity is in any batch that is kept.
func (s *segment) remembers(ref Ref) bool {
	return len(s.head[ref.Kind].columns) > 0 && s.ever(ref.Kind, 0, ref.Row)
}

func (p part) info() Info {
	info := Info{Key: p.names.key(p.ref), Meta: p.names.meta(p.ref)}
	if p.ref.Kind == Container {
		info.Image = p.names.tables[Container].images[p.ref.Row]
	}
	if ns, ok := p.head[p.ref.Kind].column(Describe(StartTime)).get(p.ref.Row); ok {
		info.Start = time.Unix(0, ns).UTC()
	}
	return info
}

// Newest returns the value of an unlabelled metric of the catalog in the newest
// batch.
func (v *View) Newest(key Key, id ID) (bits int64, ok bool) {
	d := Describe(id)
	for _, p := range v.alive(key) {
		if value, has := p.head[p.ref.Kind].column(d).get(p.ref.Row); has {
			bits, ok = d.add(bits, value, ok), true
		}
	}
	return bits, ok
}

// add sums two values of the metric; the first counts only if there is one.
func (d *Descriptor) add(a, b int64, ok bool) int64 {
	switch {
	case !ok:
		return b
	case d.Float:
		return FloatBits(BitsFloat(a) + BitsFloat(b))
	default:
		return a + b
	}
}
