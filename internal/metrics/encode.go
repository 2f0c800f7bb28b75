package metrics

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Encoder makes frames of one collector's successive batches. It is for one
// goroutine.
type Encoder struct {
	run    uint64
	base   *base
	quick  *zstd.Encoder // of deltas, which hardly shrink
	better *zstd.Encoder // of full frames, which are seldom and full of names
	body   []byte        // scratch
	frame  []byte        // scratch
	column columnWriter  // scratch
}

// base is what the next delta is against. For rows that are not in the batch it has
// the last values that they had: a node that answers again costs little.
type base struct {
	ledger *Ledger
	run    uint64
	at     time.Time
	tables [Kinds]baseTable
}

type baseTable struct {
	entities []Entity // of the batch: never changed
	live     Bitmap   // of the batch
	columns  [NumIDs]*baseColumn
	extra    []*baseColumn
}

type baseColumn struct {
	metric *Descriptor
	values []int64 // none of rates
	has    Bitmap  // of the batch
}

// NewEncoder returns an encoder that has committed nothing.
func NewEncoder() *Encoder {
	return &Encoder{run: rand.Uint64(), quick: newPacker(zstd.SpeedFastest), better: newPacker(zstd.SpeedDefault)}
}

func newPacker(level zstd.EncoderLevel) *zstd.Encoder {
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic("BUG: " + err.Error()) // only options can be wrong
	}
	return packer
}

// Encode returns the frame of b against the batch that was committed last, or
// against nothing if there is none, or if that was of another ledger. It changes
// nothing: a frame that could not be written is made again against the same base.
func (e *Encoder) Encode(b *Batch) (delta []byte) {
	old := e.of(b)
	return e.encode(b, against{old, old, old})
}

// Keyframe returns a frame of b against nothing, with everything that is remembered.
// Readers begin with it; deltas of the batches up to b are its past, those after it
// follow it. Call it before Commit(b): it is then a third smaller, as readers can tell
// most rates from b's own delta. After Commit it works, too, until the next.
func (e *Encoder) Keyframe(b *Batch) []byte {
	carry := e.of(b)
	if carry == nil || carry.at.Equal(b.Time) {
		return e.encode(b, against{carry: carry})
	}
	return e.encode(b, against{carry: carry, rates: carry})
}

// against is what a frame is against. All three are the base in a delta.
type against struct {
	old   *base // nil of a keyframe
	carry *base // has the values of absent rows
	rates *base // has the counters that rates are since
}

// Commit makes b the base of the next frame: its frame was written.
func (e *Encoder) Commit(b *Batch) {
	next := e.of(b)
	if next == nil {
		next = &base{ledger: b.ledger}
	}
	next.at, next.run = b.Time, e.runOf(b)
	for kind := range Kinds {
		next.tables[kind].commit(b.Tables[kind])
		if b.run != 0 {
			next.tables[kind].resume(b.Tables[kind])
		}
	}
	e.base = next
}

// of returns the base for b, nil if there is none.
func (e *Encoder) of(b *Batch) *base {
	if e.base == nil || e.base.ledger != b.ledger {
		return nil
	}
	return e.base
}

// runOf is the run that made the frame of b.
func (e *Encoder) runOf(b *Batch) uint64 {
	if b.run != 0 {
		return b.run
	}
	return e.run
}

func (t *baseTable) commit(from *Table) {
	t.entities, t.live = from.Entities, from.Live
	for _, column := range t.all() {
		column.has = nil
	}
	for _, c := range from.Columns() {
		column := t.find(c.Metric)
		if column == nil {
			column = &baseColumn{metric: c.Metric}
			if c.Metric.ID < NumIDs {
				t.columns[c.Metric.ID] = column
			} else {
				t.extra = append(t.extra, column)
			}
		}
		column.commit(c)
	}
}

// resume takes over the values of absent rows, too: a batch that was read from a
// model has them.
func (t *baseTable) resume(from *Table) {
	for _, c := range from.Columns() {
		if !c.Metric.Rate() {
			t.find(c.Metric).values = slices.Clone(c.Values)
		}
	}
}

// commit takes over the present values: the others stay.
func (c *baseColumn) commit(from *Column) {
	c.has = from.Has
	if c.metric.Rate() {
		return
	}
	if n := min(len(from.Has)*blockRows, len(from.Values)); n > len(c.values) {
		c.values = slices.Grow(c.values, n-len(c.values))[:n]
	}
	for i, word := range from.Has {
		at := i * blockRows
		if word == ^uint64(0) {
			copy(c.values[at:at+blockRows], from.Values[at:at+blockRows])
			continue
		}
		for row := range rowsOf(word, at) {
			c.values[row] = from.Values[row]
		}
	}
}

