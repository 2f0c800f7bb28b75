package embedded

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// float says whether the values of name are floats.
func (s *Store) float(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.names[name]
}

// fits says which series a query is about. Series of records have no type.
func fits(q metricdb.Query) func(metricdb.Tags) bool {
	level := q.Level.String()
	return func(tags metricdb.Tags) bool {
		return tags.Get(metricdb.TagType) == level && metricdb.All(q.Where, tags)
	}
}

// Runs yields samples, hour by hour.
func (s *Store) Runs(ctx context.Context, q metricdb.Query, tags ...string) iter.Seq2[metricdb.Run, error] {
	return func(yield func(metricdb.Run, error) bool) {
		q, err := q.Check()
		if err == nil {
			err = metricdb.CheckNames(tags)
		}
		if err != nil {
			yield(metricdb.Run{}, err)
			return
		}
		if err := s.runs(ctx, q, tags, q.From.UnixNano(), func(run metricdb.Run) bool { return yield(run, nil) }); err != nil {
			yield(metricdb.Run{}, err)
		}
	}
}

func (s *Store) runs(ctx context.Context, q metricdb.Query, tags []string, from int64, yield func(metricdb.Run) bool) error {
	return s.hours(ctx, q, tags, from, func(runs []metricdb.Run, _ int64) bool {
		for _, run := range runs {
			if !yield(run) {
				return false
			}
		}
		return true
	})
}

// hours visits the runs of each hour that has samples, and says when it ends.
func (s *Store) hours(ctx context.Context, q metricdb.Query, tags []string, from int64, visit func(runs []metricdb.Run, end int64) bool) error {
	keys := slices.Concat(metricdb.Identity(q.Metric, q.Level), tags)
	slices.Sort(keys)
	chosen := s.choose(fits(q), func(t metricdb.Tags) metricdb.Tags { return t.Only(keys) })
	float := s.float(q.Metric)
	windows, err := s.windows(q.Metric, from, q.To.UnixNano())
	if err != nil {
		return err
	}
	for _, window := range windows {
		if err := ctx.Err(); err != nil {
			return err
		}
		columns, err := s.load(q.Metric, window, chosen.wants, from, q.To.UnixNano(), nil)
		if err != nil {
			return err
		}
		columns = chosen.bySet(columns)
		runs := make([]metricdb.Run, len(columns))
		for i, one := range columns {
			runs[i] = metricdb.Run{Tags: chosen.sets[one.id], Times: one.times, Values: one.values, Float: float}
		}
		if !visit(runs, window+sampleWindow) {
			return nil
		}
	}
	return nil
}

// Aggregate reduces the runs.
func (s *Store) Aggregate(ctx context.Context, q metricdb.Query, g metricdb.Grouping) (groups []metricdb.Group, err error) {
	done := s.options.Metrics.Query("aggregate")
	defer func() { done(err) }()
	if q, err = q.Check(); err != nil {
		return nil, err
	}
	if err = g.Check(); err != nil {
		return nil, err
	}
	resolutions, err := s.Resolutions(ctx, "", q.From, q.To)
	if err != nil {
		return nil, err
	}
	from := q.From.UnixNano()
	if g.Increase {
		from -= int64(metricdb.Lookback)
	}
	reducer := metricdb.NewReducer(q, g, resolutions)
	err = s.hours(ctx, q, g.By, from, func(runs []metricdb.Run, end int64) bool {
		for i := range runs {
			reducer.Add(&runs[i])
		}
		reducer.Passed(end)
		return true
	})
	if err != nil {
		return nil, err
	}
	return reducer.Groups(), nil
}

// Points yields samples, hour by hour backwards.
func (s *Store) Points(ctx context.Context, q metricdb.Query, limit int) iter.Seq2[metricdb.Point, error] {
	return func(yield func(metricdb.Point, error) bool) {
		q, err := q.Check()
		if err == nil {
			err = s.points(ctx, q, limit, func(p metricdb.Point) bool { return yield(p, nil) })
		}
		if err != nil {
			yield(metricdb.Point{}, err)
		}
	}
}

