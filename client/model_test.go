package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// answering is a client of a server that answers one request after the other, the last
// one for ever. It tells which requests came.
func answering(t *testing.T, answers ...http.HandlerFunc) (krm *client.Client, asked *[]string) {
	t.Helper()
	asked = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.RequestURI)
		answers[min(len(*asked), len(answers))-1](w, r)
	}))
	t.Cleanup(server.Close)
	krm, err := client.New(server.URL+"/krm", client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return krm, asked
}

func says(code int, media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

const exported = `{"metrics":{"cpu/usage":[{"start":"2026-01-01T00:00:00Z","end":"2026-01-01T01:00:00Z","value":9007199254740993}]},"labels":{"pod_name":"web-0"}}`

func TestExport(t *testing.T) {
	f := func(wantSets int, wantError string, answers ...http.HandlerFunc) {
		t.Helper()
		krm, asked := answering(t, answers...)
		sets := 0
		var last error
		for set, err := range krm.Model().Of("east").Export(t.Context()) {
			if last = err; err == nil {
				sets++
				if n, err := set.Metrics["cpu/usage"][0].Value.Int64(); err != nil || n != 1<<53+1 || set.Labels["pod_name"] != "web-0" {
					t.Errorf("%+v", set)
				}
			}
		}
		if sets != wantSets || (last == nil) != (wantError == "") || last != nil && !strings.Contains(last.Error(), wantError) {
			t.Errorf("%d sets, %v, want %d, %s", sets, last, wantSets, wantError)
		}
		if (*asked)[0] != "/krm/clusters/east/api/v1/metric-export" {
			t.Errorf("asked for %v", *asked)
		}
	}
	whole := says(200, "application/json", "["+exported+","+exported+"]\n")
	f(2, "", whole)
	f(0, "", says(200, "application/json", "null\n"))
	f(0, "", says(200, "application/json", "[]"))
	f(2, "", says(503, "text/plain", "busy"), says(429, "text/plain", "busy"), whole)
	f(0, "no rights", says(403, "text/plain", "no rights"), whole)
	f(1, "unexpected EOF", says(200, "application/json", "["+exported))
	f(1, "unexpected EOF", says(200, "application/json", "["+exported+","+exported[:50]))
	f(0, "want an array", says(200, "application/json", `{"a":1}`))
	f(0, `of type "text/html"`, says(200, "text/html", "<html>"))
	f(1, "EOF", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "["+exported+",")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	krm, _ := answering(t, whole)
	for range krm.Model().Export(t.Context()) {
		break // the rest is not read
	}
}

func TestModelAnswers(t *testing.T) {
	start, end := time.Date(2026, 1, 1, 12, 0, 0, 5, time.FixedZone("", 3600)), time.Date(2026, 1, 1, 13, 0, 0, 0, time.UTC)
	const series = `{"metrics":[{"timestamp":"2026-01-01T12:00:00Z","value":18446744073709551615},{"timestamp":"2026-01-01T12:00:30Z","value":1,"floatValue":1.5}],"latestTimestamp":"2026-01-01T12:00:30Z"}`
	krm, asked := answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Krm-Metrics-At", "2026-01-01T12:00:30Z")
		w.Header().Set("Krm-Partial", "points=1")
		w.Header().Set("Warning", `299 krm "metrics: old"`)
		says(200, "application/json", series)(w, r)
	})
	web := krm.Model().Namespace("default").Pod("web-0")
	got, fresh, err := web.Metric(t.Context(), "nvidia.com/gpu/request", start, end, client.MetricLabel{Key: "k", Value: "a:b/c d"}, client.MetricLabel{Key: "l", Value: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "/krm/api/v1/model/namespaces/default/pods/web-0/metrics/nvidia.com/gpu/request?end=2026-01-01T13%3A00%3A00Z&labels=k%3Aa%3Ab%2Fc+d%2Cl%3Am&start=2026-01-01T11%3A00%3A00.000000005Z"; (*asked)[0] != want {
		t.Errorf("asked for %s, want %s", (*asked)[0], want)
	}
	if len(got.Points) != 2 || got.Points[0].Value != 1<<64-1 || got.Points[1].Number() != 1.5 || !got.Latest.Equal(got.Points[1].Time) {
		t.Errorf("%+v", got)
	}
	if fmt.Sprint(fresh) != "{2026-01-01 12:00:30 +0000 UTC points=1 [metrics: old]}" {
		t.Errorf("%v", fresh)
	}

	for _, wrong := range []string{`{}`, `[]`, `"x"`, `{"metrics":null}`, `{"metrics":[{"timestamp":1}]}`} {
		krm, _ := answering(t, says(200, "application/json", wrong))
		if _, _, err := krm.Model().Metric(t.Context(), "cpu/usage", start, end); err == nil {
			t.Errorf("%s passes for a series", wrong)
		}
	}
	for _, wrong := range []string{`{}`, `null`, `[1]`} {
		krm, _ := answering(t, says(200, "application/json", wrong))
		if _, _, err := krm.Model().Nodes(t.Context()); err == nil {
			t.Errorf("%s passes for a list", wrong)
		}
		if _, _, err := krm.Model().Collections(t.Context()); err == nil {
			t.Errorf("%s passes for collections", wrong)
		}
	}
	krm, _ = answering(t, says(400, "text/plain", "timestamp argument cannot be parsed"))
	var status apierrors.APIStatus
	if _, _, err := krm.Model().Nodes(t.Context()); !errors.As(err, &status) || status.Status().Code != 400 || !strings.Contains(err.Error(), "cannot be parsed") {
		t.Errorf("%v", err)
	}
}
