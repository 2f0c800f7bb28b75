package rollup

import (
	"cmp"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

type groupKey struct {
	tags   string
	bucket int64
}

// group is the samples of one metric set with the same tags in a bucket.
type group struct {
	tags        metricdb.Tags
	bucket      int64
	count       int64
	sum         sum
	min, max    metricdb.Value
	steps       steps
	first, last time.Time
	unspanned   bool // first and last are not known of its roll-ups
	increase    sum
}

func (g *group) merge(count int64, total metricdb.Total, low, high metricdb.Value) {
	if g.count == 0 {
		g.min, g.max = low, high
	}
	if less(low, g.min) {
		g.min = low
	}
	if less(g.max, high) {
		g.max = high
	}
	g.count += count
	g.sum.addTotal(total)
}

// span takes in the times of first and last samples; a zero one is none.
func (g *group) span(first, last time.Time) {
	if !first.IsZero() && (g.first.IsZero() || first.Before(g.first)) {
		g.first = first
	}
	if last.After(g.last) {
		g.last = last
	}
}

// merged is a group as it was asked for.
type merged struct {
	group
	sets  map[string]bool
	cover Cover
}

func (m *merged) take(g *group) {
	m.merge(g.count, g.sum.total(), g.min, g.max)
	m.span(g.first, g.last)
	for i := range g.steps {
		step := m.steps.of(g.steps[i].every)
		step.count += g.steps[i].count
		step.sum.addTotal(g.steps[i].sum.total())
	}
	m.increase.addTotal(g.increase.total())
}

func (m *merged) finish(want *metricdb.Grouping) metricdb.Group {
	done := metricdb.Group{
		Tags: m.tags, Time: time.Unix(0, m.bucket).UTC(), Count: m.count, Sum: typed(m.sum.total(), m.max.Float),
		Max: m.max, Sets: len(m.sets),
	}
	if !want.SkipMin {
		done.Min = m.min
	}
	for i := range m.steps {
		s := &m.steps[i]
		done.Steps = append(done.Steps, metricdb.Step{Every: s.every, Count: s.count, Sum: typed(s.sum.total(), m.max.Float)})
	}
	slices.SortFunc(done.Steps, func(a, b metricdb.Step) int { return cmp.Compare(a.Every, b.Every) })
	if want.Increase {
		done.Increase = typed(m.increase.total(), m.max.Float)
	}
	if want.Span {
		done.First, done.Last = m.first, m.last
	}
	return done
}

// typed is a total of floats as such, even if it is 0.
func typed(t metricdb.Total, float bool) metricdb.Total {
	if float {
		return metricdb.Total{Float: t.Number()}
	}
	return t
}
