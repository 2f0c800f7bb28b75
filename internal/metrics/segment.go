package metrics

import (
	"math/bits"
	"slices"
	"time"
)

// segment is what is kept of an encoder's frames that follow one another: the newest
// values whole, and of the batches before it how they differ. It is never changed.
//
// A batch's values are found by going back from the newest: each frame says how its
// batch differs from the one before. The first frame is needed for its batch's rates.
type segment struct {
	header // of the newest batch
	names  *dictionary
	head   [Kinds]headTable
	past   []*frame // oldest first; the last is the newest batch's
}

// headTable is a table's newest values. Column 0 says which rows are live.
type headTable struct{ columns []headColumn }

type headColumn struct {
	metric *Descriptor // nil of column 0
	values []int64     // by row; of absent rows the last that they had
	has    Bitmap
}

// frame is what is kept of a batch.
type frame struct {
	at            time.Time
	leaning       bool // most of its rates are not known
	nodes, failed int
	data          []byte
	tables        [Kinds]frameTable
}

type frameTable struct {
	slots   []uint16 // by column of the head: 1 + place in columns, 0 of what did not change
	columns []frameColumn
}

// column returns where the changes of a head's column lie, nil if there are none.
func (t *frameTable) column(slot int) *frameColumn {
	if slot >= len(t.slots) || t.slots[slot] == 0 {
		return nil
	}
	return &t.columns[t.slots[slot]-1]
}

// keep makes a frame of what was read; columns that the head does not have yet are
// added to it.
func (p *parsed) keep(head *[Kinds]headTable) *frame {
	f := &frame{at: p.at, leaning: p.leaning, nodes: len(p.nodes), failed: p.failed(), data: p.data}
	for kind := range Kinds {
		from, to := &p.tables[kind], &f.tables[kind]
		to.columns = make([]frameColumn, len(from.columns))
		for i, c := range from.columns {
			slot := head[kind].slot(c.metric)
			if slot >= len(to.slots) {
				to.slots = append(to.slots, make([]uint16, slot+1-len(to.slots))...)
			}
			to.slots[slot], to.columns[i] = uint16(i+1), c.place
		}
	}
	return f
}

// slot finds or makes the column of d.
func (t *headTable) slot(d *Descriptor) int {
	if len(t.columns) == 0 {
		t.columns = append(t.columns, headColumn{})
	}
	slot := t.find(d)
	if slot < 0 {
		slot = len(t.columns)
		t.columns = append(t.columns, headColumn{metric: d})
	}
	return slot
}

// find returns the slot of d, -1 if there is none.
func (t *headTable) find(d *Descriptor) int {
	for slot := range t.columns {
		switch have := t.columns[slot].metric; {
		case have == d:
			return slot
		case have == nil || d == nil:
		case have.ID == NumIDs && d.ID == NumIDs && have.Name == d.Name:
			return slot
		}
	}
	return -1
}

// live says which rows are in the newest batch.
func (t *headTable) live() Bitmap {
	if len(t.columns) == 0 {
		return nil
	}
	return t.columns[0].has
}

// column returns the column of a metric, nil if there is none.
func (t *headTable) column(d *Descriptor) *headColumn {
	if slot := t.find(d); slot >= 0 {
		return &t.columns[slot]
	}
	return nil
}

// unknownRate is in the place of a rate that a keyframe has left to a delta that is
// not there. No rate is negative.
const unknownRate = -1 << 63

func (c *headColumn) get(row Row) (int64, bool) {
	if c == nil || !c.has.Has(row) {
		return 0, false
	}
	bits := valueAt(c.values, int(row)) // values that are all 0 need no slice
	return bits, bits != unknownRate || !c.metric.Rate()
}

// newSegment makes a segment of a frame against nothing.
func newSegment(p *parsed) (*segment, error) {
	s := &segment{names: &dictionary{}}
	return s.next(p, 0)
}

// next returns the segment after the next batch, without the batches that are older
// than keep before it.
func (s *segment) next(p *parsed, keep time.Duration) (*segment, error) {
	names, err := s.names.with(&p.dictionary)
	if err != nil {
		return nil, err
	}
	n := &segment{header: p.header, names: names}
	for kind := range Kinds {
		n.head[kind].columns = slices.Clone(s.head[kind].columns)
	}
	f := p.keep(&n.head)
	for kind := range Kinds {
		if err := n.head[kind].advance(&s.head[kind], f, &f.tables[kind]); err != nil {
			return nil, err
		}
	}
	past := s.past
	for len(past) > 0 && past[0].at.Before(p.at.Add(-keep)) {
		past = past[1:]
	}
	n.past = append(slices.Clone(past), f)
	return n, nil
}

// advance moves the table from before to the frame's batch.
func (t *headTable) advance(before *headTable, f *frame, changes *frameTable) error {
	for slot := range t.columns {
		c := &t.columns[slot]
		if place := changes.column(slot); place != nil && (c.metric == nil || !c.metric.Rate()) {
			if err := c.advance(place, f.data); err != nil {
				return err
			}
		}
	}
	for slot := range t.columns {
		c := &t.columns[slot]
		if c.metric != nil && c.metric.Rate() {
			from := newRateSource(c.metric, before, t)
			from.unknown = f.leaning
			if err := c.derive(from, changes.column(slot), f.data); err != nil {
				return err
			}
		}
	}
	return nil
}

