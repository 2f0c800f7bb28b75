package metrics

import (
	"encoding/binary"
	"slices"
)

// The dictionary of a frame says which entities came, changed and were forgotten since
// the batch before. It is self-contained: strings and Metas are written once per frame.
//
//	strings   number; lengths; bytes. String 0 is ""
//	metas     number; of each its strings, and its labels as pairs of strings
//	tables    of each kind: rows of the table; number of changed ones (all that are new
//	          are among them); of all of these their rows, then their parents' kinds + 1
//	          (0: forgotten), parents' rows, names, images, and Metas + 1 (0: none)
//
// But for the kinds each number is the difference from the one before: a full frame's
// then repeat themselves, and are compressed to nearly nothing.
type dictionaryWriter struct {
	strings map[string]int
	list    []string
	metas   map[*Meta]int
	metaOut []byte
	out     []byte
}

func appendDictionary(dst []byte, b *Batch, old *base) []byte {
	w := &dictionaryWriter{strings: map[string]int{"": 0}, list: []string{""}, metas: map[*Meta]int{}}
	for kind := range Kinds {
		var before []Entity
		if old != nil {
			before = old.tables[kind].entities
		}
		w.table(b.Tables[kind].Entities, before, kind)
	}
	dst = binary.AppendUvarint(dst, uint64(len(w.list)-1))
	for _, s := range w.list[1:] {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
	}
	for _, s := range w.list[1:] {
		dst = append(dst, s...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(w.metas)))
	dst = append(dst, w.metaOut...)
	return append(dst, w.out...)
}

func (w *dictionaryWriter) table(now, before []Entity, kind Kind) {
	w.out = binary.AppendUvarint(w.out, uint64(len(now)))
	var rows []Row
	for row := range now {
		if row >= len(before) || !sameEntity(&now[row], &before[row]) {
			rows = append(rows, Row(row))
		}
	}
	w.out = binary.AppendUvarint(w.out, uint64(len(rows)))
	w.numbers(rows, func(row Row) int { return int(row) })
	for _, row := range rows {
		code := 1 + byte(now[row].Parent.Kind)
		if now[row].Name == "" && kind != Cluster {
			code = 0
		}
		w.out = append(w.out, code)
	}
	w.numbers(rows, func(row Row) int { return int(now[row].Parent.Row) })
	w.numbers(rows, func(row Row) int { return w.string(now[row].Name) })
	w.numbers(rows, func(row Row) int { return w.string(now[row].Image) })
	w.numbers(rows, func(row Row) int { return w.meta(now[row].Meta) })
}

// numbers writes a number of each row, as the difference from the row before.
func (w *dictionaryWriter) numbers(rows []Row, number func(Row) int) {
	last := 0
	for _, row := range rows {
		n := number(row)
		w.out = binary.AppendVarint(w.out, int64(n-last))
		last = n
	}
}

func (w *dictionaryWriter) string(s string) int {
	id, ok := w.strings[s]
	if !ok {
		id = len(w.list)
		w.strings[s] = id
		w.list = append(w.list, s)
	}
	return id
}

// meta returns 1 + the number of m, 0 for nil.
func (w *dictionaryWriter) meta(m *Meta) int {
	if m == nil {
		return 0
	}
	id, ok := w.metas[m]
	if !ok {
		id = len(w.metas) + 1
		w.metas[m] = id
		for _, s := range [...]string{m.UID, m.NamespaceID, m.Node, m.Hostname, m.HostID, m.Joined} {
			w.metaOut = binary.AppendUvarint(w.metaOut, uint64(w.string(s)))
		}
		for _, labels := range [...][]Label{m.Labels, m.Stored} {
			w.metaOut = binary.AppendUvarint(w.metaOut, uint64(len(labels)))
			for _, label := range labels {
				w.metaOut = binary.AppendUvarint(w.metaOut, uint64(w.string(label.Key)))
				w.metaOut = binary.AppendUvarint(w.metaOut, uint64(w.string(label.Value)))
			}
		}
	}
	return id
}

func sameEntity(a, b *Entity) bool {
	return a.Parent == b.Parent && a.Name == b.Name && a.Image == b.Image && (a.Meta == b.Meta || sameMeta(a.Meta, b.Meta))
}

