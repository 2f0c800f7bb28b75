package rollup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// writeSize is how many records are written at a time.
const writeSize = 5000

// storing is the roll-ups of one metric and level of an hour or a day, and their seal.
type storing struct {
	task
	cluster string
	span    time.Duration
	begin   time.Time
	cells   []*cell
	done    rolledSeal
}

// store writes the roll-ups, and then their seal. From the first write until the last
// they are of no certain batches: also where nothing was written before, since another engine may
// have come first, with batches that these roll-ups do not know of.
func (e *Engine) store(ctx context.Context, s *storing) error {
	records := make([]metricdb.Record, len(s.cells))
	for i, cell := range s.cells {
		records[i] = cell.record(s.metric, s.span, s.begin)
	}
	if s.before {
		var err error
		if records, err = e.changed(ctx, s, records); err != nil {
			return err
		}
	}
	open := rolledSeal{seal: seal{-1, -1}, late: s.was.late, every: union(s.was.every, s.done.every)}
	all := append([]metricdb.Record{open.record(s.span, s.cluster, s.pair, s.begin)}, records...)
	for some := range slices.Chunk(all, writeSize) {
		if err := e.db.WriteRecords(ctx, some); err != nil {
			return fmt.Errorf("write roll-ups of %s of %v at %v: %w", s.metric, s.level, s.begin, err)
		}
	}
	e.options.Metrics.records.Add(float64(len(records)))
	if err := e.db.WriteRecords(ctx, []metricdb.Record{s.done.record(s.span, s.cluster, s.pair, s.begin)}); err != nil {
		return fmt.Errorf("seal %s of %v at %v: %w", s.metric, s.level, s.begin, err)
	}
	return nil
}

// wide is 1 if some sum is beyond int64.
func wide(cells []*cell) int64 {
	for _, c := range cells {
		for _, s := range slices.Concat(c.steps, c.billed) {
			if !c.float && !s.sum.total().Exact {
				return 1
			}
		}
	}
	return 0
}

// changed returns those of the records that are not written so already, marked as
// late. What the former ones had and these lack is set to 0: fields cannot be removed.
func (e *Engine) changed(ctx context.Context, s *storing, records []metricdb.Record) (late []metricdb.Record, err error) {
	former := map[string]metricdb.Record{}
	q := recordQuery(s.cluster, s.pair, s.span, s.begin, s.begin.Add(s.span))
	q.Fields = allFieldsOf(s.metric, union(s.was.every, s.done.every))
	for r, err := range e.db.Records(ctx, q) {
		if err != nil {
			return nil, fmt.Errorf("read former roll-ups: %w", err)
		}
		former[r.Tags.Key()] = r
	}
	for _, r := range records {
		was := former[r.Tags.Key()]
		same := true
		for _, field := range was.Fields {
			if _, ok := r.Get(field.Name); !ok && field.Name != "late" {
				r.Fields = append(r.Fields, metricdb.Field{Name: field.Name, Value: metricdb.Value{Float: field.Value.Float}})
			}
		}
		for _, field := range r.Fields {
			v, ok := was.Get(field.Name)
			same = same && ok && v == field.Value
		}
		if same {
			continue
		}
		if r.Int("late") == 0 {
			r.Fields = append(r.Fields, metricdb.Field{Name: "late", Value: metricdb.Int(1)})
		}
		r.Sort()
		late = append(late, r)
	}
	return late, nil
}

// recordQuery selects a cluster's roll-ups of hours or days.
func recordQuery(cluster string, p pair, span time.Duration, from, to time.Time) metricdb.RecordQuery {
	return metricdb.RecordQuery{
		Set: setOf(p.metric, span), From: from, To: to,
		Where: []metricdb.Match{
			metricdb.Is(metricdb.TagCluster, cluster), metricdb.Is(TagMetric, p.metric), metricdb.Is(TagLevel, p.level.String()),
		},
	}
}
