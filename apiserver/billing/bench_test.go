package billing

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/embedded"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// BenchmarkMonth asks about a month of 1000 pods in 50 namespaces, with all that a
// report reads of them, from daily roll-ups in the embedded database. All of its pods
// are one that was written a thousand times.
func BenchmarkMonth(b *testing.B) {
	log := slog.New(slog.DiscardHandler)
	db, err := embedded.Open(embedded.Options{Dir: b.TempDir(), Retention: 100 * 365 * 24 * time.Hour}, log)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	now := time.Now().UTC()
	to := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	from := to.AddDate(0, -1, 0)
	writeMonth(b, db, from, to)
	if err := rollup.New(db, rollup.Options{Backfill: 100 * 24 * time.Hour}, log).Pass(b.Context()); err != nil {
		b.Fatal(err)
	}
	multiply(b, db, from.Add(-24*time.Hour), to.Add(24*time.Hour))
	prices, err := ParsePrices([]byte(testPrices))
	if err != nil {
		b.Fatal(err)
	}
	h := handler(db, Options{Prices: prices})
	span := fmt.Sprintf(`"timeBeginInterval":%q,"timeEndInterval":%q`, rfc3339(from), rfc3339(to))
	for name, ask := range map[string][2]string{
		"report/namespace":   {"/api/report", `{"by":"namespace",` + span + `}`},
		"report/pod":         {"/api/report", `{"by":"pod",` + span + `}`},
		"report/label":       {"/api/report", `{"by":"label:app",` + span + `}`},
		"sums/all-pod":       {"/api/cpu/usage_rate", `{"agg":"all-pod",` + span + `}`},
		"sums/all-namespace": {"/api/cpu/usage_rate", `{"agg":"all-namespace",` + span + `}`},
		"sums/increase":      {"/api/network/rx", `{"agg":"all-pod",` + span + `}`},
		"points/no-limit":    {"/api/cpu/usage_rate", `{"namespace":"ns-7","level":"pod","limit":0,` + span + `}`},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if w := send(h, post(ask[0], ask[1])); w.Code != 200 || w.Header().Get("Krm-Complete") != "true" {
					b.Fatal(w.Code, w.Header(), w.Body.Len())
				}
			}
		})
	}
}

// writeMonth writes one pod, once an hour.
func writeMonth(b *testing.B, db metricdb.DB, from, to time.Time) {
	b.Helper()
	ledger := metrics.NewLedger(time.Hour)
	for at := from.Add(-24 * time.Hour); at.Before(to.Add(3 * time.Hour)); at = at.Add(time.Hour) {
		batch := ledger.Begin("default", at, time.Hour)
		batch.Nodes = []metrics.NodeStatus{{Name: "n"}}
		of := batch.Row(metrics.Namespace, metrics.Ref{}, "ns-0")
		row := batch.Row(metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: of}, "pod-0")
		batch.Tables[metrics.Pod].Entities[row].Meta = &metrics.Meta{UID: "uid-0", Node: "n", Joined: "app:app-0"}
		for id, value := range map[metrics.ID]int64{
			metrics.CPUUsageRate: 100 + at.Unix()%900, metrics.CPURequest: 250, metrics.MemoryUsage: 1<<28 + at.Unix()%(1<<28), metrics.MemoryRequest: 1 << 28,
			metrics.NetworkRx: at.Unix(), metrics.NetworkTx: 2 * at.Unix(),
		} {
			batch.Tables[metrics.Pod].Set(id, row, value)
		}
		if err := db.Write(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

// multiply writes the pod's roll-ups for 999 more, and the lives of all.
func multiply(b *testing.B, db metricdb.DB, from, to time.Time) {
	b.Helper()
	const pods = 1000
	q := metricdb.RecordQuery{From: from, To: to, Where: []metricdb.Match{metricdb.Is(metricdb.TagPodID, "uid-0")}}
	var all []metricdb.Record
	q.Set = rollup.DaySet // months are made of days
	q.Fields = []string{"sum.3600", "count.3600", "min", "max", "first", "last", "billed.3600", "increase", "inner", "head", "tail", "ends"}
	for r, err := range db.Records(b.Context(), q) {
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, r)
	}
	var records []metricdb.Record
	for i := range pods {
		tags := lifetime.Tags("default", fmt.Sprint("ns-", i%50), fmt.Sprint("pod-", i), fmt.Sprint("uid-", i), "n", fmt.Sprint("app:app-", i%20))
		life := lifetime.Life{Tags: tags, Created: from, Scheduled: from, Started: from, CPU: 250, Memory: 1 << 28}
		records = append(records, life.Records()...)
		for _, r := range all {
			for _, label := range tags {
				if r.Tags.Get(label.Key) != "" {
					r.Tags = r.Tags.With(label.Key, label.Value)
				}
			}
			records = append(records, r)
		}
		if i%50 < 49 {
			continue
		}
		if err := db.WriteRecords(b.Context(), records); err != nil {
			b.Fatal(err)
		}
		records = records[:0]
	}
}
