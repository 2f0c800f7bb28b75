package rollup

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// t0 is when the worlds of tests begin: a whole hour.
var t0 = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

type sample struct {
	at    int64
	value int64
	tags  metricdb.Tags
}

type column struct {
	metric string
	level  metrics.Kind
}

// memory is a metric database in memory. What it answers, metricdb's own Reducer and
// Totals say.
type memory struct {
	metricdb.DB // what is not needed
	samples     map[column]map[string]sample
	records     map[string]metricdb.Record
	fail        func(records []metricdb.Record) error
	writes      int
}

func newMemory() *memory {
	return &memory{samples: map[column]map[string]sample{}, records: map[string]metricdb.Record{}}
}

func (m *memory) put(metric string, level metrics.Kind, at time.Time, value int64, tags metricdb.Tags) {
	c := column{metric, level}
	if m.samples[c] == nil {
		m.samples[c] = map[string]sample{}
	}
	key := tags.Only(metricdb.Identity(metric, level)).Key() + at.String()
	m.samples[c][key] = sample{at.UnixNano(), value, tags}
}

// batch says that there was a batch.
func (m *memory) batch(cluster string, at time.Time, every time.Duration, shard int) {
	b := metrics.NewLedger(time.Hour).Begin(cluster, at, every)
	b.Shard, b.Nodes = shard, []metrics.NodeStatus{{Name: "n"}}
	if err := m.WriteRecords(context.Background(), []metricdb.Record{metricdb.BatchRecord(b)}); err != nil {
		panic(err)
	}
}

func (m *memory) Runs(_ context.Context, q metricdb.Query, tags ...string) iter.Seq2[metricdb.Run, error] {
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

func (m *memory) selected(q metricdb.Query) (all []sample) {
	for _, s := range m.samples[column{q.Metric, q.Level}] {
		if s.at >= q.From.UnixNano() && s.at < q.To.UnixNano() && metricdb.All(q.Where, s.tags) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b sample) int { return int(a.at - b.at) })
	return all
}

func (m *memory) Aggregate(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, error) {
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

func (m *memory) Resolutions(ctx context.Context, cluster string, from, to time.Time) ([]metricdb.Resolution, error) {
	return metricdb.ReadResolutions(ctx, m, cluster, from, to)
}

func (m *memory) WriteRecords(_ context.Context, records []metricdb.Record) error {
	if m.fail != nil {
		if err := m.fail(records); err != nil {
			return err
		}
	}
	for _, r := range records {
		if err := r.Check(); err != nil {
			return err
		}
		m.writes++
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

func (m *memory) chosen(q metricdb.RecordQuery) (all []metricdb.Record) {
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

func (m *memory) Records(_ context.Context, q metricdb.RecordQuery) iter.Seq2[metricdb.Record, error] {
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

func (m *memory) RecordTotals(_ context.Context, q metricdb.RecordQuery, by ...string) ([]metricdb.RecordGroup, error) {
	q, err := q.Check()
	if err != nil {
		return nil, err
	}
	keys := sorted(by)
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

// tags makes tags of keys and values.
func tags(pairs ...string) metricdb.Tags {
	var labels []metrics.Label
	for i := 0; i < len(pairs); i += 2 {
		labels = append(labels, metrics.Label{Key: pairs[i], Value: pairs[i+1]})
	}
	return metricdb.MakeTags(labels...)
}

func podTags(cluster, ns, name, uid, labels string) metricdb.Tags {
	return tags("type", "pod", "cluster_name", cluster, "namespace_name", ns, "pod_name", name, "pod_id", uid, "labels", labels, "nodename", "n")
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// engineAt makes an engine whose clock stands.
func engineAt(db metricdb.DB, now time.Time, rolled ...Rolled) *Engine {
	return New(db, Options{Rolled: rolled, Now: func() time.Time { return now }}, quiet())
}

func pass(t *testing.T, e *Engine) {
	t.Helper()
	if err := e.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
}
