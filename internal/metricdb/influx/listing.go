package influx

import (
	"context"
	"iter"
	"math"
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
		err = s.ask(ctx, st, func(one *series) bool { add(one.tags()); return true })
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
		err = s.ask(ctx, st, func(one *series) bool {
			for _, r := range one.Values.rows {
				for i := 1; i < len(one.Columns); i++ {
					if !r.null(i) {
						names = append(names, s.options.metric(one.Name, strings.TrimPrefix(one.Columns[i], "first_")))
					}
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
	floats, err := s.fieldTypes(ctx, q.Set)
	if err != nil {
		return err
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
	err = s.ask(ctx, st, func(one *series) bool {
		for _, r := range one.Values.rows {
			record := metricdb.Record{Set: q.Set, Time: time.Unix(0, r.int(0)).UTC(), Tags: cellTags(one.Columns, r, 1+len(q.Fields))}
			for i, name := range q.Fields {
				if !r.null(i + 1) {
					record.Fields = append(record.Fields, metricdb.Field{Name: name, Value: r.value(i+1, floats[name])})
				}
			}
			if len(record.Fields) == 0 {
				continue
			}
			if len(same) > 0 && !same[0].Time.Equal(record.Time) && !flush() {
				return false
			}
			same = append(same, record)
		}
		return true
	})
	if err == nil && !stopped {
		flush()
	}
	return err
}

// fieldTypes says which fields of a set of records are floats: a float without a
// fraction looks like an integer in an answer.
func (s *Store) fieldTypes(ctx context.Context, set string) (floats map[string]bool, err error) {
	floats = map[string]bool{}
	st := newStatement().raw("SHOW FIELD KEYS").from(recordPolicy, set)
	err = s.ask(ctx, st, func(one *series) bool {
		for _, r := range one.Values.rows {
			floats[r.text(0)] = r.text(1) == "float"
		}
		return true
	})
	return floats, err
}

// RecordTotals lets the server add up.
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
		groups, ok, err := s.serverTotals(ctx, q, by)
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

// serverTotals is not ok if a sum may have gone beyond int64 on the way.
func (s *Store) serverTotals(ctx context.Context, q metricdb.RecordQuery, by []string) (groups []metricdb.RecordGroup, ok bool, err error) {
	floats, err := s.fieldTypes(ctx, q.Set)
	if err != nil {
		return nil, false, err
	}
	keys := slices.Clone(by)
	slices.Sort(keys)
	st := newStatement().raw("SELECT ")
	functions := totalsOf(q.Want)
	for i, field := range q.Fields {
		for k, function := range functions {
			if i+k > 0 {
				st.raw(", ")
			}
			st.raw(function.name + "(" + quoteIdent(field) + ")")
		}
	}
	st.from(recordPolicy, q.Set).where(q.From, q.To, q.Where).groupBy(keys, 0)
	ok = true
	err = s.ask(ctx, st, func(one *series) bool {
		for _, r := range one.Values.rows {
			group := metricdb.RecordGroup{Tags: one.tags()}
			for i, name := range q.Fields {
				totals := metricdb.FieldTotals{Name: name}
				for k, function := range functions {
					if cell := 1 + len(functions)*i + k; !r.null(cell) {
						function.read(&totals, r, cell, floats[name])
					}
				}
				group.Fields = append(group.Fields, totals)
				greatest := max(math.Abs(totals.Min.Number()), math.Abs(totals.Max.Number()))
				ok = ok && (floats[name] || !q.Want.Has(metricdb.WantSum) || float64(totals.Count)*greatest < 1<<62)
			}
			groups = append(groups, group)
		}
		return ok
	})
	metricdb.SortRecordGroups(groups, by)
	return groups, ok, err
}

// totalFunction is a function of InfluxQL, and what its answer means.
type totalFunction struct {
	name string
	want metricdb.Want
	read func(t *metricdb.FieldTotals, r row, cell int, float bool)
}

func totalsOf(want metricdb.Want) (some []totalFunction) {
	for _, function := range []totalFunction{
		{"count", metricdb.WantCount, func(t *metricdb.FieldTotals, r row, cell int, _ bool) { t.Count = r.int(cell) }},
		{"sum", metricdb.WantSum, func(t *metricdb.FieldTotals, r row, cell int, float bool) { t.Sum = total(r, cell, float) }},
		{"min", metricdb.WantMin, func(t *metricdb.FieldTotals, r row, cell int, float bool) { t.Min = r.value(cell, float) }},
		{"max", metricdb.WantMax, func(t *metricdb.FieldTotals, r row, cell int, float bool) { t.Max = r.value(cell, float) }},
	} {
		if want.Has(function.want) {
			some = append(some, function)
		}
	}
	return some
}

func total(r row, cell int, float bool) metricdb.Total {
	if float {
		return metricdb.Total{Float: r.value(cell, true).Number()}
	}
	return metricdb.Total{Int: r.int(cell), Exact: true}
}
