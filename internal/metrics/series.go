package metrics

import (
	"slices"
	"sort"
	"time"
)

// cell is a row's value of a column after a batch: also where it is absent, its last.
type cell struct {
	bits int64
	has  bool
}

// within returns which of the kept frames are from from to to, both included; zero
// times are no bounds.
func (s *segment) within(from, to time.Time) (first, end int) {
	end = len(s.past)
	if !from.IsZero() {
		first = sort.Search(end, func(i int) bool { return !s.past[i].at.Before(from) })
	}
	if !to.IsZero() {
		end = sort.Search(end, func(i int) bool { return s.past[i].at.After(to) })
	}
	return first, max(first, end)
}

// walk goes back from the newest batch and returns a row's cells of a column that is
// no rate: the one before frame first, then those of the frames from first on.
func (s *segment) walk(kind Kind, slot int, row Row, first int, cells []cell) []cell {
	cells = slices.Grow(cells[:0], len(s.past)-first+1)[:len(s.past)-first+1]
	c := &s.head[kind].columns[slot]
	n, bit := int(row>>6), uint(row&63)
	present, value := c.has.word(n), valueAt(c.values, int(row))
	for i := len(s.past) - 1; i >= first; i-- {
		cells[i-first+1] = cell{value, present>>bit&1 != 0}
		if b, ok := s.past[i].block(kind, slot, n); ok {
			change, _ := b.change(present, bit)
			value -= change
			present ^= b.flip
		}
	}
	cells[0] = cell{value, present>>bit&1 != 0}
	return cells
}

// block returns how a block of a column changed; false if it did not.
func (f *frame) block(kind Kind, slot, n int) (block, bool) {
	t := &f.tables[kind]
	place := t.column(slot)
	if place == nil {
		return block{}, false
	}
	data := place.block(f.data, n)
	if data == nil {
		return block{}, false
	}
	return readBlock(data)
}

// rates is walk for a rate. The newest is in the head; those of the other batches are
// what the counters say, unless their frames say otherwise.
func (s *segment) rates(kind Kind, slot int, row Row, first int, cells []cell) []cell {
	cells = slices.Grow(cells[:0], len(s.past)-first+1)[:len(s.past)-first+1]
	t := &s.head[kind]
	c := &t.columns[slot]
	var inputs [3][]cell
	var space [3][48]cell
	for i, id := range [...]ID{c.metric.RateOf, c.metric.RateTime, StartTime} {
		if from := t.find(Describe(id)); from >= 0 {
			inputs[i] = s.walk(kind, from, row, first, space[i][:0])
		}
	}
	sample := func(i int) Sample {
		return Sample{Value: bitsAt(inputs[0], i), At: bitsAt(inputs[1], i), Start: bitsAt(inputs[2], i)}
	}
	n, bit := int(row>>6), uint(row&63)
	present := c.has.word(n)
	for i := len(s.past) - 1; i >= first; i-- {
		at := i - first + 1
		b, _ := s.past[i].block(kind, slot, n)
		cells[at] = cell{has: present>>bit&1 != 0}
		switch v, ok := b.change(present, bit); {
		case !cells[at].has:
		case i == len(s.past)-1:
			cells[at].bits, cells[at].has = c.get(row)
		case s.past[i].leaning:
			cells[at] = cell{v, ok}
		case ok:
			cells[at].bits = v
		default:
			cells[at].bits, _ = c.metric.RateBetween(sample(at-1), sample(at))
		}
		present ^= b.flip
	}
	cells[0] = cell{}
	return cells
}

func bitsAt(cells []cell, i int) int64 {
	if cells == nil {
		return 0
	}
	return cells[i].bits
}

// series appends a row's points of a metric.
func (s *segment) series(points []Point, ref Ref, d *Descriptor, from, to time.Time) []Point {
	slot := s.head[ref.Kind].find(d)
	first, end := s.within(from, to)
	if slot < 0 || first == end {
		return points
	}
	var some [48]cell
	var cells []cell
	if d.Rate() {
		cells = s.rates(ref.Kind, slot, ref.Row, first, some[:0])
	} else {
		cells = s.walk(ref.Kind, slot, ref.Row, first, some[:0])
	}
	points = slices.Grow(points, end-first)
	for i := first; i < end; i++ {
		if c := cells[i-first+1]; c.has {
			points = append(points, Point{Time: s.past[i].at, Bits: c.bits})
		}
	}
	return points
}

// ever says whether a row has a value of a column in any batch that is kept.
func (s *segment) ever(kind Kind, slot int, row Row) bool {
	n, bit := int(row>>6), uint(row&63)
	present := s.head[kind].columns[slot].has.word(n)
	for i := len(s.past) - 1; i >= 0; i-- {
		if present>>bit&1 != 0 {
			return true
		}
		if b, ok := s.past[i].block(kind, slot, n); ok {
			present ^= b.flip
		}
	}
	return false
}

// liveRows yields those of rows that are in the newest batch.
func (t *headTable) liveRows(rows []Row) func(yield func(Row) bool) {
	live := t.live()
	return func(yield func(Row) bool) {
		for _, row := range rows {
			if live.Has(row) && !yield(row) {
				return
			}
		}
	}
}
