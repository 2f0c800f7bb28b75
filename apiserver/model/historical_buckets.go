package model

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// number is a value as it is sent: an integer or a float.
type number struct {
	Int   *int64   `json:"intValue,omitempty"`
	Float *float64 `json:"floatValue,omitempty"`
}

// bucket is what was computed of the samples of one bucket. What was not asked for is
// left out.
type bucket struct {
	Timestamp   time.Time          `json:"timestamp"`
	Count       *int64             `json:"count,omitempty"`
	Average     *number            `json:"average,omitempty"`
	Maximum     *number            `json:"maximum,omitempty"`
	Minimum     *number            `json:"minimum,omitempty"`
	Median      *number            `json:"median,omitempty"`
	Percentiles map[string]*number `json:"percentiles,omitempty"`
}

type buckets struct {
	Buckets    []bucket      `json:"buckets"`
	BucketSize time.Duration `json:"bucketSize"` // nanoseconds
}

// mostBuckets is how many buckets there may be in one answer.
const mostBuckets = 50_000

// aggregated answers with what was asked for of each bucket.
func (h *Historical) aggregated(q request, asked past, s pastSpan) error {
	size := s.bucket
	if size == 0 {
		size = max(s.to.Sub(s.start), 0)
	} else if s.to.Sub(s.start)/size > mostBuckets {
		return badRequest(errBuckets)
	}
	all := make([]buckets, len(asked.names()))
	for i := range all {
		all[i] = buckets{Buckets: []bucket{}, BucketSize: size}
	}
	if query, ok := asked.series(q.cluster, s); ok {
		groups, err := h.db.Aggregate(q.Request.Context(), query, asked.grouping(s.bucket))
		if err != nil {
			return fmt.Errorf("aggregate %s: %w", query.Metric, err)
		}
		for i, name := range asked.names() {
			var own []metricdb.Group
			for _, g := range groups {
				if asked.name(g.Tags) == name {
					if s.bucket == 0 {
						g.Time = s.start
					}
					own = append(own, g)
				}
			}
			all[i].Buckets = append(all[i].Buckets, columns(own, asked.aggregations)...)
		}
	}
	if asked.what == askSeries {
		h.api.send(q, prettyValue(all[0]))
		return nil
	}
	h.api.send(q, compactValue(map[string]any{"items": all}))
	return nil
}

// grouping is what the database is to compute.
func (p past) grouping(size time.Duration) metricdb.Grouping {
	g := metricdb.Grouping{Bucket: size, Median: slices.Contains(p.aggregations, "median"), Percentiles: p.percentiles()}
	g.SkipMin = !slices.Contains(p.aggregations, "min")
	if tag := p.tag(); tag != "" {
		g.By = []string{tag}
	}
	return g
}

var ranks = []struct {
	name string
	rank float64
}{{"50", 50}, {"95", 95}, {"99", 99}}

func (p past) percentiles() (all []float64) {
	for _, one := range ranks {
		if slices.Contains(p.aggregations, one.name+"-perc") {
			all = append(all, one.rank)
		}
	}
	return all
}

// columns turns groups into buckets. An aggregation is integers if it is one in all of
// the buckets, and floats otherwise.
func columns(groups []metricdb.Group, aggregations []string) []bucket {
	all := make([]bucket, len(groups))
	for i := range groups {
		all[i].Timestamp = groups[i].Time.UTC()
	}
	column := func(put func(*bucket, *number), get func(*metricdb.Group) metricdb.Value) {
		values := make([]metricdb.Value, len(groups))
		whole := true
		for i := range groups {
			values[i] = get(&groups[i])
			f := values[i].Number()
			whole = whole && (!values[i].Float || f == math.Trunc(f) && math.Abs(f) < 1<<53)
		}
		for i, v := range values {
			put(&all[i], numberOf(v, whole))
		}
	}
	rank := 0
	for _, name := range order(aggregations) {
		switch name {
		case "count":
			for i := range groups {
				all[i].Count = &groups[i].Count
			}
		case "average":
			column(func(b *bucket, n *number) { b.Average = n }, func(g *metricdb.Group) metricdb.Value { return metricdb.Float(g.Mean()) })
		case "max":
			column(func(b *bucket, n *number) { b.Maximum = n }, func(g *metricdb.Group) metricdb.Value { return g.Max })
		case "min":
			column(func(b *bucket, n *number) { b.Minimum = n }, func(g *metricdb.Group) metricdb.Value { return g.Min })
		case "median":
			column(func(b *bucket, n *number) { b.Median = n }, func(g *metricdb.Group) metricdb.Value { return metricdb.Float(g.Median) })
		default:
			place := rank
			rank++
			column(func(b *bucket, n *number) {
				if b.Percentiles == nil {
					b.Percentiles = map[string]*number{}
				}
				b.Percentiles[strings.TrimSuffix(name, "-perc")] = n
			}, func(g *metricdb.Group) metricdb.Value { return g.Percentiles[place] })
		}
	}
	return all
}

// order brings aggregations into the order in which percentiles are asked for, each once.
func order(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// numberOf is v as it is sent; whole says that its column is of integers.
func numberOf(v metricdb.Value, whole bool) *number {
	if whole {
		i := v.Bits
		if v.Float {
			i = int64(v.Number())
		}
		return &number{Int: &i}
	}
	f := v.Number()
	if math.IsNaN(f) || math.IsInf(f, 0) { // JSON has neither
		f = 0
	}
	return &number{Float: &f}
}
