package billing

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// fakeSet is the samples of one metric of one set.
type fakeSet struct {
	metric string
	level  metrics.Kind
	tags   metricdb.Tags
	times  []int64
	values []int64
	float  bool
}

// fakeDB keeps everything in memory, and answers with the contract's own definitions.
type fakeDB struct {
	metricdb.DB // of which nothing but what is below is called
	sets        []*fakeSet
	records     []metricdb.Record
	resolutions []metricdb.Resolution
	fails       error
	failsAfter  int // points

	mu    sync.Mutex
	asked []metricdb.Query
}

func labels(pairs ...string) metricdb.Tags {
	var all []metrics.Label
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, metrics.Label{Key: pairs[i], Value: pairs[i+1]})
	}
	return metricdb.MakeTags(all...)
}

// add adds samples of a set, one each every, from a time on.
func (f *fakeDB) add(metric string, level metrics.Kind, tags metricdb.Tags, from time.Time, every time.Duration, values ...int64) {
	d, known := metrics.Lookup(metric)
	s := &fakeSet{metric: metric, level: level, tags: tags.With("type", level.String()), float: known && d.Float}
	if tags.Get("cluster_name") == "" {
		s.tags = s.tags.With("cluster_name", "default")
	}
	for i, v := range values {
		if s.float {
			v = metrics.FloatBits(float64(v))
		}
		s.times = append(s.times, from.Add(time.Duration(i)*every).UnixNano())
		s.values = append(s.values, v)
	}
	f.sets = append(f.sets, s)
}

// spans says that batches of cluster default came every so often in [from, to).
func (f *fakeDB) spans(from, to time.Time, every time.Duration) {
	f.resolutions = append(f.resolutions, metricdb.Resolution{
		Cluster: "default", Every: every, First: from, Last: to.Add(-every), Batches: int(to.Sub(from) / every),
	})
}

// closed says of each hour in [from, to) that its batches are there, one a minute, and
// that it is closed with so many of them.
func (f *fakeDB) closed(from, to time.Time, batches int64) {
	field := func(name string, v int64) metricdb.Field { return metricdb.Field{Name: name, Value: metricdb.Int(v)} }
	for hour := from; hour.Before(to); hour = hour.Add(time.Hour) {
		for i := range 60 {
			f.records = append(f.records, metricdb.Record{
				Set: metricdb.BatchSet, Time: hour.Add(time.Duration(i) * time.Minute), Tags: labels("cluster_name", "default"),
				Fields: []metricdb.Field{field("failed", 0), field("nodes", 1)},
			})
		}
		f.records = append(f.records, metricdb.Record{
			Set: rollup.HoursSet, Time: hour, Tags: labels("cluster_name", "default"),
			Fields: []metricdb.Field{field("batches", batches), field("closed", 1), field("nodes", batches)},
		})
	}
}

func (f *fakeDB) see(q metricdb.Query) (metricdb.Query, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, q)
	if f.fails != nil && f.failsAfter == 0 {
		return q, f.fails
	}
	return q.Check()
}

func (f *fakeDB) Runs(_ context.Context, q metricdb.Query, tags ...string) iter.Seq2[metricdb.Run, error] {
	return func(yield func(metricdb.Run, error) bool) {
		q, err := f.see(q)
		if err != nil {
			yield(metricdb.Run{}, err)
			return
		}
		for _, run := range f.runs(q, tags) {
			if !yield(run, nil) {
				return
			}
		}
	}
}

func (f *fakeDB) runs(q metricdb.Query, tags []string) (runs []metricdb.Run) {
	keys := slices.Concat(metricdb.Identity(q.Metric, q.Level), tags)
	slices.Sort(keys)
	keys = slices.Compact(keys)
	for _, s := range f.sets {
		if s.metric != q.Metric || s.level != q.Level || !metricdb.All(q.Where, s.tags) {
			continue
		}
		run := metricdb.Run{Tags: s.tags.Only(keys), Float: s.float}
		for i, at := range s.times {
			if at >= q.From.UnixNano() && at < q.To.UnixNano() {
				run.Times, run.Values = append(run.Times, at), append(run.Values, s.values[i])
			}
		}
		if len(run.Times) > 0 {
			runs = append(runs, run)
		}
	}
	return runs
}

