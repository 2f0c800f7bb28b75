package apiserver

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
	"github.com/kubernetes-resource-monitor/krm/apiserver/model"
	sets "github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// measured is a source of metrics that always has the same, or nothing.
type measured struct{ *sets.Model }

func (measured) Loading() error     { return nil }
func (measured) Doubt(string) error { return nil }

// newMeasured has one node with one pod in each of the clusters.
func newMeasured(t *testing.T, clusters ...string) model.Source {
	t.Helper()
	m := sets.NewModel(model.Keep)
	for _, name := range clusters {
		b := sets.NewLedger(time.Hour).Begin(name, time.Now().UTC().Truncate(30*time.Second), 30*time.Second)
		set := func(kind sets.Kind, row sets.Row) sets.Ref {
			b.Tables[kind].Set(sets.CPUUsageRate, row, 7)
			b.Tables[kind].Set(sets.MemoryWorkingSet, row, 1000)
			return sets.Ref{Kind: kind, Row: row}
		}
		set(sets.Cluster, 0)
		set(sets.Node, b.Row(sets.Node, sets.Ref{}, "node-1"))
		namespace := set(sets.Namespace, b.Row(sets.Namespace, sets.Ref{}, "default"))
		pod := set(sets.Pod, b.Row(sets.Pod, namespace, "web-1"))
		set(sets.Container, b.Row(sets.Container, pod, "app"))
		if err := m.Restore(object.FrameStream{Cluster: name, Shards: 1}, sets.NewEncoder().Keyframe(b), nil); err != nil {
			t.Fatal(err)
		}
	}
	return measured{m}
}

// metricsServer is a server with metrics, that may have to be asked with a token.
func metricsServer(t *testing.T, source model.Source, guard *auth.Guard) func(method, path, token string) *httptest.ResponseRecorder {
	t.Helper()
	fake := newFakeRedis()
	set := mirror.NewSet(fake, func(r object.Resource) mirror.Feed { return fake.feeds[r.String()] }, mirror.Options{}, slog.New(slog.DiscardHandler))
	server := New(set, fake, Options{Secret: secret, Model: source, Guard: guard}, slog.New(slog.DiscardHandler))
	return func(method, path, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://krm"+path, nil)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, r)
		return w
	}
}

func TestServingMetrics(t *testing.T) {
	f := func(source model.Source, path string, code int, has string) {
		t.Helper()
		w := metricsServer(t, source, nil)(http.MethodGet, path, "")
		if w.Code != code || !strings.Contains(w.Body.String(), has) {
			t.Errorf("%s: %d %s, want %d with %s", path, w.Code, w.Body, code, has)
		}
	}
	full, empty := newMeasured(t, "default", "other"), newMeasured(t)
	f(full, "/api/v1/model/nodes/", 200, `"node-1"`)
	f(full, "/clusters/other/api/v1/model/namespaces/default/pods", 200, `"web-1"`)
	f(full, "/api/v1/metric-export", 200, `"pod_name":"web-1"`)
	f(full, "/krm/v1/metrics/nodes", 200, `"cluster":"default"`)
	f(full, "/apis/metrics.k8s.io/v1beta1/nodes", 200, `"cpu":"7m"`)
	f(full, "/apis/metrics.k8s.io/v1/namespaces/default/pods/web-1", 200, `"memory":"1000"`)
	f(full, "/api/v1/model/nosuch", 404, "404: Page Not Found")
	f(full, "/nosuch", 404, "404 page not found\n")
	f(full, "/api/v1/secrets", 503, "Redis has not told") // still the Kubernetes API's
	f(empty, "/api/v1/model/nodes", 200, "[]")
	f(empty, "/apis/metrics.k8s.io/v1beta1/nodes", 503, "Redis has not told")
	f(nil, "/api/v1/model/nodes", 503, "Redis has not told")
	f(nil, "/krm/v1/metrics/nodes", 404, "404 page not found\n")
	for _, path := range []string{"/api/v1/model/nodes", "/apis/metrics.k8s.io/v1/nodes", "/krm/v1/metrics/nodes", "/clusters"} {
		if w := metricsServer(t, full, nil)(http.MethodPost, path, ""); w.Code != 405 {
			t.Errorf("POST %s: %d", path, w.Code)
		}
	}
}

// Static tokens read metrics as they read the resources of metrics.k8s.io; metrics of
// a whole cluster take a token for everything.
func TestMetricsWithTokens(t *testing.T) {
	var entries strings.Builder
	for name, may := range map[string]string{
		"all": `namespaces: ["*"], resources: ["*"]`, "team": `namespaces: [default], resources: [pods.metrics.k8s.io]`,
		"ops": `namespaces: ["*"], resources: [nodes.metrics.k8s.io, pods.metrics.k8s.io]`, "state": `namespaces: ["*"], resources: [pods, nodes]`,
	} {
		fmt.Fprintf(&entries, "- {name: %s, sha256: %x, %s}\n", name, sha256.Sum256([]byte("token-"+name)), may)
	}
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(file, []byte(entries.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	guard, err := auth.Open(auth.Config{Mode: auth.ModeToken, TokenFile: file}, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ask := metricsServer(t, newMeasured(t, "default", "other"), guard)
	for path, who := range map[string]string{
		"/api/v1/model/namespaces/default/pods":                           "all team ops",
		"/api/v1/model/namespaces/default/pods/web-1/metrics/cpu-usage":   "all team ops",
		"/api/v1/model/namespaces/kube-system/pods":                       "all ops",
		"/api/v1/model/namespaces":                                        "all ops",
		"/api/v1/model/nodes":                                             "all ops",
		"/api/v1/model/metrics":                                           "all",
		"/api/v1/model/debug/allkeys":                                     "all",
		"/api/v1/metric-export":                                           "all",
		"/api/v1/metric-export-schema":                                    "all",
		"/clusters":                                                       "all",
		"/clusters/other/api/v1/model/namespaces/default/pods":            "all",
		"/clusters/default/api/v1/model/namespaces/default/pods":          "all team ops",
		"/krm/v1/metrics/nodes":                                           "all ops",
		"/krm/v1/metrics/nodes?cluster=other":                             "all",
		"/apis/metrics.k8s.io/v1beta1/namespaces/default/pods":            "all team ops",
		"/apis/metrics.k8s.io/v1beta1/pods":                               "all ops",
		"/apis/metrics.k8s.io/v1beta1/nodes":                              "all ops",
		"/clusters/other/apis/metrics.k8s.io/v1/namespaces/default/pods/": "all",
	} {
		for _, name := range []string{"all", "team", "ops", "state"} {
			want := http.StatusForbidden
			if strings.Contains(who, name) {
				want = http.StatusOK
			}
			w := ask(http.MethodGet, path, "token-"+name)
			if w.Code != want || want == http.StatusForbidden && !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s asks for %s: %d %s, want %d", name, path, w.Code, w.Body, want)
			}
		}
		if w := ask(http.MethodGet, path, ""); w.Code != http.StatusUnauthorized {
			t.Errorf("nobody asks for %s: %d", path, w.Code)
		}
	}
}
