package rollup

import (
	"fmt"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/embedded"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// BenchmarkMonth answers for 31 days of 1000 pods in 50 namespaces, from roll-ups in
// the embedded database.
func BenchmarkMonth(b *testing.B) {
	db, err := embedded.Open(embedded.Options{Dir: b.TempDir()}, quiet())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	month(b, db)
}

func month(b *testing.B, db metricdb.DB) {
	b.Helper()
	const hours = 31 * 24
	line := timeline{{Cluster: "one", Every: time.Minute, First: t0, Last: t0.Add(hours * hour)}}
	p := pair{"cpu/usage_rate", metrics.Pod}
	var records []metricdb.Record
	for pod := range 1000 {
		life := lifetime.Life{Tags: lifetime.Tags("one", fmt.Sprint("ns-", pod%50), fmt.Sprint("pod-", pod), fmt.Sprint("uid-", pod), "n", "app:web"), Created: t0, Started: t0, Deleted: t0.Add(hours * hour)}
		records = append(records, life.Records()...)
	}
	for i := range hours {
		begin := t0.Add(time.Duration(i) * hour)
		for pod := range 1000 {
			c := &cell{tags: podTags("one", fmt.Sprint("ns-", pod%50), fmt.Sprint("pod-", pod), fmt.Sprint("uid-", pod), "app:web")}
			c.add(begin.UnixNano(), int64(pod+i), time.Minute)
			c.add(begin.Add(59*time.Minute).UnixNano(), int64(pod), time.Minute)
			c.billed = c.steps
			records = append(records, c.record(p.metric, begin))
		}
		batches := seal{60, 60}
		for k := range 60 {
			b := metrics.NewLedger(hour).Begin("one", begin.Add(time.Duration(k)*time.Minute), time.Minute)
			b.Nodes = []metrics.NodeStatus{{Name: "n"}}
			records = append(records, metricdb.BatchRecord(b))
		}
		records = append(records, rolledHour{seal: batches, every: line.every()}.record("one", p, begin), closedHour{hourBatches: hourBatches{seal: batches, windows: 60}, expected: 60}.record("one", begin))
		if i%24 == 23 {
			if err := db.WriteRecords(b.Context(), records); err != nil {
				b.Fatal(err)
			}
			records = records[:0]
		}
	}
	q := metricdb.Query{Metric: p.metric, Level: p.level, From: t0, To: t0.Add(hours * hour)}
	for _, by := range []string{"namespace_name", "pod_id"} {
		b.Run(by, func(b *testing.B) {
			for b.Loop() {
				groups, cover, err := Answer(b.Context(), db, q, metricdb.Grouping{By: []string{by}, SkipMin: true})
				if err != nil || len(groups) < 50 || cover.Samples != 2*1000*hours || !cover.Complete {
					b.Fatal(err, len(groups), cover.Cover, cover.Complete)
				}
			}
		})
	}
	b.Run("billed", func(b *testing.B) {
		for b.Loop() {
			if _, err := Billed(b.Context(), db, q, "namespace_name"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