// advance applies the changes of a column that is no rate, to copies.
func (c *headColumn) advance(place *frameColumn, data []byte) error {
	c.has = longer(c.has, int(place.blocks))
	copied := false
	var to [blockRows]int64
	for n, bytes := range place.each(data) {
		b, ok := readBlock(bytes)
		if !ok {
			return ErrCorrupt
		}
		c.has[n] ^= b.flip
		if !b.holds(c.has[n]) {
			return ErrCorrupt
		}
		rows := b.changes(c.has[n], &to)
		if rows != 0 && !copied {
			c.values, copied = longer(c.values, int(place.blocks)*blockRows), true
		}
		for ; rows != 0; rows &= rows - 1 {
			bit := bits.TrailingZeros64(rows)
			c.values[n*blockRows+bit] += to[bit]
		}
	}
	return nil
}

// rateSource is what a rate of a row follows from.
type rateSource struct {
	metric                             *Descriptor
	value, at, start                   []int64
	beforeValue, beforeAt, beforeStart []int64
	unknown                            bool // what was before is not known
}

func newRateSource(d *Descriptor, before, now *headTable) rateSource {
	values := func(t *headTable, id ID) []int64 {
		if c := t.column(Describe(id)); c != nil {
			return c.values
		}
		return nil
	}
	return rateSource{
		metric: d, value: values(now, d.RateOf), at: values(now, d.RateTime), start: values(now, StartTime),
		beforeValue: values(before, d.RateOf), beforeAt: values(before, d.RateTime), beforeStart: values(before, StartTime),
	}
}

// rate is 0 for what has none: the frame has its value then.
func (s *rateSource) rate(row int) int64 {
	if s.unknown {
		return unknownRate
	}
	v, _ := s.metric.RateBetween(
		Sample{Value: valueAt(s.beforeValue, row), At: valueAt(s.beforeAt, row), Start: valueAt(s.beforeStart, row)},
		Sample{Value: valueAt(s.value, row), At: valueAt(s.at, row), Start: valueAt(s.start, row)},
	)
	return v
}

// derive makes the column of a rate anew.
func (c *headColumn) derive(from rateSource, place *frameColumn, data []byte) error {
	if place != nil {
		c.has = longer(c.has, int(place.blocks))
	}
	c.values = make([]int64, len(c.has)*blockRows)
	for n := range c.has {
		var b block
		if place != nil {
			if bytes := place.block(data, n); bytes != nil {
				var ok bool
				if b, ok = readBlock(bytes); !ok {
					return ErrCorrupt
				}
			}
		}
		c.has[n] ^= b.flip
		if !b.holds(c.has[n]) {
			return ErrCorrupt
		}
		to := (*[blockRows]int64)(c.values[n*blockRows:])
		if b.flags&flagPacked == 0 {
			for row := range rowsOf(c.has[n], n*blockRows) {
				c.values[row] = from.rate(row)
			}
		}
		b.changes(c.has[n], to)
	}
	return nil
}

// reach puts older frames before the segment's, which has a keyframe only: chain is
// newest first, begins with the delta of the keyframe's batch, and each was the base of
// the one before it.
func (s *segment) reach(chain []*parsed, keep time.Duration) error {
	past := make([]*frame, 0, len(chain))
	for _, p := range slices.Backward(chain) {
		if !p.at.Before(s.at.Add(-keep)) {
			past = append(past, p.keep(&s.head))
		}
	}
	key := s.past[0]
	s.past = past
	if !key.leaning {
		return nil
	}
	last := past[len(past)-1]
	for kind := range Kinds {
		before := s.head[kind].before(last, &last.tables[kind])
		for slot := range s.head[kind].columns {
			if c := &s.head[kind].columns[slot]; c.metric != nil && c.metric.Rate() {
				c.has = nil
				if err := c.derive(newRateSource(c.metric, before, &s.head[kind]), key.tables[kind].column(slot), key.data); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// before returns the table's values of counters and times as they were before the
// newest batch, whose frame is f.
func (t *headTable) before(f *frame, changes *frameTable) *headTable {
	was := &headTable{columns: slices.Clone(t.columns)}
	for slot := range was.columns {
		c := &was.columns[slot]
		place := changes.column(slot)
		if place == nil || c.metric == nil || !c.metric.counts() {
			continue
		}
		c.values = longer(c.values, int(place.blocks)*blockRows)
		var to [blockRows]int64
		for n, bytes := range place.each(f.data) {
			b, _ := readBlock(bytes)
			for row := range rowsOf(b.changes(t.columns[slot].has.word(n), &to), n*blockRows) {
				c.values[row] -= to[row%blockRows]
			}
		}
	}
	return was
}

// counts says that rates follow from d.
func (d *Descriptor) counts() bool {
	return d.Type == Cumulative || d.ID >= StartTime && d.ID <= DiskTime
}
