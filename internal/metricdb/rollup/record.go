package rollup

import (
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// recordTags are the tags of a set's roll-up.
func recordTags(tags metricdb.Tags, metric string) metricdb.Tags {
	labels := make([]metrics.Label, 0, len(tags)+1)
	for _, label := range tags {
		if label.Key == metricdb.TagType {
			label.Key = TagLevel
		}
		labels = append(labels, label)
	}
	return metricdb.MakeTags(append(labels, metrics.Label{Key: TagMetric, Value: metric})...)
}

// record is c as it is stored of an hour or a day.
func (c *cell) record(metric string, span time.Duration, begin time.Time) metricdb.Record {
	r := metricdb.Record{Set: setOf(metric, span), Time: begin, Tags: recordTags(c.tags, metric)}
	add := func(name string, v metricdb.Value) { r.Fields = append(r.Fields, metricdb.Field{Name: name, Value: v}) }
	for i := range c.steps {
		s := &c.steps[i]
		add("count."+seconds(s.every), metricdb.Int(s.count))
		c.addTotal(add, "sum", s)
	}
	for i := range c.billed {
		c.addTotal(add, "billed", &c.billed[i])
	}
	if c.count > 0 {
		add("max", c.max)
		add("min", c.min)
		add("first", metricdb.Int(floor(c.first, int64(time.Second))/int64(time.Second)))
		add("last", metricdb.Int(floor(c.last, int64(time.Second))/int64(time.Second)))
	}
	if c.count > 0 && isCounter(metric) {
		c.addCounter(add)
	}
	if c.late {
		add("late", metricdb.Int(1))
	}
	r.Sort()
	return r
}

// addTotal adds a step's sum; a sum of integers that is none any more has a field of
// its own, since a field has one type.
func (c *cell) addTotal(add func(string, metricdb.Value), name string, s *step) {
	total := s.sum.total()
	switch {
	case c.float:
		add(name+"."+seconds(s.every), metricdb.Float(total.Number()))
	case total.Exact:
		add(name+"."+seconds(s.every), metricdb.Int(total.Int))
	default:
		add(name+"f."+seconds(s.every), metricdb.Float(total.Float))
	}
}

func (c *cell) addCounter(add func(string, metricdb.Value)) {
	both := c.inner
	both.addTotal(c.into.total())
	for _, one := range []struct {
		name string
		sum  *sum
	}{{"inner", &c.inner}, {"increase", &both}} {
		total := one.sum.total()
		if c.float {
			add(one.name, metricdb.Float(total.Number()))
		} else { // steps of a counter that add up to more than int64 in an hour are none
			add(one.name, metricdb.Int(total.Int))
		}
	}
	ends := int64(0)
	if c.head != nil {
		add("head", metricdb.Value{Bits: *c.head, Float: c.float})
		ends |= hasHead
	}
	if c.tail != nil {
		add("tail", metricdb.Value{Bits: *c.tail, Float: c.float})
		ends |= hasTail
	}
	add("ends", metricdb.Int(ends))
}

// The field ends says which of head and tail hold.
const (
	hasHead = 1
	hasTail = 2
)

// sumFields names the sums and counts of roll-ups with these resolutions: two for each
// resolution, and then sums beyond int64, if there are any.
func sumFields(every []time.Duration, wide int64) (names []string) {
	for _, e := range every {
		names = append(names, "sum."+seconds(e), "count."+seconds(e))
	}
	if wide != 0 {
		for _, e := range every {
			names = append(names, "sumf."+seconds(e))
		}
	}
	return names
}

// cellFields names what cells are read from, but for a counter's steps.
func cellFields(p pair, every []time.Duration, wide int64) []string {
	names := append(sumFields(every, wide), "max", "min", "first", "last", "late")
	if requestOf(p.metric, p.level) != "" {
		names = append(names, billedFields(every, wide)...)
	}
	return names
}

// billedFields names what is billed, by resolution, and then sums beyond int64.
func billedFields(every []time.Duration, wide int64) (names []string) {
	for _, e := range every {
		names = append(names, "billed."+seconds(e))
	}
	if wide != 0 {
		for _, e := range every {
			names = append(names, "billedf."+seconds(e))
		}
	}
	return names
}

// counterFields names the steps of counters.
func counterFields() []string { return []string{"inner", "increase", "head", "tail", "ends"} }

// allFieldsOf names those that a metric's roll-ups may have.
func allFieldsOf(metric string, every []time.Duration) []string {
	names := append(sumFields(every, 1), "max", "min", "first", "last", "late")
	names = append(names, billedFields(every, 1)...)
	if isCounter(metric) {
		names = append(names, counterFields()...)
	}
	return names
}
