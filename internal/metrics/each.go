package metrics

import (
	"slices"
	"strings"
	"time"
)

// Each yields the sets of the newest batch: the cluster; each namespace and in it each
// pod followed by its containers; each node followed by its system containers; by
// name.
func (v *View) Each(yield func(Set) bool) {
	v.each(func(parts []part) bool { return yield(newSet(parts)) })
}

// each yields where each set is, in the order of Each.
func (v *View) each(yield func([]part) bool) {
	if parts := v.alive(Key{}); len(parts) > 0 && !yield(parts) {
		return
	}
	for namespace := range v.below(Namespace, v.roots()) {
		if !yield(namespace) {
			return
		}
		for pod := range v.below(Pod, namespace) {
			if !v.family(pod[:1], Container, yield) {
				return
			}
		}
	}
	for node := range v.below(Node, v.roots()) {
		if !v.family(node[:1], SystemContainer, yield) {
			return
		}
	}
}

// family yields a set and those of a kind below it.
func (v *View) family(parent []part, kind Kind, yield func([]part) bool) bool {
	if !yield(parent) {
		return false
	}
	for child := range v.below(kind, parent) {
		if !yield(child) {
			return false
		}
	}
	return true
}

// roots are the clusters of the shards.
func (v *View) roots() (parts []part) {
	for _, s := range v.current {
		parts = append(parts, part{s.head(), Ref{}})
	}
	return parts
}

// below yields what is live below parents, by name: of each name the places where it
// is. They are good until the next is asked for.
func (v *View) below(kind Kind, parents []part) func(yield func([]part) bool) {
	return func(yield func([]part) bool) {
		if len(parents) == 1 {
			parent := parents[0]
			var one [1]part
			for row := range parent.head[kind].liveRows(parent.names.children(kind, parent.ref)) {
				one[0] = part{parent.segment, Ref{kind, row}}
				if !yield(one[:]) {
					return
				}
			}
			return
		}
		var all []part
		for _, parent := range parents {
			for row := range parent.head[kind].liveRows(parent.names.children(kind, parent.ref)) {
				all = append(all, part{parent.segment, Ref{kind, row}})
			}
		}
		slices.SortStableFunc(all, func(a, b part) int { return strings.Compare(a.name(), b.name()) })
		for len(all) > 0 {
			n := 1
			for n < len(all) && all[n].name() == all[0].name() {
				n++
			}
			if !yield(all[:n]) {
				return
			}
			all = all[n:]
		}
	}
}

func (p part) name() string { return p.names.tables[p.ref.Kind].names[p.ref.Row] }

// Set is one metric set of the newest batch.
type Set struct {
	Info
	first part
	more  []part // of what is summed over shards
}

func newSet(parts []part) Set {
	set := Set{Info: parts[0].info(), first: parts[0]}
	if len(parts) > 1 {
		set.more = slices.Clone(parts[1:])
	}
	return set
}

// Values yields the set's values, those of labelled metrics last, hidden ones never.
// Start is when collection started for what is cumulative, else zero. Labels are
// shared: do not write to them.
func (s Set) Values(yield func(d *Descriptor, labels []Label, bits int64, start time.Time) bool) {
	if len(s.more) > 0 {
		s.sums(yield)
		return
	}
	if !s.values(s.first.ref, nil, yield) {
		return
	}
	for kind := Levels; kind < Kinds; kind++ {
		rows := s.first.names.children(kind, s.first.ref)
		for row := range s.first.head[kind].liveRows(rows) {
			labels := SplitLabels(kind, s.first.names.tables[kind].names[row])
			if !s.values(Ref{kind, row}, labels, yield) {
				return
			}
		}
	}
}

func (s Set) values(ref Ref, labels []Label, yield func(*Descriptor, []Label, int64, time.Time) bool) bool {
	columns := s.first.head[ref.Kind].columns
	for i := range columns {
		c := &columns[i]
		if c.metric == nil || c.metric.Hidden() {
			continue
		}
		if bits, ok := c.get(ref.Row); ok && !yield(c.metric, labels, bits, s.since(c.metric)) {
			return false
		}
	}
	return true
}

// since is when collection of a cumulative metric started.
func (s Set) since(d *Descriptor) time.Time {
	if d.Type == Cumulative {
		return s.Start
	}
	return time.Time{}
}

// sums yields the values of a namespace or the cluster over several shards.
func (s Set) sums(yield func(*Descriptor, []Label, int64, time.Time) bool) {
	type total struct {
		d    *Descriptor
		bits int64
	}
	var totals []total
	for _, p := range append([]part{s.first}, s.more...) {
		for _, c := range p.head[p.ref.Kind].columns {
			bits, ok := c.get(p.ref.Row)
			if !ok || c.metric == nil || c.metric.Hidden() {
				continue
			}
			i := slices.IndexFunc(totals, func(t total) bool { return t.d.Name == c.metric.Name })
			if i < 0 {
				totals = append(totals, total{c.metric, bits})
				continue
			}
			totals[i].bits = c.metric.add(totals[i].bits, bits, true)
		}
	}
	for _, t := range totals {
		if !yield(t.d, nil, t.bits, s.since(t.d)) {
			return
		}
	}
}
