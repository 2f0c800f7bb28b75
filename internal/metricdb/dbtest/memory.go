package dbtest

import (
	"context"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

type sample struct {
	at    int64
	value int64
	tags  metricdb.Tags
}

type column struct {
	metric string
	level  metrics.Kind
}

// Memory is a metric database in memory. What it answers, metricdb's own Reducer and
// Totals say.
type Memory struct {
	metricdb.DB // what is not needed
	samples     map[column]map[string]sample
	records     map[string]metricdb.Record
	Fail        func(records []metricdb.Record) error // fails writing records, if it is set and does
	Writes      int                                   // records that were written
}

// NewMemory returns an empty one.
func NewMemory() *Memory {
	return &Memory{samples: map[column]map[string]sample{}, records: map[string]metricdb.Record{}}
}

// Put stores a sample; another one of the same set and time is replaced.
func (m *Memory) Put(metric string, level metrics.Kind, at time.Time, value int64, tags metricdb.Tags) {
	c := column{metric, level}
	if m.samples[c] == nil {
		m.samples[c] = map[string]sample{}
	}
	key := tags.Only(metricdb.Identity(metric, level)).Key() + at.String()
	m.samples[c][key] = sample{at.UnixNano(), value, tags}
}

// Batch says that there was a batch.
func (m *Memory) Batch(cluster string, at time.Time, every time.Duration, shard int) {
	b := metrics.NewLedger(time.Hour).Begin(cluster, at, every)
	b.Shard, b.Nodes = shard, []metrics.NodeStatus{{Name: "n"}}
	if err := m.WriteRecords(context.Background(), []metricdb.Record{metricdb.BatchRecord(b)}); err != nil {
		panic(err)
	}
}

// Runs yields samples as the contract says.
func (m *Memory) Runs(_ context.Context, q metricdb.Query, tags ...string) iter.Seq2[metricdb.Run, error] {
	return func(yield func(metricdb.Run, error) bool) {
		keys := slices.Concat(metricdb.Identity(q.Metric, q.Level), tags)
		slices.Sort(keys)
		runs := map[string]*metricdb.Run{}
		d, ok := metrics.Lookup(q.Metric)
		for _, s := range m.selected(q) {
			only := s.tags.Only(keys)
			run := runs[only.Key()]
			if run == nil {
				run = &metricdb.Run{Tags: only, Float: ok && d.Float}
				runs[only.Key()] = run
			}
			run.Times, run.Values = append(run.Times, s.at), append(run.Values, s.value)
		}
		for _, run := range runs { // in any order
			if !yield(*run, nil) {
				return
			}
		}
	}
}

// Points yields samples as the contract says.
func (m *Memory) Points(_ context.Context, q metricdb.Query, limit int) iter.Seq2[metricdb.Point, error] {
	return func(yield func(metricdb.Point, error) bool) {
		d, ok := metrics.Lookup(q.Metric)
		all := m.selected(q)
		for i, s := range slices.Backward(all) {
			point := metricdb.Point{Time: time.Unix(0, s.at).UTC(), Value: metricdb.Value{Bits: s.value, Float: ok && d.Float}, Tags: s.tags}
			if limit > 0 && len(all)-i > limit || !yield(point, nil) {
				return
			}
		}
	}
}

func (m *Memory) selected(q metricdb.Query) (all []sample) {
	for _, s := range m.samples[column{q.Metric, q.Level}] {
		if s.at >= q.From.UnixNano() && s.at < q.To.UnixNano() && metricdb.All(q.Where, s.tags) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b sample) int { return int(a.at - b.at) })
	return all
}

// Aggregate computes by metricdb.Reducer.
func (m *Memory) Aggregate(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, error) {
	resolutions, err := m.Resolutions(ctx, "", q.From, q.To)
	if err != nil {
		return nil, err
	}
	reducer := metricdb.NewReducer(q, g, resolutions)
	if g.Increase {
		q.From = q.From.Add(-metricdb.Lookback)
	}
	d, ok := metrics.Lookup(q.Metric)
	for _, s := range m.selected(q) {
		reducer.Add(&metricdb.Run{Tags: s.tags, Times: []int64{s.at}, Values: []int64{s.value}, Float: ok && d.Float})
	}
	return reducer.Groups(), nil
}

// Resolutions reads the records of batches.
func (m *Memory) Resolutions(ctx context.Context, cluster string, from, to time.Time) ([]metricdb.Resolution, error) {
	return metricdb.ReadResolutions(ctx, m, cluster, from, to)
}

// WriteRecords stores records unless Fail says otherwise.
func (m *Memory) WriteRecords(_ context.Context, records []metricdb.Record) error {
	if m.Fail != nil {
		if err := m.Fail(records); err != nil {
			return err
		}
	}
	for _, r := range records {
		if err := r.Check(); err != nil {
			return err
		}
		m.Writes++
		key := r.Set + "\x00" + r.Time.UTC().String() + "\x00" + r.Tags.Key()
		was, ok := m.records[key]
		if !ok {
			was = metricdb.Record{Set: r.Set, Time: r.Time.UTC(), Tags: r.Tags}
		}
		was.Fields = slices.Clone(was.Fields)
		for _, field := range r.Fields {
			i := slices.IndexFunc(was.Fields, func(f metricdb.Field) bool { return f.Name == field.Name })
			if i < 0 {
				was.Fields = append(was.Fields, field)
			} else {
				was.Fields[i] = field
			}
		}
		m.records[key] = was
	}
	return nil
}

// Drop forgets the records of a set.
func (m *Memory) Drop(set string) {
	maps.DeleteFunc(m.records, func(_ string, r metricdb.Record) bool { return r.Set == set })
}

func (m *Memory) chosen(q metricdb.RecordQuery) (all []metricdb.Record) {
	for _, r := range m.records {
		if r.Set != q.Set || r.Time.Before(q.From) || !r.Time.Before(q.To) || !metricdb.All(q.Where, r.Tags) {
			continue
		}
		some := metricdb.Record{Set: r.Set, Time: r.Time, Tags: r.Tags}
		for _, name := range q.Fields {
			if v, ok := r.Get(name); ok {
				some.Fields = append(some.Fields, metricdb.Field{Name: name, Value: v})
			}
		}
		if len(some.Fields) > 0 {
			all = append(all, some)
		}
	}
	slices.SortFunc(all, func(a, b metricdb.Record) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return a.Tags.Compare(b.Tags)
	})
	return all
}

// Records yields records as the contract says.
func (m *Memory) Records(_ context.Context, q metricdb.RecordQuery) iter.Seq2[metricdb.Record, error] {
	return func(yield func(metricdb.Record, error) bool) {
		q, err := q.Check()
		if err != nil {
			yield(metricdb.Record{}, err)
			return
		}
		for _, r := range m.chosen(q) {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// RecordTotals computes by metricdb.Totals.
func (m *Memory) RecordTotals(_ context.Context, q metricdb.RecordQuery, by ...string) ([]metricdb.RecordGroup, error) {
	q, err := q.Check()
	if err != nil {
		return nil, err
	}
	keys := slices.Sorted(slices.Values(by))
	totals := metricdb.NewTotals(&q, by)
	for _, r := range m.chosen(q) {
		for i, name := range q.Fields {
			if v, ok := r.Get(name); ok {
				totals.Add(r.Tags.Only(keys), i, []int64{v.Bits}, v.Float)
			}
		}
	}
	return totals.Groups(), nil
}
