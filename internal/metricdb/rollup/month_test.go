package rollup

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/embedded"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// BenchmarkMonth answers for a month of 1000 pods in 50 namespaces, from roll-ups in
// the embedded database.
func BenchmarkMonth(b *testing.B) {
	db, err := embedded.Open(embedded.Options{Dir: b.TempDir()}, quiet())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	month(b, db)
}

// monthly is what a report asks for of 1000 pods.
var monthly = []pair{
	{"cpu/usage_rate", metrics.Pod},
	{"memory/usage", metrics.Pod},
	{"cpu/request", metrics.Pod},
	{"memory/request", metrics.Pod},
	{"ephemeral_storage/usage", metrics.Pod},
	{"network/rx", metrics.Pod},
	{"network/tx", metrics.Pod},
	{"gpu/usage", metrics.Pod},
}

const monthPods = 1000

// writeMonth writes roll-ups from a day before t0 to a day after its month: of all days, and of the
// hours of the days at its ends.
func writeMonth(b *testing.B, db metricdb.DB) {
	b.Helper()
	var records []metricdb.Record
	write := func() {
		if err := db.WriteRecords(b.Context(), records); err != nil {
			b.Fatal(err)
		}
		records = records[:0]
	}
	end := t0.Add(32 * day)
	for pod := range monthPods {
		life := lifetime.Life{
			Tags:    lifetime.Tags("one", fmt.Sprint("ns-", pod%50), fmt.Sprint("pod-", pod), fmt.Sprint("uid-", pod), "n", "app:web"),
			Created: t0.Add(-day), Scheduled: t0.Add(-day), Started: t0.Add(-day), Deleted: end,
		}
		records = append(records, life.Records()...)
	}
	rolled := func(p pair, span time.Duration, begin time.Time, samples int64) {
		for pod := range monthPods {
			c := &cell{tags: podTags("one", fmt.Sprint("ns-", pod%50), fmt.Sprint("pod-", pod), fmt.Sprint("uid-", pod), "app:web")}
			c.add(begin.UnixNano(), int64(pod)+begin.Unix()%1000, time.Minute)
			c.add(begin.Add(span-time.Minute).UnixNano(), int64(pod), time.Minute)
			c.steps[0].count, c.count = samples, samples
			if requestOf(p.metric, p.level) != "" {
				c.billed = c.steps
			}
			if isCounter(p.metric) {
				c.head, c.tail = new(int64), new(int64)
				*c.tail = int64(pod)
				c.inner.add(*c.tail, false)
			}
			records = append(records, c.record(p.metric, span, begin))
		}
	}
	for begin := t0.Add(-day); begin.Before(end); begin = begin.Add(day) {
		for i := range 24 {
			at := begin.Add(time.Duration(i) * hour)
			of := seal{60, 60}
			for k := range 60 {
				batch := metrics.NewLedger(hour).Begin("one", at.Add(time.Duration(k)*time.Minute), time.Minute)
				batch.Nodes = []metrics.NodeStatus{{Name: "n"}}
				records = append(records, metricdb.BatchRecord(batch))
			}
			records = append(records, closedSpan{hourBatches: hourBatches{seal: of, windows: 60}, expected: 60}.record(HoursSet, "one", at))
			for _, p := range monthly {
				records = append(records, rolledSeal{seal: of, every: []time.Duration{time.Minute}}.record(hour, "one", p, at))
				if begin.Before(t0) || !begin.Before(t0.Add(30*day)) {
					rolled(p, hour, at, 60)
				}
			}
			write()
		}
		of := seal{1440, 1440}
		records = append(records, closedSpan{hourBatches: hourBatches{seal: of, windows: 1440}, expected: 1440}.record(DaysSet, "one", begin))
		for _, p := range monthly {
			rolled(p, day, begin, 1440)
			records = append(records, rolledSeal{seal: of, every: []time.Duration{time.Minute}}.record(day, "one", p, begin))
		}
		write()
	}
}

