package main

import (
	"bytes"
	"encoding/csv"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/apiserver/billing"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/embedded"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// fillBill writes an hour of batches: two pods and the node that they are on.
func fillBill(t *testing.T, db metricdb.DB, from time.Time) {
	t.Helper()
	ledger := metrics.NewLedger(time.Hour)
	for at := from; at.Before(from.Add(time.Hour)); at = at.Add(time.Minute) {
		b := ledger.Begin("default", at, time.Minute)
		b.Nodes = []metrics.NodeStatus{{Name: "n1"}}
		set := func(kind metrics.Kind, row metrics.Row, cpu, request int64) {
			b.Tables[kind].Set(metrics.CPUUsageRate, row, cpu)
			b.Tables[kind].Set(metrics.CPURequest, row, request)
			b.Tables[kind].Set(metrics.MemoryUsage, row, cpu<<20)
			b.Tables[kind].Set(metrics.MemoryRequest, row, request<<20)
		}
		node := b.Row(metrics.Node, metrics.Ref{}, "n1")
		set(metrics.Node, node, 2000, 1500)
		for id, capacity := range map[metrics.ID]float64{
			metrics.CPUNodeCapacity: 4000, metrics.CPUNodeAllocatable: 3800, metrics.MemoryNodeCapacity: 8 << 30, metrics.MemoryNodeAllocatable: 7 << 30,
		} {
			b.Tables[metrics.Node].Set(id, node, metrics.FloatBits(capacity))
		}
		for i, namespace := range []string{"shop", "research-and-development"} {
			of := b.Row(metrics.Namespace, metrics.Ref{}, namespace)
			pod := b.Row(metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: of}, "web-0")
			b.Tables[metrics.Pod].Entities[pod].Meta = &metrics.Meta{UID: "u-" + namespace, Node: "n1", Joined: "team:t" + namespace}
			set(metrics.Pod, pod, 300+600*int64(i), 500)
			b.Tables[metrics.Pod].Set(metrics.NetworkRx, pod, at.Unix()<<20)
		}
		if err := db.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// krm bill and a server with the embedded database.
func TestBillOfServer(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	db, err := embedded.Open(embedded.Options{Dir: t.TempDir(), Retention: 100 * 365 * 24 * time.Hour}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fillBill(t, db, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	prices, err := billing.ParsePrices([]byte("currency: CHF\nprices: {cpu_billed_core_hours: 1}\ntariffs:\n- {from: 2026-03-10, prices: {pod_hours: 10}}"))
	if err != nil {
		t.Fatal(err)
	}
	gin.SetMode(gin.TestMode)
	engine := gin.New()
	api := billing.New(db, billing.Options{Credentials: billing.Credentials{Username: "me", Password: "secret"}, Prices: prices, RefusalDelay: 1}, log)
	engine.Use(func(c *gin.Context) { api.Serve(c) })
	server := httptest.NewServer(engine)
	defer server.Close()
	t.Setenv("API_USERNAME", "me")
	run := func(code int, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := execute(t.Context(), append(append([]string{"bill"}, args...), "--server", server.URL), &out, &errs); got != code {
			t.Errorf("%q: exit code %d, want %d: %s", args, got, code, errs.String())
		}
		if strings.Contains(out.String()+errs.String(), "secret") {
			t.Errorf("%q: the password is shown: %s %s", args, out.String(), errs.String())
		}
		return out.String(), errs.String()
	}
	f := func(code int, says string, args ...string) {
		t.Helper()
		if out, errs := run(code, args...); !strings.Contains(out+errs, says) {
			t.Errorf("%q: want %s: %s %s", args, says, out, errs)
		}
	}
	f(2, "set $API_USERNAME and $API_PASSWORD")
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	span := []string{"--begin", "2026-03-01", "--end", "2026-03-02", "--password-file", file}
	out, _ := run(0, span...)
	want := `                          --- CPU, core-hours ---  -- MEMORY, GiB-hours --
NAMESPACE                 USED  REQUESTED  BILLED  USED  REQUESTED  BILLED  NETWORK  POD-H  COVERAGE  COST
research-and-development  0.90       0.50    0.90  0.88       0.49    0.88     3.46   1.00      100%  0.90
shop                      0.30       0.50    0.50  0.29       0.49    0.49     3.46   1.00      100%  0.50
(system)                  0.80       0.20    0.80  0.78       1.00    1.00     0.00   0.00         -  0.00
(idle)                    2.00       2.80    1.80  6.05       6.02    5.63     0.00   0.00         -  0.00
SUBTOTAL                  1.20       1.00    1.40  1.17       0.98    1.37     6.91   2.00      100%  1.40
TOTAL                     4.00       4.00    4.00  8.00       8.00    8.00     6.91   2.00      100%  1.40
`
	if diff := cmp.Diff(want, out[:min(len(want), len(out))]); diff != "" {
		t.Error(diff, out)
	}
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(line); n > 121 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	f(0, "2026-03-01T00:00:00Z to 2026-03-02T00:00:00Z, sampled every 1m0s", span...)
	f(0, "tshop", append(span, "--by", "label:team")...)
	f(0, "web-0", append(span, "--by", "pod")...)
	f(1, "the prices change on 2026-03-10", "--month", "2026-03", "--password-file", file)
	f(1, "here they are --begin and --end", "--month", "2026-03", "--password-file", file)
	f(2, "want a month such as", "--month", "march")
	f(2, "unknown flag", "--password", "x")
	text, _ := run(0, append(span, "-o", "csv", "--by", "pod")...)
	if rows, err := csv.NewReader(strings.NewReader(text)).ReadAll(); err != nil || len(rows) != 7 {
		t.Errorf("%d rows, %v: %s", len(rows), err, text)
	}
	again, _ := run(0, append(span, "-o", "csv", "--by", "pod")...)
	if again != text {
		t.Error(cmp.Diff(text, again))
	}
	t.Setenv("API_PASSWORD", "wrong")
	f(1, "refuses everybody", "--month", "2026-02")
	t.Setenv("API_PASSWORD", "secret")
	f(0, "TOTAL", "--month", "2026-02") // nothing was there yet
	server.Close()
	f(1, "is krm running?", "--month", "2026-02", "--timeout", "1s")
	help, _ := run(0, "--help")
	for _, text := range []string{"core-hours", "coverage", "API_USERNAME", "--begin", "exit code", "(idle)"} {
		if !strings.Contains(strings.ToLower(help), strings.ToLower(text)) {
			t.Errorf("--help does not say %s", text)
		}
	}
}
