package billing

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

const (
	user, password = "billing", "correct horse"
	every          = time.Minute
)

// handler serves an API as the server does.
func handler(db metricdb.DB, options Options) http.Handler {
	gin.SetMode(gin.TestMode)
	if options.Credentials == (Credentials{}) {
		options.Credentials = Credentials{Username: user, Password: password}
	}
	if options.RefusalDelay == 0 {
		options.RefusalDelay = time.Millisecond
	}
	api := New(db, options, slog.New(slog.DiscardHandler))
	engine := gin.New()
	engine.Use(func(c *gin.Context) { api.Serve(c) })
	engine.NoRoute(func(c *gin.Context) { c.String(http.StatusTeapot, "kubernetes") })
	return engine
}

func post(path, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("X-USERNAME", user)
	r.Header.Set("X-PASSWORD", password)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func send(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// rowsOf decodes an answer of 200.
func rowsOf(t *testing.T, w *httptest.ResponseRecorder) (rows []map[string]any) {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("code %d: %s", w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &rows); err != nil || rows == nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return rows
}

// begun is when the world of the tests begins: all of it is past.
func begun() time.Time { return time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC) }

func repeat(value int64, n int) []int64 {
	values := make([]int64, n)
	for i := range values {
		values[i] = value
	}
	return values
}

// pod adds one whose containers a and b share what it uses; the pod's own figures are a
// bit more than their sum, as kubelets' are.
func (f *fakeDB) pod(namespace, name, uid string, from time.Time, n int, cpu, memory int64) {
	tags := labels("namespace_name", namespace, "pod_name", name, "pod_id", uid, "nodename", "n1", "labels", "app:"+name+",team:"+namespace)
	put := func(metric string, value int64) {
		if metric != "memory/request" && metric != "cpu/request" {
			f.add(metric, metrics.Pod, tags, from, every, repeat(value+2, n)...)
		} else {
			f.add(metric, metrics.Pod, tags, from, every, repeat(value, n)...)
		}
		for _, container := range []string{"a", "b"} {
			f.add(metric, metrics.Container, tags.With("container_name", container), from, every, repeat(value/2, n)...)
		}
	}
	put("cpu/usage_rate", cpu)
	put("cpu/request", 100)
	put("memory/usage", memory)
	put("memory/request", 1<<30)
}

// small is a world of an hour: two pods in ns a, one of them of a name used again, one
// in ns b of the same name as one of a.
func small() *fakeDB {
	f := &fakeDB{}
	t0 := begun()
	f.spans(t0, t0.Add(time.Hour), every)
	f.pod("a", "web", "u1", t0, 30, 200, 2<<30)
	f.pod("a", "web", "u2", t0.Add(30*every), 30, 400, 2<<30)
	f.pod("a", "db", "u3", t0, 60, 50, 3<<30)
	f.pod("b", "web", "u4", t0, 60, 1000, 1<<30)
	for metric, value := range map[string]int64{"cpu/usage_rate": 1754, "memory/usage": 6 << 30} {
		f.add(metric, metrics.Node, labels("nodename", "n1"), t0, every, repeat(value, 60)...)
		f.add(metric, metrics.Cluster, labels(), t0, every, repeat(value, 60)...)
		f.add(metric, metrics.Namespace, labels("namespace_name", "b"), t0, every, repeat(value, 60)...)
	}
	for metric, value := range map[string]int64{
		"cpu/node_capacity": 4000, "cpu/node_allocatable": 3800, "memory/node_capacity": 16 << 30, "memory/node_allocatable": 15 << 30,
	} {
		f.add(metric, metrics.Node, labels("nodename", "n1"), t0, every, repeat(value, 60)...)
	}
	f.add("network/rx", metrics.Pod, labels("namespace_name", "b", "pod_name", "web", "pod_id", "u4"), t0, every, 0, 1<<30, 2<<30, 1<<20)
	return f
}

const hourBody = `"timeBeginInterval":"2024-02-01","timeEndInterval":"2024-02-01 01:00:00"`
