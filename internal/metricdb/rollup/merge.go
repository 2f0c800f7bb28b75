package rollup

import (
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// merger puts roll-ups of one metric and level of a cluster together, those with the
// same tags into one cell. They must come in the order of time.
type merger struct {
	keys     []string // tags of samples
	identity []string
	names    *fieldNames
	float    bool
	counter  bool
	cells    map[string]*cell // by the tags of records
	sets     map[string]*counted
	open     time.Time
	tails    []tail // of the roll-ups at open
}

// counted is a counter's set so far: its last value, and the cell that has it.
type counted struct {
	last int64
	cell *cell
}

type tail struct {
	set   string
	value int64
	cell  *cell
}

func newMerger(p pair, every []time.Duration, counter bool) *merger {
	return &merger{
		keys: tagsOf(p.metric, p.level), identity: metricdb.Identity(p.metric, p.level), names: namesOf(every), float: isFloat(p.metric),
		counter: counter, cells: map[string]*cell{}, sets: map[string]*counted{},
	}
}

func (m *merger) add(r *metricdb.Record) {
	key := r.Tags.Key()
	c := m.cells[key]
	if c == nil {
		c = &cell{tags: sampleTags(r.Tags, m.keys), float: m.float}
		m.cells[key] = c
	}
	c.read(r, m.names)
	if m.counter {
		m.steps(r, c)
	}
}

// steps adds a roll-up's steps, and the one into it. Of one time all heads come before
// all tails.
func (m *merger) steps(r *metricdb.Record, c *cell) {
	if !r.Time.Equal(m.open) {
		m.settle()
		m.open = r.Time
	}
	inner, ok := r.Get("inner")
	if !ok {
		return
	}
	c.inner.add(inner.Bits, inner.Float)
	ends, set := r.Int("ends"), c.tags.Only(m.identity).Key()
	if head, _ := r.Get("head"); ends&hasHead != 0 {
		if before := m.sets[set]; before != nil {
			c.inner.add(rise(before.last, head.Bits, head.Float), head.Float)
		} else {
			c.head = &head.Bits
			if both, ok := r.Get("increase"); ok {
				c.into.add(lessened(both, inner), inner.Float)
			}
		}
	}
	if ends&hasTail != 0 {
		m.tails = append(m.tails, tail{set, r.Int("tail"), c})
	}
}

func (m *merger) settle() {
	for _, t := range m.tails {
		m.sets[t.set] = &counted{t.value, t.cell}
	}
	m.tails = m.tails[:0]
}

// finish returns the cells by their tags.
func (m *merger) finish() []*cell {
	m.settle()
	for _, s := range m.sets {
		s.cell.tail = &s.last
	}
	all := make([]*cell, 0, len(m.cells))
	for _, c := range m.cells {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *cell) int { return a.tags.Compare(b.tags) })
	return all
}

// lessened is the difference of two sums of steps.
func lessened(v, by metricdb.Value) int64 {
	if v.Float {
		return metricdb.Float(v.Number() - by.Number()).Bits
	}
	return v.Bits - by.Bits
}