func month(b *testing.B, db metricdb.DB) {
	b.Helper()
	writeMonth(b, db)
	zurich := [2]time.Time{t0.Add(-hour), t0.Add(31*day - 2*hour)} // its March
	for name, when := range map[string][2]time.Time{"UTC": {t0, t0.Add(31 * day)}, "Zurich": zurich} {
		both := func(b *testing.B, db metricdb.DB, ask func(pair) error) {
			for _, p := range monthly[:2] {
				if err := ask(p); err != nil {
					b.Fatal(err)
				}
			}
		}
		samples := monthPods * int64(when[1].Sub(when[0])/time.Minute)
		for _, by := range []string{"namespace_name", "pod_id"} {
			measure(b, db, name+"/"+by, func(b *testing.B, db metricdb.DB) {
				both(b, db, func(p pair) error {
					q := metricdb.Query{Metric: p.metric, Level: p.level, From: when[0], To: when[1]}
					groups, cover, err := Answer(b.Context(), db, q, metricdb.Grouping{By: []string{by}, Span: true})
					if len(groups) < 50 || cover.Samples != samples || cover.Expected != samples || !cover.Complete {
						b.Fatal(err, len(groups), cover.Cover, samples, cover.Complete)
					}
					return err
				})
			})
		}
		measure(b, db, name+"/billed", func(b *testing.B, db metricdb.DB) {
			both(b, db, func(p pair) error {
				_, err := Billed(b.Context(), db, metricdb.Query{Metric: p.metric, Level: p.level, From: when[0], To: when[1]}, "namespace_name")
				return err
			})
		})
		measure(b, db, name+"/report", func(b *testing.B, db metricdb.DB) {
			if err := report(b.Context(), db, when[0], when[1]); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// report asks what a report does, four questions at a time.
func report(ctx context.Context, db metricdb.DB, from, to time.Time) error {
	v, err := Open(ctx, db, from, to)
	if err != nil {
		return err
	}
	by := []string{metricdb.TagCluster, metricdb.TagNamespace, metricdb.TagPod, metricdb.TagPodID}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, p := range monthly {
		g := metricdb.Grouping{By: by, Span: true, Increase: isCounter(p.metric)}
		group.Go(func() error { _, _, err := v.Answer(ctx, p.metric, p.level, g); return err })
		if requestOf(p.metric, p.level) != "" {
			group.Go(func() error { _, err := v.Billed(ctx, p.metric, p.level, by...); return err })
		}
		if strings.HasPrefix(p.metric, "memory/") { // again, for how long pods were there
			group.Go(func() error { _, _, err := v.Answer(ctx, p.metric, p.level, g); return err })
		}
	}
	return group.Wait()
}

// measure runs a benchmark, and says how long which set's records took.
func measure(b *testing.B, db metricdb.DB, name string, run func(b *testing.B, db metricdb.DB)) {
	b.Run(name, func(b *testing.B) {
		watched := &watchedDB{DB: db, took: map[string]time.Duration{}, calls: map[string]int{}}
		n := 0
		for b.Loop() {
			run(b, watched)
			n++
		}
		for _, what := range sortedKeys(watched.took) {
			b.ReportMetric(float64(watched.took[what].Milliseconds())/float64(n), "ms:"+strings.ReplaceAll(what, " ", "."))
		}
	})
}

// watchedDB says how long reading took, by method and set.
type watchedDB struct {
	metricdb.DB
	lock  sync.Mutex
	took  map[string]time.Duration
	calls map[string]int
}

func (w *watchedDB) add(what string, begun time.Time) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.took[what] += time.Since(begun)
	w.calls[what]++
}

func (w *watchedDB) Records(ctx context.Context, q metricdb.RecordQuery) iter.Seq2[metricdb.Record, error] {
	return func(yield func(metricdb.Record, error) bool) {
		defer w.add("records "+q.Set, time.Now())
		for r, err := range w.DB.Records(ctx, q) {
			if !yield(r, err) {
				return
			}
		}
	}
}

func (w *watchedDB) RecordTotals(ctx context.Context, q metricdb.RecordQuery, by ...string) ([]metricdb.RecordGroup, error) {
	defer w.add("totals "+q.Set, time.Now())
	return w.DB.RecordTotals(ctx, q, by...)
}

func (w *watchedDB) Aggregate(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, error) {
	defer w.add("samples", time.Now())
	return w.DB.Aggregate(ctx, q, g)
}

func (w *watchedDB) Resolutions(ctx context.Context, cluster string, from, to time.Time) ([]metricdb.Resolution, error) {
	defer w.add("resolutions", time.Now())
	return w.DB.Resolutions(ctx, cluster, from, to)
}
