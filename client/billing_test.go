package client_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// billingServer answers with that, and keeps what it was asked.
func billingServer(t *testing.T, code int, media, answer string) (client.Billing, *[]string) {
	t.Helper()
	asked := &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*asked = append(*asked, fmt.Sprintf("%s %s %s/%s %s", r.Method, r.URL.Path, r.Header.Get("X-USERNAME"), r.Header.Get("X-PASSWORD"), body))
		w.Header().Set("Content-Type", media)
		w.Header().Set("Krm-Interval", "[a, b)")
		w.Header().Set("Krm-Resolution", "30s")
		w.Header().Set("Krm-Complete", "true")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, client.Options{Retries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c.Billing().As("me", "secret"), asked
}

func TestBillingQuery(t *testing.T) {
	api, asked := billingServer(t, 200, "application/json", `[{"time":"2026-10-01T00:00:00Z","sum":9007199254740993,"namespace_name":"a","pod_uid":"u","integral":0.1,"integral_unit":"core-hours","coverage":0.5}]`)
	got, err := api.Query(t.Context(), client.BillingQuery{
		Metric: "cpu/usage_rate", Agg: client.AllPod, Limit: client.NoLimit, ExcludeNamespaces: []string{"kube-system"},
		Begin: time.Date(2026, 10, 1, 2, 0, 0, 0, time.FixedZone("", 7200)),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := &client.BillingAnswer{Interval: "[a, b)", Resolution: "30s", Complete: true, Rows: []client.BillingRow{{
		Time: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC), Sum: "9007199254740993", Namespace: "a", PodUID: "u", Integral: "0.1", IntegralUnit: "core-hours", Coverage: 0.5,
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{`POST /api/cpu/usage_rate me/secret {"agg":"all-pod","excludeNamespaces":["kube-system"],"limit":0,"timeBeginInterval":"2026-10-01T00:00:00Z"}`}, *asked); diff != "" {
		t.Error(diff)
	}
}

func TestBillingErrors(t *testing.T) {
	f := func(code, asks int, is func(error) bool) {
		t.Helper()
		api, asked := billingServer(t, code, "application/json", fmt.Sprintf(`{"code":%d,"message":"the reason"}`, code))
		_, err := api.Query(t.Context(), client.BillingQuery{Metric: "uptime"})
		if !is(err) || err == nil || !cmp.Equal(err.Error()[len(err.Error())-len(": the reason"):], ": the reason") {
			t.Errorf("%d: %v", code, err)
		}
		if len(*asked) != asks {
			t.Errorf("%d: asked %d times", code, len(*asked))
		}
	}
	f(400, 1, apierrors.IsBadRequest)
	f(401, 1, apierrors.IsUnauthorized)
	f(404, 1, apierrors.IsNotFound)
	f(413, 1, apierrors.IsRequestEntityTooLargeError)
	f(429, 1, apierrors.IsTooManyRequests)
	f(503, 2, apierrors.IsServiceUnavailable)
	api, _ := billingServer(t, 200, "text/html", "<html>")
	if _, err := api.Query(t.Context(), client.BillingQuery{Metric: "uptime"}); err == nil {
		t.Error("a page was taken for an answer")
	}
	if _, err := api.Query(t.Context(), client.BillingQuery{}); err == nil {
		t.Error("no metric was asked for")
	}
}

func TestBillingReport(t *testing.T) {
	const text = `{"begin":"2026-09-30T22:00:00Z","end":"2026-10-31T23:00:00Z","month":"2026-10","by":"pod","complete":true,"currency":"CHF",
"lines":[{"kind":"pods","pod_name":"p","cpu_billed_core_hours":1.500000,"cost":0.10}],"subtotal":{"kind":"subtotal"},"total":{"kind":"total","cost":0.10}}`
	api, asked := billingServer(t, 200, "application/json", text)
	opts := client.ReportOptions{Month: "2026-10", Timezone: "Europe/Zurich", By: "pod"}
	got, err := api.Report(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if line := got.Lines[0]; line.CPUBilled != "1.500000" || line.Cost != "0.10" || got.Total.Cost != "0.10" || !got.Complete || got.End.Hour() != 23 {
		t.Errorf("%+v", got)
	}
	raw, err := api.ReportText(t.Context(), opts, "json")
	if err != nil || string(raw) != text {
		t.Errorf("%v %s", err, raw)
	}
	if want := `POST /api/report me/secret {"by":"pod","format":"json","month":"2026-10","timezone":"Europe/Zurich"}`; (*asked)[0] != want {
		t.Error((*asked)[0])
	}
	api, _ = billingServer(t, 200, "application/json", `{}`)
	if got, err := api.Report(t.Context(), opts); err == nil {
		t.Errorf("nothing was taken for a report: %+v", got)
	}
}

func ExampleClient_Billing() {
	krm, err := client.New("http://127.0.0.1:8080", client.Options{})
	if err != nil {
		panic(err)
	}
	show := func() error {
		report, err := krm.Billing().As("billing", "secret").Report(context.Background(), client.ReportOptions{Month: "2026-10", By: "namespace"})
		if err != nil {
			return err
		}
		for _, line := range report.Lines {
			fmt.Println(line.Kind, line.Namespace, line.CPUBilled, line.Cost)
		}
		return nil
	}
	_ = show
}
