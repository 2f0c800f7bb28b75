package metrics

import (
	"cmp"
	"slices"
	"strings"
)

// dictionary is what is known of the entities of a stream: of all that are
// remembered, by row and in order. It is never changed.
type dictionary struct {
	tables    [Kinds]dictionaryTable
	hostnames map[string]Row // of nodes whose hostname is not their name
}

type dictionaryTable struct {
	parents []Ref
	names   []string
	images  []string // of Containers
	metas   []*Meta  // of levels
	known   Bitmap

	order []Row // by parent, then by name
	rank  []int32
	first [Kinds][]int32 // by parent's kind and rank: where in order its children begin
}

// with returns the dictionary after the changes of a frame. Rows that nobody described
// are a fault, and would cost memory.
func (d *dictionary) with(changes *dictionaryChanges) (*dictionary, error) {
	for kind, rows := range changes.rows {
		if rows > len(d.tables[kind].names)+len(changes.changes[kind]) {
			return nil, ErrCorrupt
		}
	}
	next := &dictionary{tables: d.tables, hostnames: d.hostnames}
	var moved [Kinds]bool
	for kind := range Kinds {
		t := &next.tables[kind]
		if len(changes.changes[kind]) > 0 {
			moved[kind] = t.change(changes.rows[kind], changes.changes[kind], kind)
		}
		if moved[kind] || t.below(&moved) {
			moved[kind] = true
			t.sort(next)
		}
	}
	if len(changes.changes[Node]) > 0 {
		next.hostnames = next.tables[Node].hosts()
	}
	return next, nil
}

// below says that the order of a kind of parents was made anew.
func (t *dictionaryTable) below(moved *[Kinds]bool) bool {
	for kind, first := range t.first {
		if first != nil && moved[kind] {
			return true
		}
	}
	return false
}

// change applies changes to copies of the slices, and says whether names or parents
// are among them.
func (t *dictionaryTable) change(rows int, changes []entityChange, kind Kind) (moved bool) {
	t.parents, t.names, t.known = longer(t.parents, rows), longer(t.names, rows), longer(t.known, blocksOf(rows))
	if kind == Container {
		t.images = longer(t.images, rows)
	}
	if kind < Levels {
		t.metas = longer(t.metas, rows)
	}
	for i := range changes {
		c := &changes[i]
		e := &c.entity
		moved = moved || c.forgotten == t.known.Has(c.row) || t.parents[c.row] != e.Parent || t.names[c.row] != e.Name
		t.parents[c.row], t.names[c.row] = e.Parent, e.Name
		if kind == Container {
			t.images[c.row] = e.Image
		}
		if kind < Levels {
			t.metas[c.row] = e.Meta
		}
		if c.forgotten {
			t.known[c.row>>6] &^= 1 << (c.row & 63)
		} else {
			t.known[c.row>>6] |= 1 << (c.row & 63)
		}
	}
	return moved
}

// longer returns a copy of s with at least n elements.
func longer[S ~[]E, E any](s S, n int) S {
	to := make(S, max(n, len(s)))
	copy(to, s)
	return to
}

// sort puts the known rows in order: a counting sort by parents, which are in order
// already, then each parent's children by name.
func (t *dictionaryTable) sort(d *dictionary) {
	rows := t.sortable()
	t.first = [Kinds][]int32{}
	for _, row := range rows {
		if p := t.parents[row].Kind; t.first[p] == nil {
			t.first[p] = make([]int32, len(d.parentOrder(p, t))+1)
		}
	}
	place := func(row Row) *int32 {
		parent := t.parents[row]
		rank := d.rankOf(parent, t)
		if rank < 0 {
			return nil // its parent was forgotten: nothing leads to it
		}
		return &t.first[parent.Kind][rank]
	}
	for _, row := range rows {
		if count := place(row); count != nil {
			*count++
		}
	}
	total := int32(0)
	for _, first := range t.first {
		for i := range first {
			total, first[i] = total+first[i], total
		}
	}
	t.order = make([]Row, total)
	for _, row := range rows {
		if at := place(row); at != nil {
			t.order[*at] = row
			*at++
		}
	}
	t.finish()
}

// finish repairs first, which placing has moved on, sorts siblings and ranks all.
func (t *dictionaryTable) finish() {
	begin := int32(0)
	for _, first := range t.first {
		for i, end := range first {
			first[i] = begin
			siblings := t.order[begin:end]
			if len(siblings) > 1 {
				slices.SortFunc(siblings, func(a, b Row) int { return strings.Compare(t.names[a], t.names[b]) })
			}
			begin = end
		}
	}
	t.rank = make([]int32, len(t.names))
	for i := range t.rank {
		t.rank[i] = -1
	}
	for i, row := range t.order {
		t.rank[row] = int32(i)
	}
}

