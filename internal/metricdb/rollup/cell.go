package rollup

import (
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// cell is what the roll-up of one metric set in an hour, or in some of them together, is
// made of. Where carried tags changed, a set has several.
type cell struct {
	tags        metricdb.Tags
	float       bool
	count       int64
	min, max    metricdb.Value
	steps       steps
	first, last int64 // Unix nanoseconds
	// Of counters: steps between samples, the step into the first sample, and the first and
	// last value, if they are this cell's.
	inner      sum
	into       sum
	head, tail *int64
	billed     steps
	late       bool
}

func (c *cell) add(at, bits int64, every time.Duration) {
	v := metricdb.Value{Bits: bits, Float: c.float}
	if c.count == 0 {
		c.min, c.max, c.first, c.last = v, v, at, at
	}
	if less(v, c.min) {
		c.min = v
	}
	if less(c.max, v) {
		c.max = v
	}
	c.count++
	step := c.steps.of(every)
	step.count++
	step.sum.add(bits, c.float)
	c.first, c.last = min(c.first, at), max(c.last, at)
}

// read adds what a roll-up has that was made with these resolutions, but for a
// counter's steps.
func (c *cell) read(r *metricdb.Record, names *fieldNames) {
	n := int64(0)
	for i := range names.every {
		f := &names.every[i]
		if count := r.Int(f.count); count != 0 {
			n += count
			step := c.steps.of(f.Duration)
			step.count += count
			step.sum.addField(r, f.sum)
			step.sum.addField(r, f.sumf)
		}
		if _, ok := r.Get(f.billed); ok {
			c.billed.of(f.Duration).sum.addField(r, f.billed)
		}
		if v, _ := r.Get(f.billedf); v.Bits != 0 { // 0: it is no more
			c.billed.of(f.Duration).sum.addField(r, f.billedf)
		}
	}
	c.late = c.late || r.Int("late") != 0
	if n == 0 {
		return
	}
	high, _ := r.Get("max")
	low, ok := r.Get("min")
	if !ok { // it was not asked for
		low = high
	}
	if c.count == 0 {
		c.min, c.max = low, high
	}
	if less(low, c.min) {
		c.min = low
	}
	if less(c.max, high) {
		c.max = high
	}
	if first, ok := r.Get("first"); ok {
		first, last := first.Bits*int64(time.Second), r.Int("last")*int64(time.Second)
		if c.count == 0 {
			c.first, c.last = first, last
		}
		c.first, c.last = min(c.first, first), max(c.last, last)
	}
	c.count += n
}

// fieldNames are the names of fields by resolution, made once for many records.
type fieldNames struct{ every []fieldsOfEvery }

type fieldsOfEvery struct {
	time.Duration
	sum, sumf, count, billed, billedf string
}

func namesOf(every []time.Duration) *fieldNames {
	names := &fieldNames{}
	for _, e := range every {
		s := seconds(e)
		names.every = append(names.every, fieldsOfEvery{e, "sum." + s, "sumf." + s, "count." + s, "billed." + s, "billedf." + s})
	}
	return names
}
