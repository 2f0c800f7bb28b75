package model

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// The cluster that the original was measured with.
const (
	benchNodes, benchPods, benchContainers = 1000, 30, 2
	benchNamespaces                        = 100
)

// bigBatch has what a kubelet tells of each of very many containers.
func bigBatch(ledger *metrics.Ledger, at time.Time) *metrics.Batch {
	b := ledger.Begin(DefaultCluster, at, resolution)
	seed := at.Unix()
	set := func(kind metrics.Kind, parent metrics.Ref, name string, n int) metrics.Ref {
		row := b.Row(kind, parent, name)
		for id := metrics.Uptime; id <= metrics.MemoryLimit && int(id) < n; id++ {
			b.Tables[kind].Set(id, row, int64(row)*4096+seed*int64(id+1))
		}
		b.Tables[kind].Set(metrics.StartTime, row, at.Add(-time.Hour).UnixNano())
		return metrics.Ref{Kind: kind, Row: row}
	}
	var namespaces []metrics.Ref
	for i := range benchNamespaces {
		namespaces = append(namespaces, set(metrics.Namespace, metrics.Ref{}, fmt.Sprintf("team-%d", i), 3))
	}
	for i := range benchNodes {
		name := fmt.Sprintf("node-%04d", i)
		node := set(metrics.Node, metrics.Ref{}, name, 30)
		b.Describe(node, "", &metrics.Meta{Node: name, Hostname: name})
		for _, daemon := range []string{"kubelet", "docker-daemon", "pods"} {
			set(metrics.SystemContainer, node, daemon, 15)
		}
		for j := range benchPods {
			n := i*benchPods + j
			pod := set(metrics.Pod, namespaces[n%benchNamespaces], fmt.Sprintf("web-%d-7f9c6d5b8-x%d", n, j), 22)
			meta := &metrics.Meta{UID: fmt.Sprintf("0f5e3d7c-%08d", n), NamespaceID: "ns", Node: name, Hostname: name, Joined: "app:web,tier:front", Labels: []metrics.Label{{Key: "app", Value: "web"}, {Key: "tier", Value: "front"}}}
			b.Describe(pod, "", meta)
			for k := range benchContainers {
				container := set(metrics.Container, pod, fmt.Sprintf("c%d", k), 22)
				b.Describe(container, "registry.example/team/app:1.2.3", meta)
				for _, fs := range []string{"resource_id:/", "resource_id:logs"} {
					row := b.Row(metrics.Filesystem, container, fs)
					for id := metrics.FilesystemUsage; id <= metrics.FilesystemInodesFree; id++ {
						b.Tables[metrics.Filesystem].Set(id, row, int64(row)*4096)
					}
				}
			}
		}
	}
	return b
}

// Heapster listed the pods of a namespace in 190 ms, all keys in 170 ms, and exported
// in 32 s.
func BenchmarkServe(b *testing.B) {
	ledger, encoder, shelf := metrics.NewLedger(time.Hour), metrics.NewEncoder(), &shelf{Model: metrics.NewModel(Keep)}
	stream := object.FrameStream{Cluster: DefaultCluster, Shards: 1}
	at := time.Now().UTC().Truncate(resolution).Add(-10 * resolution)
	for range 10 {
		at = at.Add(resolution)
		batch := bigBatch(ledger, at)
		if err := shelf.Apply(stream, encoder.Encode(batch)); err != nil {
			b.Fatal(err)
		}
		encoder.Commit(batch)
	}
	api := New(shelf, Options{}, slog.New(slog.DiscardHandler))
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.Use(func(c *gin.Context) { api.Serve(c) })
	f := func(name, path string, header ...string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var size int64
			for b.Loop() {
				r := httptest.NewRequest(http.MethodGet, path, nil)
				for i := 0; i < len(header); i += 2 {
					r.Header.Set(header[i], header[i+1])
				}
				w := &counting{header: http.Header{}}
				engine.ServeHTTP(w, r)
				if size = w.size; w.code != http.StatusOK || size < 100 {
					b.Fatalf("%s: %d, %d bytes", path, w.code, size)
				}
			}
			b.ReportMetric(float64(size)/1e6, "MB")
		})
	}
	f("series", modelRoot+"/namespaces/team-7/pods/web-7-7f9c6d5b8-x7/metrics/cpu/usage_rate")
	f("labelled", modelRoot+"/namespaces/team-7/pods/web-7-7f9c6d5b8-x7/containers/c1/metrics/filesystem/usage?labels=resource_id:/")
	f("metrics", modelRoot+"/namespaces/team-7/pods/web-7-7f9c6d5b8-x7/metrics")
	f("nodes", modelRoot+"/nodes")
	f("pods", modelRoot+"/namespaces/team-7/pods")
	f("keys", modelRoot+"/debug/allkeys")
	f("top-nodes", "/apis/metrics.k8s.io/v1beta1/nodes")
	f("top-namespace", "/apis/metrics.k8s.io/v1beta1/namespaces/team-7/pods?labelSelector=app%3Dweb")
	f("top-all", "/apis/metrics.k8s.io/v1beta1/pods")
	f("top-all-protobuf", "/apis/metrics.k8s.io/v1beta1/pods", "Accept", "application/vnd.kubernetes.protobuf")
	f("export", exportPath)
	f("export-gzip", exportPath, "Accept-Encoding", "gzip")
}

// counting throws an answer away.
type counting struct {
	header http.Header
	code   int
	size   int64
}

func (c *counting) Header() http.Header  { return c.header }
func (c *counting) WriteHeader(code int) { c.code = code }
func (c *counting) Write(b []byte) (int, error) {
	c.size += int64(len(b))
	return len(b), nil
}

var _ io.Writer = (*counting)(nil)
