package embedded

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// chooseRecords finds the series of a query for records. Which of them belong to its
// set, only the set's blocks know.
func (s *Store) chooseRecords(q metricdb.RecordQuery, keep func(metricdb.Tags) metricdb.Tags) *selection {
	return s.choose(func(tags metricdb.Tags) bool { return metricdb.All(q.Where, tags) }, keep)
}

// Records yields records, week by week.
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
	chosen := s.chooseRecords(q, func(t metricdb.Tags) metricdb.Tags { return t })
	from, to := q.From.UnixNano(), q.To.UnixNano()
	var windows []int64
	for _, field := range q.Fields {
		some, err := s.windows(q.Set+fieldMark+field, from, to)
		if err != nil {
			return err
		}
		windows = append(windows, some...)
	}
	slices.Sort(windows)
	for _, window := range slices.Compact(windows) {
		if err := ctx.Err(); err != nil {
			return err
		}
		records, err := s.recordsIn(q, window, chosen, from, to)
		if err != nil {
			return err
		}
		for _, record := range records {
			if !yield(record) {
				return nil
			}
		}
	}
	return nil
}

// recordsIn puts the fields of a window's records together.
func (s *Store) recordsIn(q metricdb.RecordQuery, window int64, chosen *selection, from, to int64) ([]metricdb.Record, error) {
	type key struct {
		set uint64
		at  int64
	}
	places := map[key]int{}
	var order []key
	var records []metricdb.Record
	for _, field := range q.Fields {
		name := q.Set + fieldMark + field
		columns, err := s.load(name, window, chosen.wants, from, to, nil)
		if err != nil {
			return nil, err
		}
		float := s.float(name)
		for _, one := range chosen.bySet(columns) {
			for i, at := range one.times {
				k := key{one.id, at}
				place, ok := places[k]
				if !ok {
					place = len(records)
					places[k] = place
					order = append(order, k)
					records = append(records, metricdb.Record{Set: q.Set, Time: time.Unix(0, at).UTC(), Tags: chosen.sets[one.id]})
				}
				v := metricdb.Value{Bits: one.values[i], Float: float}
				records[place].Fields = append(records[place].Fields, metricdb.Field{Name: field, Value: v})
			}
		}
	}
	rank := chosen.ranks()
	slices.SortFunc(order, func(a, b key) int {
		if c := cmp.Compare(a.at, b.at); c != 0 {
			return c
		}
		return cmp.Compare(rank[a.set], rank[b.set])
	})
	sorted := make([]metricdb.Record, len(order))
	for i, k := range order {
		sorted[i] = records[places[k]]
	}
	return sorted, nil
}

// RecordTotals adds fields up, week by week.
func (s *Store) RecordTotals(ctx context.Context, q metricdb.RecordQuery, by ...string) (groups []metricdb.RecordGroup, err error) {
	done := s.options.Metrics.Query("record_totals")
	defer func() { done(err) }()
	if q, err = q.Check(); err != nil {
		return nil, err
	}
	if err = metricdb.CheckNames(by); err != nil {
		return nil, err
	}
	keys := slices.Clone(by)
	slices.Sort(keys)
	chosen := s.chooseRecords(q, func(t metricdb.Tags) metricdb.Tags { return t.Only(keys) })
	totals := metricdb.NewTotals(&q, by)
	for place, field := range q.Fields {
		name := q.Set + fieldMark + field
		float := s.float(name)
		err := s.eachSeries(ctx, name, chosen, q.From.UnixNano(), q.To.UnixNano(), func(one column) {
			totals.Add(chosen.sets[chosen.place(one.id)], place, one.values, float)
		})
		if err != nil {
			return nil, err
		}
	}
	return totals.Groups(), nil
}

// eachSeries visits the columns of a query one by one: records of one group may have
// the same time.
func (s *Store) eachSeries(ctx context.Context, name string, chosen *selection, from, to int64, visit func(column)) error {
	windows, err := s.windows(name, from, to)
	if err != nil {
		return err
	}
	for _, window := range windows {
		if err := ctx.Err(); err != nil {
			return err
		}
		columns, err := s.load(name, window, chosen.wants, from, to, nil)
		if err != nil {
			return err
		}
		for _, one := range columns {
			visit(one)
		}
	}
	return nil
}
