package influx

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Tags lists combinations of tags.
func (s *Store) Tags(ctx context.Context, q metricdb.Query, by ...string) (all []metricdb.Tags, err error) {
	done := s.options.Metrics.Query("tags")
	defer func() { done(err) }()
	if q, err = q.Check(); err != nil {
		return nil, err
	}
	if err = metricdb.CheckNames(by); err != nil {
		return nil, err
	}
	keys := slices.Clone(by)
	slices.Sort(keys)
	seen := map[string]struct{}{}
	add := func(tags metricdb.Tags) {
		tags = tags.Only(keys)
		key := tags.Key()
		if _, ok := seen[key]; !ok && len(tags) > 0 {
			seen[key] = struct{}{}
			all = append(all, tags)
		}
	}
	usesPodID := aboutPods(q.Level) && (slices.Contains(by, metricdb.TagPodID) ||
		slices.ContainsFunc(q.Where, func(m metricdb.Match) bool { return m.Tag == metricdb.TagPodID }))
	if usesPodID || s.flux() {
		err = s.runs(ctx, q, by, q.From, func(run metricdb.Run) bool { add(run.Tags); return true })
	} else {
		plan := reading{q: q}
		measurement, field := s.options.place(q.Metric)
		st := newStatement().raw("SELECT first("+quoteIdent(field)+")").from(samplePolicy, measurement).
			where(q.From, q.To, plan.conditions()).groupBy(keys, 0)
		err = s.ask(ctx, st, func(one *series, _ row) bool { add(one.tags); return true })
	}
	metricdb.SortTags(all, by)
	return all, err
}

// Metrics lists the metrics that have samples.
func (s *Store) Metrics(ctx context.Context, q metricdb.Query) (names []string, err error) {
	done := s.options.Metrics.Query("metrics")
	defer func() { done(err) }()
	q.Metric = metrics.Describe(metrics.Uptime).Name // any will do
	if q, err = q.Check(); err != nil {
		return nil, err
	}
	if s.flux() {
		names, err = s.fluxMetrics(ctx, q)
	} else {
		plan := reading{q: q}
		st := newStatement().raw("SELECT first(*) FROM ").ident(samplePolicy).raw("./.*/").where(q.From, q.To, plan.conditions())
		err = s.ask(ctx, st, func(one *series, r row) bool {
			for i := 1; i < len(one.columns); i++ {
				if !r.null(i) {
					names = append(names, s.options.metric(one.name, strings.TrimPrefix(one.columns[i], "first_")))
				}
			}
			return true
		})
	}
	slices.Sort(names)
	return slices.Compact(names), err
}

// Records yields records, ascending.
func (s *Store) Records(ctx context.Context, q metricdb.RecordQuery) iter.Seq2[metricdb.Record, error] {
	return func(yield func(metricdb.Record, error) bool) {
		q, err := q.Check()
		if err == nil {
			err = s.records(ctx, q, func(r metricdb.Record) bool { return yield(r, nil) })
		}
		if err != nil {
			yield(metricdb.Record{}, err)
		}
	}
}

func (s *Store) records(ctx context.Context, q metricdb.RecordQuery, yield func(metricdb.Record) bool) error {
	if s.flux() {
		return s.fluxRecords(ctx, q, yield)
	}
	st := newStatement().raw("SELECT ").idents(q.Fields).raw(", *::tag").from(recordPolicy, q.Set).
		where(q.From, q.To, q.Where).raw(" ORDER BY time ASC")
	var same []metricdb.Record
	stopped := false
	flush := func() bool {
		slices.SortFunc(same, func(a, b metricdb.Record) int { return a.Tags.Compare(b.Tags) })
		for _, r := range same {
			if stopped = stopped || !yield(r); stopped {
				break
			}
		}
		same = same[:0]
		return !stopped
	}
	err := s.ask(ctx, st, func(one *series, r row) bool {
		record := metricdb.Record{Set: q.Set, Time: time.Unix(0, r.int(0)).UTC(), Tags: cellTags(one.columns, r, 1+len(q.Fields))}
		for i, name := range q.Fields {
			if !r.null(i + 1) {
				record.Fields = append(record.Fields, metricdb.Field{Name: name, Value: r.number(i + 1)})
			}
		}
		if len(record.Fields) == 0 {
			return true
		}
		if len(same) > 0 && !same[0].Time.Equal(record.Time) && !flush() {
			return false
		}
		same = append(same, record)
		return true
	})
	if err == nil && !stopped {
		flush()
	}
	return err
}

// RecordTotals lets the server add up, or reads the records where that takes less.
func (s *Store) RecordTotals(ctx context.Context, q metricdb.RecordQuery, by ...string) (groups []metricdb.RecordGroup, err error) {
	done := s.options.Metrics.Query("record_totals")
	defer func() { done(err) }()
	if q, err = q.Check(); err != nil {
		return nil, err
	}
	if err = metricdb.CheckNames(by); err != nil {
		return nil, err
	}
	if !s.flux() {
		groups, ok, err := s.cheapestTotals(ctx, q, by)
		if ok || err != nil {
			return groups, err
		}
	}
	keys := slices.Clone(by)
	slices.Sort(keys)
	totals := metricdb.NewTotals(&q, by)
	err = s.records(ctx, q, func(r metricdb.Record) bool {
		for _, field := range r.Fields {
			totals.Add(r.Tags.Only(keys), slices.Index(q.Fields, field.Name), []int64{field.Value.Bits}, field.Value.Float)
		}
		return true
	})
	return totals.Groups(), err
}
