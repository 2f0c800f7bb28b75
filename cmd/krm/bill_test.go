package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const billReport = `{"begin":"2026-09-30T22:00:00Z","end":"2026-10-31T23:00:00Z","by":"namespace","resolution":"30s","complete":false,"currency":"CHF","lines":[
{"kind":"pods","cluster_name":"default","namespace_name":"shop","cpu_used_core_hours":1.006000,"cpu_requested_core_hours":2.000000,"cpu_billed_core_hours":2.500000,"memory_used_gib_hours":3.000000,"memory_requested_gib_hours":4.000000,"memory_billed_gib_hours":4.000000,"gpu_hours":0.000000,"ephemeral_used_gib_hours":1.000000,"claims_requested_gib_hours":0.500000,"network_in_gib":0.100000,"network_out_gib":0.200000,"pod_hours":744.000000,"samples":99999,"expected":100000,"coverage":0.99999,"cost":12.30},
{"kind":"idle","cpu_used_core_hours":7.000000,"cost":0.00}],
"subtotal":{"kind":"subtotal","cost":12.30},"total":{"kind":"total","estimated_pods":2,"cost":12.30}}`

func TestBill(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Header.Get("X-USERNAME") != "me" || r.Header.Get("X-PASSWORD") != "secret":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"code":401,"message":"want the headers"}`)
		case strings.Contains(string(body), `"format":"csv"`):
			w.Header().Set("Content-Type", "text/csv; charset=utf-8")
			_, _ = io.WriteString(w, "kind,cost\npods,1\n")
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, billReport)
		}
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		cmd := newBillCommand()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(append(args, "--server", server.URL))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		text := ""
		if err := cmd.Execute(); err != nil {
			text = err.Error()
		} else {
			text = out.String()
		}
		if !strings.Contains(text, want) {
			t.Errorf("%q: %s", args, cmp.Diff(want, text))
		}
	}
	t.Setenv("API_USERNAME", "")
	t.Setenv("API_PASSWORD", "")
	f("API_USERNAME", "--month", "2026-10")
	t.Setenv("API_USERNAME", "me")
	f("--password-file", "--month", "2026-10")
	f("no such file", "--password-file", "/nonexistent")
	f(billReport, "-o", "json", "--password-file", file)
	t.Setenv("API_PASSWORD", "secret")
	f("kind,cost\npods,1\n", "-o", "csv")
	f(`           --- CPU, core-hours ---  -- MEMORY, GiB-hours --
NAMESPACE  USED  REQUESTED  BILLED  USED  REQUESTED  BILLED  STORAGE  NETWORK   POD-H  COVERAGE   COST
shop       1.01       2.00    2.50  3.00       4.00    4.00     1.50     0.30  744.00    99.99%  12.30
`, "--month", "2026-10")
	f("NOT COMPLETE", "--month", "2026-10")
	f("between two samples: 2.", "--month", "2026-10")
	f("either a month, or --begin and --end", "--month", "2026-10", "--begin", "2026-10-01", "--end", "2026-10-02")
	f("want both", "--begin", "2026-10-01")
	f("--end=x: want a time", "--begin", "2026-10-01", "--end", "x")
	f("before the end", "--begin", "2026-10-02", "--end", "2026-10-02")
	f("--timezone=Nowhere", "--timezone", "Nowhere")
	f("want a month", "--month", "2026-1")
	f("want namespace, pod, container or label:KEY", "--by", "node")
	f("", "--by", "label:team")
	t.Setenv("API_PASSWORD", "wrong")
	f("refuses everybody", "--month", "2026-10")
}
