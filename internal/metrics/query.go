package metrics

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// MetricNames returns the names of all metrics that key has in any batch that is
// kept, labelled ones too, hidden ones not.
func (v *View) MetricNames(key Key) []string {
	names := map[string]bool{}
	for p := range v.everywhere(key) {
		p.metricNames(p.ref, names)
		for kind := Levels; kind < Kinds; kind++ {
			for _, row := range p.names.children(kind, p.ref) {
				p.metricNames(Ref{kind, row}, names)
			}
		}
	}
	return append([]string{}, slices.Sorted(maps.Keys(names))...)
}

func (s *segment) metricNames(ref Ref, names map[string]bool) {
	for slot, c := range s.head[ref.Kind].columns {
		if c.metric != nil && !c.metric.Hidden() && !names[c.metric.Name] && s.ever(ref.Kind, slot, ref.Row) {
			names[c.metric.Name] = true
		}
	}
}

// everywhere yields where key is remembered: in all shards and segments, the newest
// first.
func (v *View) everywhere(key Key) func(yield func(part) bool) {
	return func(yield func(part) bool) {
		for _, s := range v.shards {
			for _, segment := range s.segments {
				if ref, ok := segment.names.resolve(key); ok && !yield(part{segment, ref}) {
					return
				}
			}
		}
	}
}

// LabelSets returns the label sets with which key has the labelled metric in any batch
// that is kept. Each is sorted by key.
func (v *View) LabelSets(key Key, metric string) [][]Label {
	sets := [][]Label{}
	d, ok := Lookup(Canonical(metric))
	if !ok || !d.Labelled {
		return sets
	}
	kind, _ := Family(d.ID)
	names := map[string]bool{}
	for p := range v.everywhere(key) {
		slot := p.head[kind].find(d)
		if slot < 0 {
			continue
		}
		for _, row := range p.names.children(kind, p.ref) {
			if p.ever(kind, slot, row) {
				names[p.names.tables[kind].names[row]] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		sets = append(sets, SplitLabels(kind, name))
	}
	return sets
}

// Series returns the values of a metric from from to to, both included, ascending.
// A zero from or to is no bound. Labels must be the complete set of a labelled metric,
// in any order, and empty for others and for the sums of one that has Sums. The
// descriptor is nil if nothing has such a metric; partial is how many of the points are
// sums that lack pods. Hidden metrics can be read, too. Old names of metrics (cpu-usage)
// are known.
func (v *View) Series(key Key, metric string, labels []Label, from, to time.Time) (points []Point, d *Descriptor, partial int) {
	if d = v.describe(key.Kind, Canonical(metric)); d == nil || !d.Labelled && len(labels) > 0 {
		return nil, d, 0
	}
	var name string
	if len(labels) > 0 {
		labels = slices.SortedFunc(slices.Values(labels), func(a, b Label) int { return strings.Compare(a.Key, b.Key) })
		name = JoinLabels(labels)
	}
	q := query{key: key, metric: d, name: name, from: from, to: to}
	if key.Kind <= Namespace && name == "" {
		points, partial = v.sum(q)
		return points, d, partial
	}
	for i, s := range v.shards {
		more := s.series(q)
		if i == 0 || len(points) == 0 {
			points = more
		} else if len(more) > 0 {
			points = merge(points, more)
		}
	}
	return points, d, 0
}

// query is what Series is asked for.
type query struct {
	key      Key
	metric   *Descriptor
	name     string // of the family's row; "" of what the set itself has
	from, to time.Time
}

// describe finds the metric of that name, nil if no set of this kind has it.
func (v *View) describe(kind Kind, name string) *Descriptor {
	if d, ok := Lookup(name); ok {
		return d
	}
	for _, s := range v.shards {
		for _, segment := range s.segments {
			for _, c := range segment.head[kind].columns {
				if c.metric != nil && c.metric.Name == name {
					return c.metric
				}
			}
		}
	}
	return nil
}

// series returns the points that one shard has.
func (s *shard) series(q query) (points []Point) {
	for _, segment := range slices.Backward(s.segments) {
		ref, ok := segment.names.resolve(q.key)
		if !ok {
			continue
		}
		if q.name != "" {
			kind, _ := Family(q.metric.ID)
			row, found := segment.names.find(kind, ref, q.name)
			if !found {
				continue
			}
			ref = Ref{kind, row}
		}
		points = segment.series(points, ref, q.metric, q.from, q.to)
	}
	return points
}

// merge merges points by time; a has precedence.
func merge(a, b []Point) []Point {
	all := append(slices.Clone(a), b...)
	slices.SortStableFunc(all, func(a, b Point) int { return a.Time.Compare(b.Time) })
	return slices.CompactFunc(all, func(a, b Point) bool { return a.Time.Equal(b.Time) })
}

// sum adds up what the shards say of a namespace or the cluster. A point is partial if
// a shard lacks its batch, or says that pods are missing.
func (v *View) sum(q query) (points []Point, partial int) {
	missing := q
	missing.metric = Describe(PodsMissing)
	whole := v.whole()
	at := map[time.Time]int{}
	lacking := map[time.Time]bool{}
	for _, s := range v.shards {
		for _, p := range s.series(missing) {
			lacking[p.Time] = lacking[p.Time] || p.Bits > 0
		}
		for _, p := range s.series(q) {
			group := whole[p.Time]
			if group.shards != s.stream.Shards {
				continue
			}
			i, ok := at[p.Time]
			if !ok {
				i = len(points)
				at[p.Time] = i
				points = append(points, p)
				lacking[p.Time] = lacking[p.Time] || group.present < group.shards
				continue
			}
			points[i].Bits = q.metric.add(points[i].Bits, p.Bits, true)
		}
	}
	slices.SortFunc(points, func(a, b Point) int { return a.Time.Compare(b.Time) })
	for _, p := range points {
		if lacking[p.Time] {
			partial++
		}
	}
	return points, partial
}

// division is into how many shards a cluster was divided, and how many of them have
// a batch.
type division struct{ shards, present int }

// whole says for each batch which division of the cluster its sums are of: when the
// number of collectors changes, two overlap for a while. The most complete wins.
func (v *View) whole() map[time.Time]division {
	best := map[time.Time]division{}
	counts := map[time.Time]map[int]int{}
	for _, s := range v.shards {
		for _, segment := range s.segments {
			for _, f := range segment.past {
				if counts[f.at] == nil {
					counts[f.at] = map[int]int{}
				}
				counts[f.at][s.stream.Shards]++
			}
		}
	}
	for at, byShards := range counts {
		for shards, present := range byShards {
			old, ok := best[at]
			if more := present*old.shards - old.present*shards; !ok || more > 0 || more == 0 && shards > old.shards {
				best[at] = division{shards, present}
			}
		}
	}
	return best
}
