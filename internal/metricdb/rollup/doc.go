// Package rollup keeps hourly and daily roll-ups in the metric database, so that a month
// over thousands of pods is answered in a moment, and to the same numbers as from the
// samples: integers to the last bit.
//
// # Roll-ups
//
// Engine rolls each hour up once it is over and a grace for late batches has passed:
// per metric and level one record of the set krm/hour for each metric set. Samples of
// whole seconds' resolution r are summed per r, so that integrals stay exact when the
// resolution is changed within an hour. What is known of an hour is told by two more
// sets: krm/rolled, per metric and level, which batches the records are made of, and
// krm/hours, per cluster, whether the hour is complete. Every hour is computed from the samples alone,
// and records replace one another by set, time and tags: doing it again, or by two
// processes at once, changes nothing.
//
// A batch that comes later changes what krm/batches says of its hour. The hour is then
// computed anew; records that changed by that are marked as late. Until it is done,
// Answer sees that krm/rolled does not fit, and reads that hour's samples.
//
// # Days
//
// When all hours of a day (UTC) are closed, their roll-ups are put together: one record of
// krm/day for each metric set that has records of krm/hour, with the same fields.
// krm/rolled.days says of which batches, which are those of the day's hours together; an
// answer uses a day while these are all that there are, and else the day's hours. Hours stay:
// intervals that begin within a day, as months of other time zones do, need them, and so
// do buckets of hours.
//
// # Reading
//
// A day or an hour is used if krm/batches has as many batches, of as many nodes, as its
// seal says. That is found out by totals over the whole interval, which fit in nearly
// all cases; where they do not, by halving it. Interval does this, and reads lifetimes and
// resolutions, once for many questions.
package rollup

import (
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The sets of records. Fields are in brackets.
const (
	// HourSet has one record per metric set, metric and hour, at the hour's begin; tags:
	// metric, level, and what metricdb.Identity says without type, with nodename and labels.
	// [sum.R count.R: of the samples with a resolution of R seconds; sumf.R instead of sum.R
	// where that is beyond int64; min, max; first, last: Unix seconds of the first and last sample;
	// billed.R: see Billed; late: 1 if it changed after the hour was closed; of counters:
	// increase: with the step from the sample before the hour, if that is at most metricdb.Lookback away;
	// inner: only steps between samples of the hour; head, tail: the hour's first and last
	// value, if ends has 1 or 2: where tags changed within the hour, each is in one record only]
	HourSet = metricdb.RecordPrefix + "hour"
	// FloatSet is HourSet for metrics whose values are floats: a field has one type for ever.
	FloatSet = HourSet + ".float"
	// DaySet is HourSet for days, at their begin in UTC. Of counters, inner has the steps
	// between the day's samples, however long the gaps between them, and increase also the one
	// into the first sample, as the hour of that has it; late: 1 if some hour of the set has it.
	DaySet = metricdb.RecordPrefix + "day"
	// DayFloatSet is FloatSet for days.
	DayFloatSet = DaySet + ".float"
	// RolledSet has one record per cluster, metric, level and hour: the roll-ups of
	// HourSet are there. [batches, nodes: which batches they are made of; late: how often they were
	// changed since; wide: 1 if there is a sumf.R; every.0 … every.7: the resolutions R in them]
	RolledSet = metricdb.RecordPrefix + "rolled"
	// RolledDaysSet is RolledSet for days. [batches, nodes: of its hours together; late: how many
	// of its hours were changed after they were closed; wide, every: as in RolledSet]
	RolledDaysSet = RolledSet + ".days"
	// HoursSet has one record per cluster and hour that is closed. [closed: Unix seconds;
	// late: how often the hour was changed since; windows: batches that there were, each window once;
	// expected: windows that the resolution promises; batches, nodes: as in RolledSet; failed: nodes without metrics]
	HoursSet = metricdb.RecordPrefix + "hours"
	// DaysSet is HoursSet for days with batches: the sums of their hours. [closed: when the last of
	// them was; late: how many of them were changed since]
	DaysSet = metricdb.RecordPrefix + "days"
)

// The tags of roll-ups beside the sets' own.
const (
	TagMetric = "metric"
	TagLevel  = "level" // instead of metricdb.TagType
)

// What a roll-up is of.
const (
	hour = time.Hour
	day  = 24 * hour
)

// carried are tags that roll-ups keep besides those that identify a set: they may be
// asked for, too.
var carried = []string{metricdb.TagLabels, metricdb.TagNode}

// Rolled is what is rolled up: a metric at some levels.
type Rolled struct {
	Metric string
	Levels []metrics.Kind
}

// Default is what is rolled up unless Options say otherwise: all that billing is about.
func Default() []Rolled {
	all := []metrics.Kind{metrics.Container, metrics.Pod, metrics.Namespace, metrics.Node, metrics.Cluster}
	measured := []metrics.Kind{metrics.Container, metrics.Pod, metrics.Node}
	nodes := []metrics.Kind{metrics.Node}
	return []Rolled{
		{"cpu/usage_rate", all},
		{"memory/usage", all},
		{"cpu/request", all},
		{"memory/request", all},
		{"cpu/usage", measured},
		{"memory/working_set", measured},
		{"network/rx", []metrics.Kind{metrics.Pod, metrics.Node}},
		{"network/tx", []metrics.Kind{metrics.Pod, metrics.Node}},
		{"ephemeral_storage/usage", measured},
		{"ephemeral_storage/request", measured},
		{"filesystem/usage", measured},
		{"gpu/usage", all},
		{"accelerator/memory_used", measured},
		{"nvidia.com/gpu/request", []metrics.Kind{metrics.Container, metrics.Pod}},
		{"amd.com/gpu/request", []metrics.Kind{metrics.Container, metrics.Pod}},
		{"cpu/node_capacity", nodes},
		{"cpu/node_allocatable", nodes},
		{"memory/node_capacity", nodes},
		{"memory/node_allocatable", nodes},
	}
}

// setOf is the set that a metric's roll-ups of hours, or of days, are in.
func setOf(metric string, span time.Duration) string {
	switch float := isFloat(metric); {
	case span == day && float:
		return DayFloatSet
	case span == day:
		return DaySet
	case float:
		return FloatSet
	}
	return HourSet
}

// rolledSetOf is the set that their seals are in.
func rolledSetOf(span time.Duration) string {
	if span == day {
		return RolledDaysSet
	}
	return RolledSet
}

func isFloat(metric string) bool {
	d, ok := metrics.Lookup(metric)
	return ok && d.Float
}

func isCounter(metric string) bool {
	d, ok := metrics.Lookup(metric)
	return ok && d.Type == metrics.Cumulative
}

// requestOf is the metric that a metric is billed with, "" if there is none.
func requestOf(metric string, level metrics.Kind) string {
	if level != metrics.Pod && level != metrics.Container {
		return ""
	}
	switch metric {
	case "cpu/usage_rate":
		return "cpu/request"
	case "memory/usage":
		return "memory/request"
	}
	return ""
}

// tagsOf are the tags that roll-ups of a metric have in common with its samples.
func tagsOf(metric string, level metrics.Kind) []string {
	keys := slices.Concat(metricdb.Identity(metric, level), carried)
	slices.Sort(keys)
	return slices.Compact(keys)
}
