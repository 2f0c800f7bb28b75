package model

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const (
	resolution = 30 * time.Second
)

// values are those of a set; what is measured over time is given by its rate.
type values map[metrics.ID]float64

// cluster makes the batches of one that has two nodes, and a third that is not ready,
// and whose pods use always the same.
type cluster struct {
	stream  object.FrameStream
	ledger  *metrics.Ledger
	encoder *metrics.Encoder
	begun   time.Time
}

func newCluster(name string) *cluster {
	return &cluster{
		stream: object.FrameStream{Cluster: name, Shards: 1}, ledger: metrics.NewLedger(20 * time.Minute),
		encoder: metrics.NewEncoder(), begun: time.Now().Add(-time.Hour).UTC(),
	}
}

func put(b *metrics.Batch, kind metrics.Kind, row metrics.Row, all values) {
	for id, v := range all {
		bits := int64(v)
		if metrics.Describe(id).Float {
			bits = metrics.FloatBits(v)
		}
		b.Tables[kind].Set(id, row, bits)
	}
}

// measured adds what all that is measured has: millicores and bytes.
func (c *cluster) measured(b *metrics.Batch, cpu, memory float64, more values) values {
	seconds := b.Time.Add(5 * time.Second).Sub(c.begun).Seconds()
	all := values{
		metrics.Uptime: seconds * 1000, metrics.CPUUsage: cpu * seconds * 1e6, metrics.CPUUsageRate: cpu,
		metrics.MemoryUsage: memory, metrics.MemoryWorkingSet: memory / 2,
		metrics.StartTime: float64(c.begun.UnixNano()), metrics.CPUTime: float64(b.Time.Add(5 * time.Second).UnixNano()),
	}
	for id, v := range more {
		all[id] = v
	}
	return all
}

// add adds a row with values.
func add(b *metrics.Batch, kind metrics.Kind, parent metrics.Ref, name string, all values) metrics.Ref {
	row := b.Row(kind, parent, name)
	put(b, kind, row, all)
	return metrics.Ref{Kind: kind, Row: row}
}

func (c *cluster) node(b *metrics.Batch, letter string, all values) metrics.Ref {
	node := add(b, metrics.Node, metrics.Ref{}, "node-"+letter, all)
	b.Describe(node, "", &metrics.Meta{
		UID: "uid-node-" + letter, Node: "node-" + letter, Hostname: "host-" + letter, Joined: "zone:" + letter,
		Labels: []metrics.Label{{Key: "zone", Value: letter}},
	})
	return node
}

func (c *cluster) pod(b *metrics.Batch, namespace metrics.Ref, name, letter string, labels []metrics.Label, all values) (metrics.Ref, *metrics.Meta) {
	pod := add(b, metrics.Pod, namespace, name, all)
	var joined []string
	for _, l := range labels {
		joined = append(joined, l.Key+":"+l.Value)
	}
	meta := &metrics.Meta{
		UID: "uid-" + name, NamespaceID: "nsuid-" + b.Tables[metrics.Namespace].Entities[namespace.Row].Name, Node: "node-" + letter, Hostname: "host-" + letter,
		Labels: labels, Joined: strings.Join(joined, ","),
	}
	b.Describe(pod, "", meta)
	return pod, meta
}

// batch makes the batch of the window that ends now. The values are those of the
// fixtures that the original was run on.
func (c *cluster) batch(change ...func(b *metrics.Batch)) *metrics.Batch {
	b := c.ledger.Begin(c.stream.Cluster, time.Now().UTC().Truncate(resolution), resolution)
	b.Shard, b.Shards = c.stream.Shard, c.stream.Shards
	b.ScrapedAt = b.Time.Add(5 * time.Second)
	b.Nodes = []metrics.NodeStatus{
		{Name: "node-a", Took: 20 * time.Millisecond, LastAt: b.ScrapedAt},
		{Name: "node-b", Took: 30 * time.Millisecond, LastAt: b.ScrapedAt},
		{Name: "node-c", Reason: "not ready", Error: "the node's condition Ready is False"},
	}
	put(b, metrics.Cluster, 0, values{
		metrics.CPUUsageRate: 368, metrics.MemoryUsage: 119000000, metrics.CPURequest: 250, metrics.CPULimit: 500,
		metrics.MemoryRequest: 207618048, metrics.MemoryLimit: 312475648,
	})
	usual := add(b, metrics.Namespace, metrics.Ref{}, "default", values{metrics.CPUUsageRate: 358, metrics.MemoryUsage: 99000000})
	system := add(b, metrics.Namespace, metrics.Ref{}, "kube-system", values{metrics.CPUUsageRate: 10, metrics.MemoryUsage: 20000000})
	c.nodes(b)

	web, meta := c.pod(b, usual, "web-0", "a", []metrics.Label{{Key: "app", Value: "web"}, {Key: "tier", Value: "front"}},
		c.measured(b, 255, 58000000, values{metrics.RestartCount: 3}))
	gpus := metrics.ResourceRequest("nvidia.com/gpu")
	b.Tables[metrics.Pod].Make(gpus).Set(web.Row, 1)
	app := add(b, metrics.Container, web, "app", c.measured(b, 200, 50000000, values{metrics.EphemeralStorageUsage: 111, metrics.RestartCount: 1}))
	b.Describe(app, "nginx:1", meta)
	for _, name := range []string{"logs", "/"} {
		add(b, metrics.Filesystem, app, "resource_id:"+name, values{metrics.FilesystemUsage: 100, metrics.FilesystemLimit: 1000})
	}
	side := add(b, metrics.Container, web, "side", c.measured(b, 50, 8000000, nil))
	b.Tables[metrics.Container].Make(gpus).Set(side.Row, 1)
	b.Describe(side, "side:1", meta)

	web1, meta := c.pod(b, usual, "web-1", "b", []metrics.Label{{Key: "app", Value: "web"}}, c.measured(b, 103, 41000000, nil))
	b.Describe(add(b, metrics.Container, web1, "app", c.measured(b, 100, 40000000, nil)), "nginx:1", meta)

	dns, meta := c.pod(b, system, "dns", "a", nil, values{metrics.CPUUsageRate: 10, metrics.MemoryUsage: 20000000, metrics.NetworkRxRate: 12.5})
	b.Describe(add(b, metrics.Container, dns, "dns", c.measured(b, 10, 20000000, nil)), "dns:1", meta)
	for _, f := range change {
		f(b)
	}
	return b
}