func (f *fakeDB) Points(_ context.Context, q metricdb.Query, limit int) iter.Seq2[metricdb.Point, error] {
	return func(yield func(metricdb.Point, error) bool) {
		q, err := f.see(q)
		if err != nil {
			yield(metricdb.Point{}, err)
			return
		}
		var all []metricdb.Point
		for _, s := range f.sets {
			if s.metric != q.Metric || s.level != q.Level || !metricdb.All(q.Where, s.tags) {
				continue
			}
			for i, at := range s.times {
				if at >= q.From.UnixNano() && at < q.To.UnixNano() {
					all = append(all, metricdb.Point{Time: time.Unix(0, at).UTC(), Value: metricdb.Value{Bits: s.values[i], Float: s.float}, Tags: s.tags})
				}
			}
		}
		slices.SortFunc(all, func(a, b metricdb.Point) int { return cmp.Or(b.Time.Compare(a.Time), a.Tags.Compare(b.Tags)) })
		for i, p := range all {
			if f.fails != nil && i >= f.failsAfter {
				yield(metricdb.Point{}, f.fails)
				return
			}
			if limit > 0 && i >= limit || !yield(p, nil) {
				return
			}
		}
	}
}

func (f *fakeDB) Aggregate(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, error) {
	q, err := f.see(q)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	resolutions, _ := f.Resolutions(ctx, "", q.From, q.To)
	reducer := metricdb.NewReducer(q, g, resolutions)
	if g.Increase {
		q.From = q.From.Add(-metricdb.Lookback)
	}
	for _, run := range f.runs(q, g.By) {
		reducer.Add(&run)
	}
	return reducer.Groups(), nil
}

func (f *fakeDB) Tags(_ context.Context, q metricdb.Query, by ...string) ([]metricdb.Tags, error) {
	q, err := f.see(q)
	if err != nil {
		return nil, err
	}
	var all []metricdb.Tags
	sorted := slices.Sorted(slices.Values(by))
	for _, run := range f.runs(q, by) {
		all = append(all, run.Tags.Only(sorted))
	}
	metricdb.SortTags(all, by)
	return slices.CompactFunc(all, func(a, b metricdb.Tags) bool { return a.Compare(b) == 0 }), nil
}

func (f *fakeDB) Metrics(_ context.Context, q metricdb.Query) (names []string, err error) {
	for _, s := range f.sets {
		if s.level == q.Level {
			names = append(names, s.metric)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), f.fails
}

func (f *fakeDB) Resolutions(_ context.Context, cluster string, from, to time.Time) (all []metricdb.Resolution, err error) {
	if f.fails != nil && f.failsAfter == 0 {
		return nil, f.fails
	}
	for _, r := range f.resolutions {
		if (cluster != "" && r.Cluster != cluster) || !r.First.Before(to) || r.Last.Before(from) {
			continue
		}
		for r.First.Before(from) {
			r.First, r.Batches = r.First.Add(r.Every), r.Batches-1
		}
		for !r.Last.Before(to) {
			r.Last, r.Batches = r.Last.Add(-r.Every), r.Batches-1
		}
		all = append(all, r)
	}
	return all, nil
}

func (f *fakeDB) Records(_ context.Context, q metricdb.RecordQuery) iter.Seq2[metricdb.Record, error] {
	return func(yield func(metricdb.Record, error) bool) {
		q, err := q.Check()
		if err != nil {
			yield(metricdb.Record{}, err)
			return
		}
		for _, r := range f.records {
			if r.Set == q.Set && !r.Time.Before(q.From) && r.Time.Before(q.To) && metricdb.All(q.Where, r.Tags) && !yield(r, nil) {
				return
			}
		}
	}
}

func (f *fakeDB) RecordTotals(ctx context.Context, q metricdb.RecordQuery, by ...string) ([]metricdb.RecordGroup, error) {
	totals := metricdb.NewTotals(&q, by)
	sorted := slices.Sorted(slices.Values(by))
	for r, err := range f.Records(ctx, q) {
		if err != nil {
			return nil, err
		}
		for i, name := range q.Fields {
			if v, ok := r.Get(name); ok {
				totals.Add(r.Tags.Only(sorted), i, []int64{v.Bits}, v.Float)
			}
		}
	}
	return totals.Groups(), nil
}

// slowDB never answers an aggregation before its caller loses patience.
type slowDB struct{ *fakeDB }

func (s slowDB) Resolutions(ctx context.Context, _ string, _, _ time.Time) ([]metricdb.Resolution, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
