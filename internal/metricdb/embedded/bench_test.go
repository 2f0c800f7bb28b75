package embedded

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// fill writes hours of minutes of 1,000 pods, folding as Run would.
func fill(tb testing.TB, s *Store, now *time.Time, load *dbtest.Load, hours int) (samples int, write, fold time.Duration) {
	tb.Helper()
	for i := range hours * 60 {
		*now = dbtest.T0.Add(time.Duration(i+1) * time.Minute)
		b := load.Next(*now, time.Minute)
		for _, table := range b.Tables {
			for _, c := range table.Columns() {
				samples += c.Has.Count()
			}
		}
		start := time.Now()
		if err := s.Write(tb.Context(), b); err != nil {
			tb.Fatal(err)
		}
		write += time.Since(start)
		if i%15 == 0 {
			start = time.Now()
			if err := s.Maintain(tb.Context()); err != nil {
				tb.Fatal(err)
			}
			fold += time.Since(start)
		}
	}
	*now = now.Add(2 * time.Hour)
	if err := s.Maintain(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return samples, write, fold
}

// BenchmarkStore measures what the store's aims are about: a day of one-minute
// samples of 1,000 pods in 50 namespaces.
func BenchmarkStore(b *testing.B) {
	for name, everything := range map[string]bool{"two metrics": false, "all metrics": true} {
		b.Run(name, func(b *testing.B) {
			now := dbtest.T0
			dir := b.TempDir()
			s := open(b, Options{Dir: dir, Now: func() time.Time { return now }})
			load := dbtest.NewLoad(1000, 50)
			load.Everything = everything
			const hours = 24
			samples, write, fold := fill(b, s, &now, load, hours)
			var info syscall.Stat_t // what the file takes; bbolt makes it longer ahead of time, with holes
			if err := syscall.Stat(filepath.Join(dir, "metrics.db"), &info); err != nil {
				b.Fatal(err)
			}
			end := dbtest.T0.Add(hours * time.Hour)
			q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: end.Add(-time.Hour), To: end}
			for b.Loop() {
				for _, q.Metric = range []string{"cpu/usage_rate", "memory/usage"} {
					got, err := s.Aggregate(b.Context(), q, metricdb.Grouping{By: []string{"namespace_name"}})
					if err != nil || len(got) != 50 || got[0].Count < 19*60 {
						b.Fatalf("%d groups, %v", len(got), err)
					}
				}
			}
			start := time.Now()
			q.From = dbtest.T0
			if got, err := s.Aggregate(b.Context(), q, metricdb.Grouping{By: []string{"namespace_name", "pod_name", "pod_id"}, Span: true}); err != nil || len(got) != 1000 {
				b.Fatalf("%d groups, %v", len(got), err)
			}
			b.ReportMetric(float64(info.Blocks*512)/float64(samples), "bytes/sample")
			b.ReportMetric(float64(time.Since(start).Milliseconds()), "day_pod_ms")
			b.ReportMetric(float64(write.Milliseconds())/(hours*60), "write_ms/batch")
			b.ReportMetric(float64(fold.Milliseconds())/hours, "fold_ms/hour")
			b.ReportMetric(float64(s.db.Stats().FreePageN*os.Getpagesize())/float64(samples), "free_bytes/sample")
		})
	}
}

// BenchmarkMonth reads a month of roll-ups of 1,000 pods: 744,000 by the hour, 31,000 by
// the day.
func BenchmarkMonth(b *testing.B) {
	for name, every := range map[string]time.Duration{"hours": time.Hour, "days": 24 * time.Hour} {
		b.Run(name, func(b *testing.B) { month(b, every) })
	}
}

func month(b *testing.B, every time.Duration) {
	now := dbtest.T0
	s := open(b, Options{Now: func() time.Time { return now }})
	records := int(31 * 24 * time.Hour / every)
	for i := range records {
		now = dbtest.T0.Add(time.Duration(i) * every)
		if err := s.WriteRecords(b.Context(), dbtest.RollUps(1000, 50, now)); err != nil {
			b.Fatal(err)
		}
		if i%24 == 0 {
			if err := s.Maintain(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := s.Maintain(b.Context()); err != nil {
		b.Fatal(err)
	}
	q := metricdb.RecordQuery{Set: "krm/rollup", Fields: []string{"count", "max", "sum"}, From: dbtest.T0, To: now.Add(time.Hour)}
	for by, tags := range map[string][]string{"namespace": {"namespace_name"}, "pod": {"namespace_name", "pod_name", "pod_id"}} {
		b.Run(by, func(b *testing.B) {
			for b.Loop() {
				if got, err := s.RecordTotals(b.Context(), q, tags...); err != nil || got[0].Fields[0].Count < int64(records) {
					b.Fatal(err)
				}
			}
		})
	}
}