func (c *cluster) nodes(b *metrics.Batch) {
	a := c.node(b, "a", c.measured(b, 1500, 3000000000, values{
		metrics.CPURequest: 150, metrics.MemoryRequest: 140509184,
		metrics.CPUNodeReservation: 0.039473684210526314, metrics.CPUNodeUtilization: 0.39473684210526316,
		metrics.MemoryNodeReservation: 0.018694196428571428, metrics.MemoryNodeUtilization: 0.39913824626377653,
		metrics.NetworkRxRate: 1000, metrics.NetworkTxRate: 2000,
	}))
	add(b, metrics.Filesystem, a, "resource_id:/", values{metrics.FilesystemUsage: 4000, metrics.FilesystemAvailable: 6000})
	for name, cpu := range map[string]float64{"kubelet": 30, "docker-daemon": 40, "pods": 300, "system": 5} {
		add(b, metrics.SystemContainer, a, name, c.measured(b, cpu, 100*cpu, nil))
	}
	c.node(b, "b", c.measured(b, 700, 1000000000, nil))
}

// encode makes the frame of b, and keeps b as base of the next.
func (c *cluster) encode(b *metrics.Batch) (delta []byte) {
	delta = c.encoder.Encode(b)
	c.encoder.Commit(b)
	return delta
}

// shelf is a Source that is filled by hand.
type shelf struct {
	*metrics.Model
	loading, doubt error
}

func (s *shelf) Loading() error     { return s.loading }
func (s *shelf) Doubt(string) error { return s.doubt }

// put lets time pass until the next window has ended, and puts its batch into the model.
func (s *shelf) put(t *testing.T, c *cluster, change ...func(*metrics.Batch)) {
	t.Helper()
	time.Sleep(resolution)
	if err := s.Apply(c.stream, c.encode(c.batch(change...))); err != nil {
		t.Fatal(err)
	}
}

// site is an API over a shelf.
type site struct {
	t       *testing.T
	shelf   *shelf
	cluster *cluster
	options Options
	asked   []kubeapi.Access // what was authorized
	refuse  error
}

// visit runs f in a bubble, where nothing has been measured yet.
func visit(t *testing.T, f func(t *testing.T, s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour)
		f(t, &site{t: t, shelf: &shelf{Model: metrics.NewModel(Keep)}, cluster: newCluster(DefaultCluster)})
	})
}

// visitFixtures is visit after two batches, and 10 s.
func visitFixtures(t *testing.T, f func(t *testing.T, s *site)) {
	t.Helper()
	visit(t, func(t *testing.T, s *site) {
		s.shelf.put(t, s.cluster)
		s.shelf.put(t, s.cluster)
		time.Sleep(10 * time.Second)
		f(t, s)
	})
}

func (s *site) handler() http.Handler {
	options := s.options
	options.Authorize = func(_ *gin.Context, access kubeapi.Access) error {
		s.asked = append(s.asked, access)
		return s.refuse
	}
	api := New(s.shelf, options, slog.New(slog.DiscardHandler))
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.Use(func(c *gin.Context) {
		if !api.Serve(c) {
			c.String(http.StatusTeapot, "not ours")
		}
	})
	return engine
}

func (s *site) do(method, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://krm"+target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, r)
	return w
}

func (s *site) get(target string, header ...string) *httptest.ResponseRecorder {
	return s.do(http.MethodGet, target, header...)
}

// json asks for target, which must be there, and compares the answer with what want is
// as JSON.
func (s *site) json(target, want string) http.Header {
	s.t.Helper()
	w := s.get(target)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		s.t.Errorf("%s: %d %q: %s", target, w.Code, w.Header().Get("Content-Type"), w.Body)
		return w.Header()
	}
	if diff := cmp.Diff(parse(s.t, want), parse(s.t, w.Body.String())); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", target, diff)
	}
	return w.Header()
}

func parse(t *testing.T, text string) (v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// text asks for target, and compares the answer with bare text.
func (s *site) text(target string, code int, want string, header ...string) {
	s.t.Helper()
	w := s.get(target, header...)
	if w.Code != code || w.Body.String() != want || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		s.t.Errorf("%s: %d %q %q, want %d %q as text", target, w.Code, w.Header().Get("Content-Type"), w.Body, code, want)
	}
}

// newest is the last value of a series as number and, if there is one, float.
func (s *site) newest(path string) string {
	s.t.Helper()
	w := s.get(modelRoot + path)
	var r struct {
		Metrics []struct {
			Value      json.Number
			FloatValue json.Number
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil || w.Code != http.StatusOK {
		s.t.Errorf("%s: %d %v: %s", path, w.Code, err, w.Body)
		return ""
	}
	if len(r.Metrics) == 0 {
		return "none"
	}
	last := r.Metrics[len(r.Metrics)-1]
	if last.FloatValue != "" {
		return fmt.Sprintf("%s (%s)", last.Value, last.FloatValue)
	}
	return last.Value.String()
}
