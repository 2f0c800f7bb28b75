package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestParsePath(t *testing.T) {
	f := func(path string, want place) {
		t.Helper()
		if got, ok := parsePath(path); !ok || got != want {
			t.Errorf("parsePath(%q) = %+v, %v, want %+v", path, got, ok, want)
		}
	}
	f("/api/v1/pods", place{version: "v1", plural: "pods"})
	f("/api/v1/pods/", place{version: "v1", plural: "pods"})
	f("/api/v1/nodes/n", place{version: "v1", plural: "nodes", name: "n"})
	f("/api/v1/namespaces", place{version: "v1", plural: "namespaces"})
	f("/api/v1/namespaces/a", place{version: "v1", plural: "namespaces", name: "a"})
	f("/api/v1/namespaces/a/pods", place{version: "v1", plural: "pods", namespace: "a", inNamespace: true})
	f("/api/v1/namespaces/a/pods/p", place{version: "v1", plural: "pods", namespace: "a", inNamespace: true, name: "p"})
	f("/api/v1/namespaces/a/pods/p/log", place{version: "v1", plural: "pods", namespace: "a", inNamespace: true, name: "p", rest: "log"})
	f("/apis/apps/v1/deployments", place{group: "apps", version: "v1", plural: "deployments"})
	f("/apis/g/v2/namespaces/a/things/t", place{group: "g", version: "v2", plural: "things", namespace: "a", inNamespace: true, name: "t"})
	for _, path := range []string{"", "/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1//pods", "/api/v1/pods//x", "/other/v1/pods"} {
		if got, ok := parsePath(path); ok {
			t.Errorf("parsePath(%q) = %+v, want nothing", path, got)
		}
	}
}

func TestLater(t *testing.T) {
	f := func(span string, elapsed time.Duration, want string) {
		t.Helper()
		if got := later(span, elapsed); got != want {
			t.Errorf("later(%q, %v) = %q, want %q", span, elapsed, got, want)
		}
	}
	f("5s", time.Minute, "65s")
	f("2d3h", 24*time.Hour, "3d3h")
	f("59m", time.Hour, "119m")
	f("5s", -time.Minute, "5s") // clocks differ
	f("", time.Minute, "")
	f("<unknown>", time.Minute, "<unknown>")
	f("<none>", time.Minute, "<none>")
}

// slowReader takes less than it is given, and then nothing.
type slowReader struct{ left int }

var errGone = errors.New("gone")

func (w *slowReader) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errGone
	}
	return len(p), nil
}

func TestPieces(t *testing.T) {
	var out strings.Builder
	deadlines := 0
	p := pieces{w: &out, buffer: make([]byte, 0, 4), deadline: func(time.Time) error { deadlines++; return nil }}
	for _, text := range []string{"ab", "", "cde", "fghijklmn", "o"} {
		p.add(text)
	}
	p.flush()
	if out.String() != "abcdefghijklmno" || deadlines != 4 || p.err != nil {
		t.Errorf("wrote %q, %d deadlines, %v", out.String(), deadlines, p.err)
	}
	p = pieces{w: &slowReader{left: 6}, buffer: make([]byte, 0, 4), deadline: func(time.Time) error { return http.ErrNotSupported }}
	p.add("0123456789")
	p.add("abc")
	p.flush()
	if !errors.Is(p.err, errGone) {
		t.Errorf("err %v", p.err)
	}
}

// manyPods is a snapshot of 10,000 pods of 5 KB, of which every 100th is canary=yes.
type manyPods struct{ body string }

func (f manyPods) State(context.Context) (object.SnapshotState, error) {
	return object.SnapshotState{Synced: true, Tail: "1-1", Freshness: object.Freshness{Streamed: "123456", StreamedAt: time.Now()}}, nil
}

func (f manyPods) Scan(context.Context) iter.Seq2[object.Record, error] {
	return func(yield func(object.Record, error) bool) {
		for i := range 10000 {
			name, canary := fmt.Sprintf("web-6d4cf56db6-%05d", i), "no"
			if i%100 == 0 {
				canary = "yes"
			}
			body := fmt.Sprintf(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":%q,"namespace":"default","labels":{"app":"web","canary":%q,"pod-template-hash":"6d4cf56db6","tier":"front"}},"spec":{"nodeName":"node-1","data":%q}}`, name, canary, f.body)
			if !yield(object.Record{Head: object.Head{Key: object.Key{Namespace: "default", Name: name}, Version: "1"}, Body: []byte(body)}, nil) {
				return
			}
		}
	}
}

func (f manyPods) Read(ctx context.Context, _ object.LogID, wait time.Duration) ([]object.FeedEntry, error) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	return nil, ctx.Err()
}

func (f manyPods) Tail(context.Context) (object.LogID, error) { return "1-1", nil }

func (f manyPods) Unpack(context.Context, object.Packed) (object.Record, error) {
	return object.Record{}, nil
}

func (f manyPods) Resources(context.Context) ([]object.Registered, error) {
	return []object.Registered{{Resource: object.Resource{Version: "v1", Name: "pods", Kind: "Pod", Namespaced: true}}}, nil
}

// serveMany serves manyPods over HTTP on loopback.
func serveMany(tb testing.TB) (address string) {
	log := slog.New(slog.DiscardHandler)
	feed := manyPods{body: strings.Repeat("0123456789abcdef", 305)}
	set := mirror.NewSet(feed, func(object.Resource) mirror.Feed { return feed }, mirror.Options{}, log)
	ctx, cancel := context.WithCancel(tb.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = set.Run(ctx)
	}()
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	New(set, Options{}, log).Register(engine)
	server := httptest.NewServer(engine)
	tb.Cleanup(func() { server.Close(); cancel(); <-done })
	for {
		if m, ok := set.Find("", "pods"); ok && m.Root() != nil {
			return server.URL
		}
		time.Sleep(time.Millisecond)
	}
}

// benchmarkGet asks again and again over one connection and counts the answers' bytes.
func benchmarkGet(b *testing.B, path string, least int64) {
	address := serveMany(b)
	buffer := make([]byte, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		answer, err := http.Get(address + path)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, answer.Body, buffer)
		if err != nil || n < least || answer.StatusCode != 200 {
			b.Fatal(n, err, answer.Status)
		}
		_ = answer.Body.Close()
		b.SetBytes(n)
	}
}

func BenchmarkList10000Pods(b *testing.B) { benchmarkGet(b, "/api/v1/pods", 50e6) }

func BenchmarkListOnePercentByLabel(b *testing.B) {
	benchmarkGet(b, "/api/v1/pods?labelSelector=canary%3Dyes", 500e3)
}

func BenchmarkGetOne(b *testing.B) {
	benchmarkGet(b, "/api/v1/namespaces/default/pods/web-6d4cf56db6-05000", 5000)
}