func (s *Store) points(ctx context.Context, q metricdb.Query, limit int, yield func(metricdb.Point) bool) error {
	chosen := s.choose(fits(q), func(t metricdb.Tags) metricdb.Tags { return t })
	float := s.float(q.Metric)
	from, to := q.From.UnixNano(), q.To.UnixNano()
	windows, err := s.windows(q.Metric, from, to)
	if err != nil {
		return err
	}
	left := limit
	for _, window := range slices.Backward(windows) {
		if err := ctx.Err(); err != nil {
			return err
		}
		columns, err := s.load(q.Metric, window, chosen.wants, from, to, nil)
		if err != nil {
			return err
		}
		columns = chosen.bySet(columns)
		rank := chosen.ranks()
		slices.SortFunc(columns, func(a, b column) int { return cmp.Compare(rank[a.id], rank[b.id]) })
		for _, p := range newest(columns, left) {
			one := &columns[p.column]
			v := metricdb.Value{Bits: one.values[p.row], Float: float}
			if !yield(metricdb.Point{Time: time.Unix(0, one.times[p.row]).UTC(), Value: v, Tags: chosen.sets[one.id]}) {
				return nil
			}
			if left--; left == 0 {
				return nil
			}
		}
	}
	return nil
}

type place struct{ column, row int32 }

// newest returns the places of all samples, or of the limit newest ones, newest first.
func newest(columns []column, limit int) []place {
	var all []place
	for c := range columns {
		first := 0
		if n := len(columns[c].times); limit > 0 && n > limit {
			first = n - limit
		}
		for row := first; row < len(columns[c].times); row++ {
			all = append(all, place{int32(c), int32(row)})
		}
	}
	slices.SortFunc(all, func(a, b place) int {
		if c := cmp.Compare(columns[b.column].times[b.row], columns[a.column].times[a.row]); c != 0 {
			return c
		}
		return cmp.Compare(a.column, b.column) // by their tags
	})
	return all
}

// Resolutions reads the records of batches.
func (s *Store) Resolutions(ctx context.Context, cluster string, from, to time.Time) ([]metricdb.Resolution, error) {
	return metricdb.ReadResolutions(ctx, s, cluster, from, to)
}

// Tags lists combinations of tags. Hours that lie inside the interval are not
// decompressed for it.
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
	chosen := s.choose(fits(q), func(t metricdb.Tags) metricdb.Tags { return t.Only(keys) })
	seen := map[int32]struct{}{}
	err = s.present(ctx, q.Metric, chosen, q.From.UnixNano(), q.To.UnixNano(), func(id uint64) bool {
		seen[chosen.place(id)] = struct{}{}
		return true
	})
	if err != nil {
		return nil, err
	}
	for place := range seen {
		if tags := chosen.sets[place]; len(tags) > 0 {
			all = append(all, tags)
		}
	}
	metricdb.SortTags(all, by)
	return all, nil
}

// Metrics lists the metrics that have samples.
func (s *Store) Metrics(ctx context.Context, q metricdb.Query) (names []string, err error) {
	done := s.options.Metrics.Query("metrics")
	defer func() { done(err) }()
	q.Metric = metrics.Describe(metrics.Uptime).Name // any will do
	if q, err = q.Check(); err != nil {
		return nil, err
	}
	chosen := s.choose(fits(q), func(t metricdb.Tags) metricdb.Tags { return t })
	s.mu.RLock()
	all := make([]string, 0, len(s.names))
	for name := range s.names {
		if windowOf(name) == sampleWindow {
			all = append(all, name)
		}
	}
	s.mu.RUnlock()
	slices.Sort(all)
	for _, name := range all {
		err := s.present(ctx, name, chosen, q.From.UnixNano(), q.To.UnixNano(), func(uint64) bool {
			names = append(names, name)
			return false
		})
		if err != nil {
			return nil, err
		}
	}
	return names, nil
}
