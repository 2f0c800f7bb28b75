package model

import (
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/embedded"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// pastOnDatabase has a database answer what newPast's archive does.
func pastOnDatabase(t *testing.T, db metricdb.DB) {
	t.Helper()
	ledger := metrics.NewLedger(time.Hour)
	for i := range int64(5) {
		b := ledger.Begin("default", noon.Add(time.Duration(i)*30*time.Second), 30*time.Second)
		b.Nodes = []metrics.NodeStatus{{Name: "node-a"}, {Name: "node-b"}}
		cluster := b.Row(metrics.Cluster, metrics.Ref{}, "")
		b.Tables[metrics.Cluster].Set(metrics.CPUUsageRate, cluster, 100*(i+1))
		node := b.Row(metrics.Node, metrics.Ref{}, "node-a")
		b.Tables[metrics.Node].Set(metrics.MemoryPageFaultsRate, node, metrics.FloatBits(float64(i)+.5))
		namespace := b.Row(metrics.Namespace, metrics.Ref{}, "default")
		for k, name := range []string{"web-0", "web-1"} {
			pod := b.Row(metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: namespace}, name)
			meta := &metrics.Meta{UID: "uid-" + name[4:], Node: "node-" + string(rune('a'+k))}
			b.Tables[metrics.Pod].Entities[pod].Meta = meta
			b.Tables[metrics.Pod].Set(metrics.CPUUsageRate, pod, []int64{10 * i, i}[k])
			if i == 0 {
				b.Tables[metrics.Pod].Set(metrics.Uptime, pod, 1)
			}
			if k == 0 {
				app := b.Row(metrics.Container, metrics.Ref{Kind: metrics.Pod, Row: pod}, "app")
				b.Tables[metrics.Container].Entities[app].Meta = meta
				b.Tables[metrics.Container].Set(metrics.CPUUsageRate, app, 7)
			}
		}
		if i == 0 {
			b.Tables[metrics.Node].Set(metrics.Uptime, node, 1)
			idle := b.Row(metrics.GPU, metrics.Ref{Kind: metrics.Node, Row: node}, "gpu_index:1,gpu_name:T4,gpu_uuid:GPU-1")
			b.Tables[metrics.GPU].Set(metrics.GPUUsage, idle, 3)
			b.Tables[metrics.Node].Set(metrics.GPUUsage, node, 2051)
			web, _ := b.Find(metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: namespace}, "web-0")
			b.Tables[metrics.Pod].Set(metrics.GPUUsage, web, 2048)
			system := b.Row(metrics.SystemContainer, metrics.Ref{Kind: metrics.Node, Row: node}, "docker-daemon")
			b.Tables[metrics.SystemContainer].Set(metrics.MemoryUsage, system, 1)
		}
		if err := db.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	byHand, inDatabase := newPast(t), newPast(t)
	inDatabase.history = db
	const all, bounds = "?start=2026-03-01T11:00:00Z", "?start=2026-03-01T12:00:00Z&end=2026-03-01T12:02:00Z"
	const aggregations = "metrics-aggregated/average,max,min,median,count,50-perc,95-perc,99-perc"
	for _, of := range []string{
		"/%s/cpu/usage_rate", "/nodes/node-a/%s/memory/page_faults_rate", "/namespaces/default/pods/web-0/%s/cpu/usage_rate",
		"/pod-id/uid-1/%s/cpu/usage_rate", "/pod-id/uid-0/containers/app/%s/cpu/usage_rate", "/pod-id-list/uid-1,none,uid-0/%s/cpu/usage_rate",
		"/namespaces/default/pod-list/web-1,none,web-0/%s/cpu/usage_rate", "/namespaces/default/pods/web-0/containers/app/%s/cpu/usage_rate",
		"/nodes/node-a/freecontainers/runtime/%s/memory/usage", "/nodes/none/%s/memory/usage",
		"/nodes/node-a/%s/gpu/usage", "/namespaces/default/pods/web-0/%s/gpu/usage", "/namespaces/default/pods/web-0/containers/app/%s/gpu/usage",
	} {
		for _, question := range []string{all, bounds} {
			same(t, byHand, inDatabase, fmt.Sprintf(of, "metrics")+question)
			same(t, byHand, inDatabase, fmt.Sprintf(of, aggregations)+question)
			same(t, byHand, inDatabase, fmt.Sprintf(of, aggregations)+question+"&bucket=1m")
		}
	}
	for _, list := range []string{
		"/nodes", "/namespaces", "/namespaces/default/pods", "/nodes/node-a/freecontainers", "/nodes/node-a/pods", "/namespaces/none/pods",
		"/namespaces/default/metrics", "/nodes/node-a/metrics", "/nodes/node-a/freecontainers/docker-daemon/metrics",
	} {
		same(t, byHand, inDatabase, list)
		same(t, byHand, inDatabase, list+all)
	}
	for _, wrong := range []string{
		"/metrics/cpu/usage_rate", "/metrics/cpu/usage_rate?start=x", "/metrics-aggregated/foo/cpu/usage_rate" + all, "/metrics-aggregated/max/cpu/usage_rate" + all + "&bucket=1",
		"/metrics-aggregated/max/cpu/usage_rate" + all + "&bucket=10y", "/namespaces/a'b/pods/x/metrics/cpu/usage_rate" + all, "/metrics/cpu%22/usage_rate" + all, "/debug/allkeys",
	} {
		same(t, byHand, inDatabase, wrong)
	}
}

func same(t *testing.T, byHand, inDatabase *pastSite, path string) {
	t.Helper()
	want, got := byHand.do(http.MethodGet, historicalRoot+path), inDatabase.do(http.MethodGet, historicalRoot+path)
	if diff := gocmp.Diff(want.Body.String(), got.Body.String()); diff != "" || want.Code != got.Code {
		t.Errorf("%s: %d, want %d: %s", path, got.Code, want.Code, diff)
	}
}

func TestPastOnTheEmbeddedDatabase(t *testing.T) {
	db, err := embedded.Open(embedded.Options{Dir: t.TempDir(), Retention: 100 * 365 * 24 * time.Hour}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	pastOnDatabase(t, db)
}
