package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/apiserver"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
)

// metricsSite is an apiserver over an embedded Redis, and a collector's end of that.
type metricsSite struct {
	url     string
	writer  *store.FrameWriter
	ledger  *metrics.Ledger
	encoder *metrics.Encoder
	next    time.Time
}

func newMetricsSite(t *testing.T) *metricsSite {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	embedded, err := store.StartEmbedded(log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return embedded.Run(ctx) })
	options := embedded.Options()
	options.Instance = "test"
	redis, err := store.Connect(ctx, options, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if err := redis.Close(); err != nil {
			t.Error(err)
		}
	})
	var config apiserver.Config
	config.RegisterFlags(pflag.NewFlagSet("", pflag.ContinueOnError))
	listen := freeAddress(t)
	if _, err := serveAPI(ctx, g, listen, config, upstream{}, past{}, &process{log: log, registry: newRegistry(), redis: redis}); err != nil {
		t.Fatal(err)
	}
	s := &metricsSite{
		url: "http://" + listen, writer: redis.FrameWriter(object.FrameStream{Cluster: "default", Shards: 1}),
		ledger: metrics.NewLedger(time.Hour), encoder: metrics.NewEncoder(), next: time.Now().UTC().Truncate(30 * time.Second).Add(-time.Minute),
	}
	if err := s.writer.Acquire(ctx, func(string) {}); err != nil {
		t.Fatal(err)
	}
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// collect writes the next batch: one node, one pod of one container, that use so much.
func (s *metricsSite) collect(t *testing.T, millicores int64) {
	t.Helper()
	s.next = s.next.Add(30 * time.Second)
	b := s.ledger.Begin("default", s.next, 30*time.Second)
	set := func(kind metrics.Kind, row metrics.Row) metrics.Ref {
		b.Tables[kind].Set(metrics.CPUUsageRate, row, millicores)
		b.Tables[kind].Set(metrics.MemoryWorkingSet, row, 64<<20)
		return metrics.Ref{Kind: kind, Row: row}
	}
	set(metrics.Node, b.Row(metrics.Node, metrics.Ref{}, "node-1"))
	namespace := set(metrics.Namespace, b.Row(metrics.Namespace, metrics.Ref{}, "shop"))
	pod := set(metrics.Pod, b.Row(metrics.Pod, namespace, "web-1"))
	set(metrics.Container, b.Row(metrics.Container, pod, "app"))
	frame := object.Frame{At: b.Time, Data: s.encoder.Encode(b)}
	if err := s.writer.Append(t.Context(), frame, s.encoder.Keyframe(b)); err != nil {
		t.Fatal(err)
	}
	s.encoder.Commit(b)
}

// get asks until the answer has what is wanted, for ten seconds.
func (s *metricsSite) get(t *testing.T, path, want string) {
	t.Helper()
	last := ""
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		response, err := http.Get(s.url + path)
		if err != nil {
			last = err.Error()
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if last = fmt.Sprintf("%d %s", response.StatusCode, body); err == nil && response.StatusCode == http.StatusOK && strings.Contains(last, want) {
			return
		}
	}
	t.Errorf("%s: %s, want %s", path, last, want)
}

// Frames that a collector wrote are served, and so is what tells of them.
func TestModelFromRedis(t *testing.T) {
	s := newMetricsSite(t)
	s.get(t, "/api/v1/model/nodes", "[]")
	s.collect(t, 100)
	s.get(t, "/api/v1/model/namespaces/shop/pods", `"web-1"`)
	s.collect(t, 200)
	s.get(t, "/api/v1/model/nodes/node-1/metrics/cpu/usage_rate", `"value": 200`)
	s.get(t, "/api/v1/model/nodes/node-1/metrics/cpu/usage_rate", `"value": 100`)
	s.get(t, "/apis", `"groupVersion":"metrics.k8s.io/v1beta1"`)
	s.get(t, "/apis/metrics.k8s.io/v1beta1", `"kind":"PodMetrics","verbs":["get","list"]`)
	s.get(t, "/apis/metrics.k8s.io/v1beta1/nodes", `"cpu":"200m"`)
	s.get(t, "/metrics", `krm_model_frames_total{cluster="default"}`)
}
