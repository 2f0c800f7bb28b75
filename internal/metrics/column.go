package metrics

import (
	"encoding/binary"
	"iter"
	"math/bits"
)

// A column in a frame is:
//
//	length    varint: of the rest
//	changed   a bit for each block: it is there
//	lengths   2 bytes for each block that is there
//	anchors   4 bytes for each 32nd of these: where it begins
//	blocks    see block.go
const anchorEvery = 32

func blocksOf(rows int) int { return (rows + blockRows - 1) / blockRows }

func bitmapBytes(blocks int) int { return (blocks + 7) / 8 }

func anchorsOf(present int) int { return (present + anchorEvery - 1) / anchorEvery }

// word returns the bitmap's word of a block.
func (b Bitmap) word(block int) uint64 {
	if block >= len(b) {
		return 0
	}
	return b[block]
}

// rowsOf yields the rows of a word whose first row is at.
func rowsOf(word uint64, at int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for ; word != 0; word &= word - 1 {
			if !yield(at + bits.TrailingZeros64(word)) {
				return
			}
		}
	}
}

// columnWriter makes a column of a frame. It is used again for the next.
type columnWriter struct {
	changed []byte
	lengths []uint16
	blocks  []byte
	total   int // blocks of the table
	draft   draft
}

func (w *columnWriter) reset(blocks int) {
	w.total = blocks
	w.changed = append(w.changed[:0], make([]byte, bitmapBytes(blocks))...)
	w.lengths, w.blocks = w.lengths[:0], w.blocks[:0]
}

// end notes that block ends here, and began at start.
func (w *columnWriter) end(block, start int) {
	w.changed[block>>3] |= 1 << (block & 7)
	w.lengths = append(w.lengths, uint16(len(w.blocks)-start))
}

func (w *columnWriter) append(dst []byte) []byte {
	present := len(w.lengths)
	dst = binary.AppendUvarint(dst, uint64(len(w.changed)+2*present+4*anchorsOf(present)+len(w.blocks)))
	dst = append(dst, w.changed...)
	for _, length := range w.lengths {
		dst = binary.LittleEndian.AppendUint16(dst, length)
	}
	at := uint32(0)
	for i, length := range w.lengths {
		if i%anchorEvery == 0 {
			dst = binary.LittleEndian.AppendUint32(dst, at)
		}
		at += uint32(length)
	}
	return append(dst, w.blocks...)
}

// masks writes what changed in a bitmap.
func (w *columnWriter) masks(now, before Bitmap) {
	for block := range w.total {
		if flip := now.word(block) ^ before.word(block); flip != 0 {
			w.draft.flip, w.draft.extra, w.draft.n = flip, 0, 0
			start := len(w.blocks)
			w.blocks = w.draft.appendSparse(w.blocks)
			w.end(block, start)
		}
	}
}

// changes writes how a column that is no rate changed since was; rows that are absent
// now but have a value in had are written too if there is no was.
func (w *columnWriter) changes(c *Column, was, had *baseTable) {
	var old, carry *baseColumn
	if was != nil {
		old = was.find(c.Metric)
	} else if had != nil {
		carry = had.find(c.Metric)
	}
	var before Bitmap
	var values []int64
	if old != nil {
		before, values = old.has, old.values
	}
	d := &w.draft
	for block := range w.total {
		now, at := c.Has.word(block), block*blockRows
		d.flip, d.extra, d.n = now^before.word(block), 0, 0
		var any int64
		for left := now; left != 0; left &= left - 1 {
			bit := bits.TrailingZeros64(left)
			change := c.Values[at+bit]
			if at+bit < len(values) {
				change -= values[at+bit]
			}
			any |= change
			d.add(uint8(bit), change)
		}
		if carry != nil {
			any |= d.carry(carry.values, at, now)
		}
		w.finish(block, any != 0)
	}
}

// carry adds the values of absent rows, in the order of the rows.
func (d *draft) carry(values []int64, at int, now uint64) (any int64) {
	for bit := range blockRows {
		if now&(1<<bit) == 0 && at+bit < len(values) && values[at+bit] != 0 {
			d.extra |= 1 << bit
		}
	}
	if d.extra == 0 {
		return 0
	}
	present := d.change
	from := 0
	d.n = 0
	for left := now | d.extra; left != 0; left &= left - 1 {
		bit := bits.TrailingZeros64(left)
		if d.extra&(1<<bit) != 0 {
			d.add(uint8(bit), values[at+bit])
			any |= values[at+bit]
			continue
		}
		d.add(uint8(bit), present[from])
		from++
	}
	return any
}

// finish writes the block, unless nothing changed.
func (w *columnWriter) finish(block int, changed bool) {
	d := &w.draft
	if !changed && d.flip == 0 {
		return
	}
	start := len(w.blocks)
	if changed {
		w.blocks = d.appendPacked(w.blocks)
	} else {
		d.n, d.extra = 0, 0
		w.blocks = d.appendSparse(w.blocks)
	}
	w.end(block, start)
}

// derivation says what a rate should be.
type derivation struct {
	metric                    *Descriptor
	value, at, start          series
	wasValue, wasAt, wasStart []int64
}

// series are the values of a column after the batch: its own, else those before.
type series struct {
	column *Column // may be nil
	before []int64
}

func (s *series) get(row int) int64 {
	if v, ok := s.column.Get(Row(row)); ok {
		return v
	}
	return valueAt(s.before, row)
}

func valueAt(values []int64, row int) int64 {
	if row < len(values) {
		return values[row]
	}
	return 0
}

func newDerivation(t *Table, d *Descriptor, was, had *baseTable) *derivation {
	values := func(table *baseTable, id ID) []int64 {
		if table == nil || table.columns[id] == nil {
			return nil
		}
		return table.columns[id].values
	}
	return &derivation{
		metric:   d,
		value:    series{t.columns[d.RateOf], values(had, d.RateOf)},
		at:       series{t.columns[d.RateTime], values(had, d.RateTime)},
		start:    series{t.columns[StartTime], values(had, StartTime)},
		wasValue: values(was, d.RateOf), wasAt: values(was, d.RateTime), wasStart: values(was, StartTime),
	}
}

func (f *derivation) rate(row int) (int64, bool) {
	return f.metric.RateBetween(
		Sample{Value: valueAt(f.wasValue, row), At: valueAt(f.wasAt, row), Start: valueAt(f.wasStart, row)},
		Sample{Value: f.value.get(row), At: f.at.get(row), Start: f.start.get(row)},
	)
}

// rates writes the values of a rate that are not what the counters say.
func (w *columnWriter) rates(from *derivation, c *Column, was *baseTable) {
	var before Bitmap
	if was != nil {
		if old := was.find(c.Metric); old != nil {
			before = old.has
		}
	}
	d := &w.draft
	for block := range w.total {
		now, at := c.Has.word(block), block*blockRows
		d.flip, d.extra, d.n = now^before.word(block), 0, 0
		for row := range rowsOf(now, at) {
			if rate, ok := from.rate(row); !ok || rate != c.Values[row] {
				d.add(uint8(row-at), c.Values[row])
			}
		}
		if d.n == 0 && d.flip == 0 {
			continue
		}
		start := len(w.blocks)
		if d.n <= maxTrim {
			w.blocks = d.appendSparse(w.blocks)
		} else {
			d.n = 0
			for row := range rowsOf(now, at) {
				d.add(uint8(row-at), c.Values[row])
			}
			w.blocks = d.appendPacked(w.blocks)
		}
		w.end(block, start)
	}
}
