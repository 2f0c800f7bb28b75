package billing

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/embedded"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// fill writes batches of each minute in [from, to): of three pods in two namespaces, one
// of which is there from half past every hour.
func fill(t *testing.T, db metricdb.DB, from, to time.Time) {
	t.Helper()
	ledger := metrics.NewLedger(time.Hour)
	for at := from; at.Before(to); at = at.Add(every) {
		b := ledger.Begin("default", at, every)
		minute := at.Sub(from) / time.Minute
		node := b.Row(metrics.Node, metrics.Ref{}, "n1")
		b.Nodes = []metrics.NodeStatus{{Name: "n1"}}
		set := func(kind metrics.Kind, row metrics.Row, cpu, memory int64) {
			b.Tables[kind].Set(metrics.CPUUsageRate, row, cpu)
			b.Tables[kind].Set(metrics.CPURequest, row, 100)
			b.Tables[kind].Set(metrics.MemoryUsage, row, memory)
			b.Tables[kind].Set(metrics.MemoryRequest, row, 1<<30)
		}
		set(metrics.Node, node, 1000, 4<<30)
		b.Tables[metrics.Node].Set(metrics.CPUNodeCapacity, node, metrics.FloatBits(4000))
		for i, name := range []string{"a/web", "a/db", "b/web"} {
			if i == 2 && at.Minute() < 30 {
				continue
			}
			namespace := b.Row(metrics.Namespace, metrics.Ref{}, name[:1])
			pod := b.Row(metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: namespace}, name[2:])
			b.Tables[metrics.Pod].Entities[pod].Meta = &metrics.Meta{UID: "u-" + name, Node: "n1", Joined: "app:" + name[2:]}
			set(metrics.Pod, pod, 90+int64(minute)%20, (3<<30)+int64(minute))
			b.Tables[metrics.Pod].Set(metrics.NetworkRx, pod, int64(minute)*1000)
		}
		if err := db.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// Roll-ups of the embedded store and its samples alone give the same bytes.
func TestEmbeddedStore(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	db, err := embedded.Open(embedded.Options{Dir: t.TempDir(), Retention: 100 * 365 * 24 * time.Hour}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	from := time.Now().UTC().Truncate(time.Hour).Add(-9 * time.Hour)
	to := from.Add(6 * time.Hour)
	fill(t, db, from, to)
	created := from.Add(61 * time.Second)
	job := lifetime.Life{
		Tags: lifetime.Tags("default", "b", "job", "j", "n1", ""), Created: created, Scheduled: created, Deleted: created.Add(36 * time.Second),
		CPU: 1000, Memory: 1 << 30,
	}
	if err := db.WriteRecords(t.Context(), job.Records()); err != nil {
		t.Fatal(err)
	}
	plain := handler(db, Options{})
	span := fmt.Sprintf(`"timeBeginInterval":%q,"timeEndInterval":%q`, rfc3339(from), rfc3339(to))
	part := fmt.Sprintf(`"timeBeginInterval":%q,"timeEndInterval":%q`, rfc3339(from.Add(17*time.Minute)), rfc3339(to.Add(-99*time.Minute)))
	bodies := map[string]string{}
	for _, interval := range []string{span, part} {
		for _, by := range []string{"namespace", "pod", "label:app"} {
			bodies[`{"by":"`+by+`",`+interval+`}`] = "/api/report"
		}
		bodies[`{"agg":"all-pod",`+interval+`}`] = "/api/cpu/usage_rate"
		bodies[`{"agg":"all-namespace","limit":1,`+interval+`}`] = "/api/network/rx"
		bodies[`{"namespace":"a","level":"pod",`+interval+`}`] = "/api/memory/usage"
	}
	before := map[string]string{}
	for body, path := range bodies {
		w := send(plain, post(path, body))
		if w.Code != 200 {
			t.Fatalf("%s %s: %d %s", path, body, w.Code, w.Body)
		}
		before[body] = strings.Replace(w.Body.String(), `"complete":false`, `"complete":true`, 1) // hours are not closed yet
	}
	line := reportOf(t, plain, `{"by":"pod",`+span+`}`)
	if got := line["pods b web u-b/web"]["pod_hours"] + " " + line["pods b job j"]["cpu_billed_core_hours"] + " " + line["pods a db u-a/db"]["cpu_requested_core_hours"]; got != "3.000000 0.010000 0.600000" {
		t.Errorf("%s: %v", got, line)
	}
	engine := rollup.New(db, rollup.Options{}, log)
	if err := engine.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
	rolled := handler(db, Options{})
	for body, path := range bodies {
		w := send(rolled, post(path, body))
		if diff := cmp.Diff(before[body], w.Body.String()); diff != "" || w.Header().Get("Krm-Complete") != "true" {
			t.Errorf("%s %s: complete %s: %s", path, body, w.Header().Get("Krm-Complete"), diff)
		}
	}
}