func sameMeta(a, b *Meta) bool {
	return a != nil && b != nil && a.UID == b.UID && a.NamespaceID == b.NamespaceID && a.Node == b.Node &&
		a.Hostname == b.Hostname && a.HostID == b.HostID && a.Joined == b.Joined &&
		slices.Equal(a.Labels, b.Labels) && slices.Equal(a.Stored, b.Stored)
}

// dictionaryChanges is what a frame's dictionary says.
type dictionaryChanges struct {
	rows    [Kinds]int
	changes [Kinds][]entityChange
}

type entityChange struct {
	row       Row
	forgotten bool
	entity    Entity
}

// minMeta and minChange are the fewest bytes that a Meta and a change take.
const (
	minMeta   = 8
	minChange = 6
)

// readDictionary reads a dictionary whose strings share one copy of the frame's.
func readDictionary(r *reader) (all dictionaryChanges) {
	list := readStrings(r)
	metas := make([]Meta, r.count(minMeta))
	for i := range metas {
		readMeta(r, list, &metas[i])
	}
	for kind := range Kinds {
		all.rows[kind] = r.int()
		all.changes[kind] = readChanges(r, list, metas, &all, kind)
	}
	if r.bad {
		return dictionaryChanges{}
	}
	return all
}

// readChanges reads the changes of a table; rows are ascending, and parents of a kind
// before their own.
func readChanges(r *reader, list []string, metas []Meta, all *dictionaryChanges, kind Kind) []entityChange {
	changes := make([]entityChange, r.count(minChange))
	last := -1
	r.numbers(len(changes), all.rows[kind], func(i, row int) {
		changes[i].row = Row(row)
		if row <= last {
			r.fail()
		}
		last = row
	})
	for i := range changes {
		code := r.byte()
		changes[i].forgotten = code == 0
		if code > 0 {
			changes[i].entity.Parent.Kind = Kind(code - 1)
		}
	}
	r.numbers(len(changes), 1<<31-1, func(i, row int) { changes[i].entity.Parent.Row = Row(row) })
	r.numbers(len(changes), len(list), func(i, id int) { changes[i].entity.Name = list[id] })
	r.numbers(len(changes), len(list), func(i, id int) { changes[i].entity.Image = list[id] })
	r.numbers(len(changes), len(metas)+1, func(i, id int) {
		if id > 0 {
			changes[i].entity.Meta = &metas[id-1]
		}
	})
	for i := range changes {
		if !all.allows(changes[i].entity.Parent, kind) {
			r.fail()
		}
	}
	return changes
}

// allows says whether parent can be the parent of something of a kind.
func (d *dictionaryChanges) allows(parent Ref, kind Kind) bool {
	if parent.Kind >= kind {
		return parent == Ref{}
	}
	return int(parent.Row) < d.rows[parent.Kind]
}

// numbers reads what dictionaryWriter.numbers writes; each is 0 or more, and below
// limit.
func (r *reader) numbers(n, limit int, yield func(i, number int)) {
	number := int64(0)
	for i := range n {
		number += r.varint()
		if r.bad || number < 0 || number >= int64(limit) {
			r.fail()
			return
		}
		yield(i, int(number))
	}
}

func readStrings(r *reader) []string {
	list := make([]string, 1+r.count(1))
	lengths := make([]int, len(list))
	total := 0
	for i := 1; i < len(list); i++ {
		lengths[i] = r.int()
		total += lengths[i]
	}
	joined := string(r.bytes(total))
	if r.bad {
		return []string{""}
	}
	for i := range list {
		list[i], joined = joined[:lengths[i]], joined[lengths[i]:]
	}
	return list
}

func readMeta(r *reader, list []string, m *Meta) {
	for _, to := range [...]*string{&m.UID, &m.NamespaceID, &m.Node, &m.Hostname, &m.HostID, &m.Joined} {
		*to = stringAt(r, list)
	}
	for _, to := range [...]*[]Label{&m.Labels, &m.Stored} {
		n := r.count(2)
		if n == 0 {
			continue
		}
		*to = make([]Label, n)
		for i := range *to {
			(*to)[i] = Label{Key: stringAt(r, list), Value: stringAt(r, list)}
		}
	}
}

func stringAt(r *reader, list []string) string {
	id := r.int()
	if id >= len(list) {
		r.fail()
		return ""
	}
	return list[id]
}