func (t *baseTable) find(d *Descriptor) *baseColumn {
	if d.ID < NumIDs {
		return t.columns[d.ID]
	}
	for _, c := range t.extra {
		if c.metric.Name == d.Name {
			return c
		}
	}
	return nil
}

func (t *baseTable) all() (all []*baseColumn) {
	for _, c := range t.columns {
		if c != nil {
			all = append(all, c)
		}
	}
	return append(all, t.extra...)
}

// encode makes a frame of b.
func (e *Encoder) encode(b *Batch, to against) []byte {
	h := header{
		cluster: b.Cluster, shard: b.Shard, shards: b.Shards, run: e.runOf(b), at: b.Time, full: to.old == nil,
		leaning: to.old == nil && to.rates != nil, resolution: b.Resolution, scrapedAt: b.ScrapedAt, nodes: b.Nodes,
	}
	if to.old != nil {
		h.baseRun, h.base = to.old.run, to.old.at
	}
	body := h.append(e.body[:0])
	body = appendDictionary(body, b, to.old)
	for kind := range Kinds {
		body = e.appendTable(body, b.Tables[kind], to.old.table(kind), to.carry.table(kind), to.rates.table(kind))
	}
	if h.full { // they are seldom, and several times as big: their memory is not kept
		frame, _ := sealFrame(body, nil, e.better)
		return frame
	}
	frame, used := sealFrame(body, e.frame, e.quick)
	e.body, e.frame = body, used
	return frame
}

// table is nil if b is.
func (b *base) table(kind Kind) *baseTable {
	if b == nil {
		return nil
	}
	return &b.tables[kind]
}

// appendTable writes the changed columns of a table: their number, and of each its
// metric, its length and its blocks.
func (e *Encoder) appendTable(dst []byte, t *Table, was, had, rates *baseTable) []byte {
	count := len(dst)
	dst = append(dst, 0, 0)
	n := 0
	add := func(name string, flags byte) {
		if len(e.column.lengths) == 0 {
			return
		}
		n++
		dst = appendString(dst, name)
		dst = append(dst, flags)
		dst = e.column.append(dst)
	}
	e.column.reset(blocksOf(len(t.Entities)))
	var live Bitmap
	if was != nil {
		live = was.live
	}
	e.column.masks(t.Live, live)
	add("", 0)
	for _, c := range columnsOf(t, had) {
		if c.Metric.ID == CPUNanoCores {
			continue
		}
		e.column.reset(blocksOf(len(t.Entities)))
		if c.Metric.Rate() {
			e.column.rates(newDerivation(t, c.Metric, rates, had), c, was)
		} else {
			e.column.changes(c, was, had)
		}
		add(c.Metric.Name, flagsOf(c.Metric))
	}
	binary.LittleEndian.PutUint16(dst[count:], uint16(n))
	return dst
}

// columnsOf returns the table's columns, and empty ones for those that only had has.
func columnsOf(t *Table, had *baseTable) []*Column {
	all := t.Columns()
	if had == nil {
		return all
	}
	for _, old := range had.all() {
		if t.find(old.metric) == nil {
			all = append(all, &Column{Metric: old.metric})
		}
	}
	return all
}

// Flags of a column's metric.
const (
	metricFloat = 1 << iota
	metricCumulative
	metricLabelled
	metricRate
)

func flagsOf(d *Descriptor) (flags byte) {
	for bit, is := range [...]bool{d.Float, d.Type == Cumulative, d.Labelled, d.Rate()} {
		if is {
			flags |= 1 << bit
		}
	}
	return flags
}

// descriptorOf is flagsOf's inverse; nil if this build knows the metric as another.
func descriptorOf(name string, flags byte) *Descriptor {
	if d, ok := Lookup(name); ok {
		if flagsOf(d) != flags {
			return nil
		}
		return d
	}
	if flags&metricRate != 0 {
		return nil
	}
	if resource, ok := strings.CutSuffix(name, "/request"); ok && flags == 0 {
		return ResourceRequest(resource)
	}
	d := &Descriptor{
		ID: NumIDs, Name: name, Float: flags&metricFloat != 0, Labelled: flags&metricLabelled != 0,
		RateOf: NumIDs, RateTime: NumIDs,
	}
	if flags&metricCumulative != 0 {
		d.Type = Cumulative
	}
	return d
}
