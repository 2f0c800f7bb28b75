package embedded

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func reopen(b *testing.B, dir string, now func() time.Time) *Store {
	b.Helper()
	s, err := Open(Options{Dir: dir, Now: now}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// opening measures how long opening takes, and what an open file takes of memory.
func opening(b *testing.B, dir string, now func() time.Time) {
	b.Helper()
	before := heap()
	s := reopen(b, dir, now)
	series, taken := float64(len(s.book.all)), heap()-before
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := reopen(b, dir, now).Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(taken/(1<<20), "heap_MiB")
	b.ReportMetric(taken/series, "heap_B/series")
	b.ReportMetric(series, "series")
	if info, err := os.Stat(filepath.Join(dir, "metrics.db")); err == nil {
		b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
	}
}

// BenchmarkLongFile is about 45 days of minutes of two metrics. KRM_BENCH_PODS says of
// how many pods; 1,000 take some minutes to write.
func BenchmarkLongFile(b *testing.B) {
	pods := 100
	if n, err := strconv.Atoi(os.Getenv("KRM_BENCH_PODS")); err == nil {
		pods = n
	}
	now, dir := dbtest.T0, b.TempDir()
	clock := func() time.Time { return now }
	s := open(b, Options{Dir: dir, Now: clock})
	const hours = 45 * 24
	fill(b, s, &now, dbtest.NewLoad(pods, pods/20), hours)
	end := dbtest.T0.Add(hours * time.Hour)
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: end.Add(-time.Hour), To: end}
	for by, tags := range map[string][]string{"namespace": {"namespace_name"}, "pod": {"namespace_name", "pod_name", "pod_id"}} {
		b.Run("last hour by "+by, func(b *testing.B) {
			for b.Loop() {
				if got, err := s.Aggregate(b.Context(), q, metricdb.Grouping{By: tags}); err != nil || got[0].Count < 59 {
					b.Fatal(got, err)
				}
			}
		})
	}
	b.Run("sweep", func(b *testing.B) {
		for b.Loop() {
			s.removed, s.swept = true, time.Time{}
			if err := s.sweep(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) { opening(b, dir, clock) })
}

// BenchmarkManySeries is about the tags of 100,000 series: ten roll-ups of each of
// 10,000 pods that are gone.
func BenchmarkManySeries(b *testing.B) {
	now, dir := dbtest.T0, b.TempDir()
	clock := func() time.Time { return now }
	s := open(b, Options{Dir: dir, Now: clock})
	const pods, metricNames, days = 10_000, 10, 100
	for day := range days {
		now = dbtest.T0.Add(time.Duration(day) * 24 * time.Hour)
		var records []metricdb.Record
		for pod := day * pods / days; pod < (day+1)*pods/days; pod++ {
			for metric := range metricNames {
				records = append(records, metricdb.Record{
					Set: "krm/rollup", Time: now, Fields: []metricdb.Field{{Name: "sum", Value: metricdb.Int(int64(pod))}},
					Tags: metricdb.MakeTags(
						metrics.Label{Key: "cluster_name", Value: "default"}, metrics.Label{Key: "level", Value: "pod"},
						metrics.Label{Key: "metric", Value: fmt.Sprintf("memory/metric_%d", metric)},
						metrics.Label{Key: "namespace_name", Value: fmt.Sprintf("namespace-%02d", pod%50)},
						metrics.Label{Key: "nodename", Value: fmt.Sprintf("node-%02d", pod%30)},
						metrics.Label{Key: "labels", Value: fmt.Sprintf("app:app-%d,pod-template-hash:%08x", pod%50, pod%50)},
						metrics.Label{Key: "pod_name", Value: fmt.Sprintf("app-%d-%08x-%05x", pod%50, pod%50, pod)},
						metrics.Label{Key: "pod_id", Value: fmt.Sprintf("%08x-0000-4000-8000-%012x", pod, pod*7919)},
					),
				})
			}
		}
		if err := s.WriteRecords(b.Context(), records); err != nil {
			b.Fatal(err)
		}
	}
	now = now.Add(30 * 24 * time.Hour)
	if err := s.Maintain(b.Context()); err != nil {
		b.Fatal(err)
	}
	q := metricdb.RecordQuery{
		Set: "krm/rollup", Fields: []string{"sum"}, From: dbtest.T0.Add(90 * 24 * time.Hour), To: dbtest.T0.Add(92 * 24 * time.Hour),
		Where: []metricdb.Match{metricdb.Is("metric", "memory/metric_3")},
	}
	b.Run("two days of them", func(b *testing.B) {
		for b.Loop() {
			if got, err := s.RecordTotals(b.Context(), q, "namespace_name"); err != nil || len(got) != 50 {
				b.Fatal(len(got), err)
			}
		}
	})
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("open", func(b *testing.B) { opening(b, dir, clock) })
}