// sortable returns the known rows, those of the last order first: nearly sorted.
func (t *dictionaryTable) sortable() []Row {
	rows := make([]Row, 0, t.known.Count())
	for _, row := range t.order {
		if t.known.Has(row) {
			rows = append(rows, row)
		}
	}
	for block, word := range t.known {
		for row := range rowsOf(word, block*blockRows) {
			if row >= len(t.rank) || t.rank[row] < 0 {
				rows = append(rows, Row(row))
			}
		}
	}
	return rows
}

// parentOrder is the order of the kind of t's parents. The cluster is its own parent.
func (d *dictionary) parentOrder(kind Kind, t *dictionaryTable) []Row {
	if &d.tables[kind] == t {
		return []Row{0}
	}
	return d.tables[kind].order
}

func (d *dictionary) rankOf(ref Ref, t *dictionaryTable) int32 {
	parents := &d.tables[ref.Kind]
	if parents == t {
		return 0
	}
	if int(ref.Row) >= len(parents.rank) {
		return -1
	}
	return parents.rank[ref.Row]
}

func (t *dictionaryTable) hosts() map[string]Row {
	hosts := map[string]Row{}
	for _, row := range t.order {
		if m := t.metas[row]; m != nil && m.Hostname != "" && m.Hostname != t.names[row] {
			hosts[m.Hostname] = row
		}
	}
	return hosts
}

// children returns the rows of kind below parent, by name. They are the dictionary's.
func (d *dictionary) children(kind Kind, parent Ref) []Row {
	t := &d.tables[kind]
	first := t.first[parent.Kind]
	rank := d.rankOf(parent, t)
	if rank < 0 || int(rank)+1 >= len(first) {
		return nil
	}
	return t.order[first[rank]:first[rank+1]]
}

// find returns the row of the entity name below parent.
func (d *dictionary) find(kind Kind, parent Ref, name string) (Row, bool) {
	t := &d.tables[kind]
	rows := d.children(kind, parent)
	i, ok := slices.BinarySearchFunc(rows, name, func(row Row, name string) int { return cmp.Compare(t.names[row], name) })
	if !ok {
		return 0, false
	}
	return rows[i], true
}

// systemNames are the old and new names of system containers.
var systemNames = map[string]string{"runtime": "docker-daemon", "misc": "system", "docker-daemon": "runtime", "system": "misc"}

// resolve returns the entity that key means.
func (d *dictionary) resolve(key Key) (ref Ref, ok bool) {
	at := func(kind Kind, name string) {
		row, found := d.find(kind, ref, name)
		ref, ok = Ref{kind, row}, ok && found
	}
	ok = true
	switch key.Kind {
	case Namespace, Pod, Container:
		at(Namespace, key.Namespace)
		if ok && key.Kind >= Pod {
			at(Pod, key.Pod)
		}
		if ok && key.Kind == Container {
			at(Container, key.Container)
		}
	case Node, SystemContainer:
		row, found := d.node(key.Node)
		ref, ok = Ref{Node, row}, found
		if ok && key.Kind == SystemContainer {
			parent := ref
			if at(SystemContainer, key.Container); !ok && systemNames[key.Container] != "" {
				ref, ok = parent, true
				at(SystemContainer, systemNames[key.Container])
			}
		}
	default:
		ok = key.Kind == Cluster && d.tables[Cluster].known.Has(0)
	}
	return ref, ok
}

// node finds a node by its name, or by its hostname.
func (d *dictionary) node(name string) (Row, bool) {
	if row, ok := d.find(Node, Ref{}, name); ok {
		return row, true
	}
	row, ok := d.hostnames[name]
	return row, ok
}

// key is resolve's inverse.
func (d *dictionary) key(ref Ref) Key {
	t := &d.tables[ref.Kind]
	key := Key{Kind: ref.Kind}
	switch ref.Kind {
	case Namespace:
		key.Namespace = t.names[ref.Row]
	case Node:
		key.Node = t.names[ref.Row]
	case Pod:
		key.Pod, key.Namespace = t.names[ref.Row], d.tables[Namespace].names[t.parents[ref.Row].Row]
	case Container:
		key = d.key(t.parents[ref.Row])
		key.Kind, key.Container = Container, t.names[ref.Row]
	case SystemContainer:
		key.Container, key.Node = t.names[ref.Row], d.tables[Node].names[t.parents[ref.Row].Row]
	default: // the cluster
	}
	return key
}

// meta is what is known of an entity or, if nothing is, of its parent.
func (d *dictionary) meta(ref Ref) *Meta {
	t := &d.tables[ref.Kind]
	if m := t.metas[ref.Row]; m != nil {
		return m
	}
	if parent := t.parents[ref.Row]; ref.Kind == Container || ref.Kind == SystemContainer {
		return d.tables[parent.Kind].metas[parent.Row]
	}
	return nil
}
