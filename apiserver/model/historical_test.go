package model

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// archive is a metric database by hand: samples that were put there.
type archive struct {
	samples []archived
	err     error
	asked   []metricdb.Query
}

type archived struct {
	metric string
	level  metrics.Kind
	at     time.Time
	value  metricdb.Value
	tags   metricdb.Tags
}

func (a *archive) put(metric string, level metrics.Kind, at time.Time, value metricdb.Value, pairs ...string) {
	labels := []metrics.Label{{Key: "type", Value: level.String()}, {Key: "cluster_name", Value: "default"}}
	for i := 0; i < len(pairs); i += 2 {
		labels = append(labels, metrics.Label{Key: pairs[i], Value: pairs[i+1]})
	}
	a.samples = append(a.samples, archived{metric, level, at, value, metricdb.MakeTags(labels...)})
}

func (a *archive) selected(q metricdb.Query) (all []archived, err error) {
	a.asked = append(a.asked, q)
	if a.err != nil {
		return nil, a.err
	}
	if q, err = q.Check(); err != nil {
		return nil, err
	}
	for _, s := range a.samples {
		if s.metric == q.Metric && s.level == q.Level && !s.at.Before(q.From) && s.at.Before(q.To) && metricdb.All(q.Where, s.tags) {
			all = append(all, s)
		}
	}
	return all, nil
}

func (a *archive) Runs(_ context.Context, q metricdb.Query, _ ...string) iter.Seq2[metricdb.Run, error] {
	return func(yield func(metricdb.Run, error) bool) {
		all, err := a.selected(q)
		if err != nil {
			yield(metricdb.Run{}, err)
			return
		}
		for _, s := range slices.Backward(all) { // each sample a run of its own
			if !yield(metricdb.Run{Tags: s.tags, Times: []int64{s.at.UnixNano()}, Values: []int64{s.value.Bits}, Float: s.value.Float}, nil) {
				return
			}
		}
	}
}

func (a *archive) Aggregate(_ context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, error) {
	all, err := a.selected(q)
	if err != nil {
		return nil, err
	}
	reducer := metricdb.NewReducer(q, g, nil)
	for _, s := range all {
		reducer.Add(&metricdb.Run{Tags: s.tags, Times: []int64{s.at.UnixNano()}, Values: []int64{s.value.Bits}, Float: s.value.Float})
	}
	return reducer.Groups(), nil
}

func (a *archive) Tags(_ context.Context, q metricdb.Query, by ...string) (tags []metricdb.Tags, err error) {
	all, err := a.selected(q)
	for _, s := range all {
		tags = append(tags, s.tags.Only(by))
	}
	return tags, err
}

func (a *archive) Metrics(_ context.Context, q metricdb.Query) (names []string, err error) {
	if a.err != nil {
		return nil, a.err
	}
	for _, s := range a.samples {
		if s.level == q.Level && metricdb.All(q.Where, s.tags) && !slices.Contains(names, s.metric) {
			names = append(names, s.metric)
		}
	}
	slices.SortFunc(names, cmp.Compare[string])
	return names, nil
}

// pastSite is an archive behind the API.
type pastSite struct {
	t       *testing.T
	archive *archive
	history History // instead of the archive
	asked   []kubeapi.Access
}

func newPast(t *testing.T) *pastSite {
	a := &archive{}
	web := []string{"namespace_name", "default", "pod_name", "web-0", "pod_id", "uid-0", "nodename", "node-a"}
	other := []string{"namespace_name", "default", "pod_name", "web-1", "pod_id", "uid-1", "nodename", "node-b"}
	for i := range 5 {
		at := noon.Add(time.Duration(i) * 30 * time.Second)
		a.put("cpu/usage_rate", metrics.Cluster, at, metricdb.Int(int64(100*(i+1))))
		a.put("cpu/usage_rate", metrics.Pod, at, metricdb.Int(int64(10*i)), web...)
		a.put("cpu/usage_rate", metrics.Pod, at, metricdb.Int(int64(i)), other...)
		a.put("memory/page_faults_rate", metrics.Node, at, metricdb.Float(float64(i)+.5), "nodename", "node-a")
		a.put("cpu/usage_rate", metrics.Container, at, metricdb.Int(7), append([]string{"container_name", "app"}, web...)...)
		a.put("filesystem/usage", metrics.Container, at, metricdb.Int(int64(i)), append([]string{"container_name", "app", "resource_id", "/"}, web...)...)
		a.put("filesystem/usage", metrics.Container, at, metricdb.Int(99), append([]string{"container_name", "app", "resource_id", "logs"}, web...)...)
	}
	a.put("uptime", metrics.Pod, noon, metricdb.Int(1), web...)
	a.put("uptime", metrics.Pod, noon, metricdb.Int(1), other...)
	a.put("uptime", metrics.Node, noon, metricdb.Int(1), "nodename", "node-a")
	a.put("gpu/usage", metrics.Pod, noon, metricdb.Int(2048), web...)
	a.put("gpu/usage", metrics.Node, noon, metricdb.Int(2051), "nodename", "node-a")
	a.put("gpu/usage", metrics.Node, noon, metricdb.Int(3), "nodename", "node-a", "gpu_index", "1", "gpu_name", "T4", "gpu_uuid", "GPU-1")
	a.put("memory/usage", metrics.SystemContainer, noon, metricdb.Int(1), "nodename", "node-a", "container_name", "docker-daemon")
	return &pastSite{t: t, archive: a}
}

func (s *pastSite) do(method, path string) *httptest.ResponseRecorder {
	api := New(&shelf{Model: metrics.NewModel(Keep)}, Options{Authorize: func(_ *gin.Context, access kubeapi.Access) error {
		s.asked = append(s.asked, access)
		return nil
	}}, slog.New(slog.DiscardHandler))
	var from History = s.archive
	if s.history != nil {
		from = s.history
	}
	h := NewHistorical(api, from)
	h.now = func() time.Time { return noon.Add(time.Hour) }
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	engine.Use(func(c *gin.Context) {
		if !h.Serve(c) {
			c.String(http.StatusTeapot, "not ours")
		}
	})
	w := httptest.NewRecorder()
	engine.ServeHTTP(w, httptest.NewRequest(method, "http://krm"+path, nil))
	return w
}

// points are the answer's points as "seconds after noon=value".
func (s *pastSite) points(path string) string {
	s.t.Helper()
	w := s.do(http.MethodGet, historicalRoot+path)
	var one struct {
		Metrics []struct {
			Timestamp  time.Time
			Value      json.Number
			FloatValue json.Number
		}
		LatestTimestamp time.Time
		Items           []json.RawMessage
	}
	if w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &one) != nil || one.Metrics == nil && one.Items == nil {
		s.t.Errorf("%s: %d %s", path, w.Code, w.Body)
	}
	var all []string
	for _, p := range one.Metrics {
		all = append(all, fmt.Sprintf("%v=%v%v", p.Timestamp.Sub(noon).Seconds(), p.Value, p.FloatValue))
		if p.Timestamp.After(one.LatestTimestamp) {
			s.t.Errorf("%s: the latest is not %v", path, one.LatestTimestamp)
		}
	}
	return strings.Join(all, " ")
}

func TestPastSeries(t *testing.T) {
	s := newPast(t)
	f := func(path, want string) {
		t.Helper()
		if got := s.points(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	const start, early = "?start=2026-03-01T12:00:00Z", "?start=2026-03-01T11:00:00Z"
	f("/metrics/cpu/usage_rate"+start, "30=200 60=300 90=400 120=500") // start is no part of it
	f("/metrics/cpu-usage/"+early+"&end=2026-03-01T12:01:00Z", "0=100 30=200")
	f("/metrics/cpu/usage_rate?start=2026-03-01T12:00:30.9Z&end=2026-03-01T12:01:00.9Z", "") // whole seconds
	f("/metrics/cpu/usage_rate?start=2026-03-01T12:01:00Z&end=2026-03-01T12:00:00Z", "")
	f("/namespaces/default/pods/web-0/metrics/cpu/usage_rate"+start, "30=10 60=20 90=30 120=40")
	f("/pod-id/uid-1/metrics/cpu/usage_rate"+start, "30=1 60=2 90=3 120=4")
	f("/pod-id/uid-0/containers/app/metrics/cpu/usage_rate"+start, "30=7 60=7 90=7 120=7")
	f("/pod-id/uid-0/containers/app/metrics/filesystem/usage"+start+"&labels=resource_id:/", "30=1 60=2 90=3 120=4")
	f("/pod-id/uid-0/containers/app/metrics/filesystem/usage"+start, "")                             // a labelled metric without labels
	f("/pod-id/uid-0/containers/app/metrics/filesystem/usage"+start+"&labels=resource_id:/,x:y", "") // all labels, and no others
	f("/nodes/node-a/metrics/memory/page_faults_rate"+start, "30=11.5 60=22.5 90=33.5 120=44.5")
	f("/nodes/node-a/freecontainers/runtime/metrics/memory/usage"+early, "0=1")
	f("/nodes/gone/metrics/memory/usage"+early, "")
	f("/nodes/node-a/metrics/gpu/usage"+early, "0=2051") // the sum, without the device's row
	f("/nodes/node-a/metrics/gpu/usage"+early+"&labels=gpu_index:1,gpu_name:T4,gpu_uuid:GPU-1", "0=3")
	f("/namespaces/default/pods/web-0/metrics/gpu/usage"+early, "0=2048")
	f("/metrics/no/such"+early, "")
	w := s.do(http.MethodGet, historicalRoot+"/namespaces/default/pod-list/web-1,none,web-1/metrics/cpu/usage_rate?start=2026-03-01T12:01:30Z")
	one := `{"metrics":[{"timestamp":"2026-03-01T12:02:00Z","value":4}],"latestTimestamp":"2026-03-01T12:02:00Z"}`
	want := `{"items":[` + one + `,{"metrics":[],"latestTimestamp":"0001-01-01T00:00:00Z"},` + one + "]}\n"
	if diff := gocmp.Diff(want, w.Body.String()); diff != "" {
		t.Error(diff)
	}
}

func TestPastAggregations(t *testing.T) {
	s := newPast(t)
	f := func(path, want string) {
		t.Helper()
		w := s.do(http.MethodGet, historicalRoot+path)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		} else if diff := gocmp.Diff(parse(t, want), parse(t, w.Body.String())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	const hours = "?start=2026-03-01T11:59:59Z&end=2026-03-01T12:59:59Z"
	f("/metrics-aggregated/average,max,min,median,count,50-perc,95-perc,99-perc/cpu/usage_rate"+hours, `{"bucketSize":3600000000000,"buckets":[
		{"timestamp":"2026-03-01T11:59:59Z","count":5,"average":{"intValue":300},"maximum":{"intValue":500},"minimum":{"intValue":100},
		"median":{"intValue":300},"percentiles":{"50":{"intValue":300},"95":{"intValue":500},"99":{"intValue":500}}}]}`)
	// One mean that is no whole number makes all of them floats.
	f("/metrics-aggregated/average,max/cpu-usage"+hours+"&bucket=1m", `{"bucketSize":60000000000,"buckets":[
		{"timestamp":"2026-03-01T12:00:00Z","average":{"intValue":150},"maximum":{"intValue":200}},
		{"timestamp":"2026-03-01T12:01:00Z","average":{"intValue":350},"maximum":{"intValue":400}},
		{"timestamp":"2026-03-01T12:02:00Z","average":{"intValue":500},"maximum":{"intValue":500}}]}`)
	f("/pod-id/uid-1/metrics-aggregated/average/cpu/usage_rate"+hours+"&bucket=60s", `{"bucketSize":60000000000,"buckets":[
		{"timestamp":"2026-03-01T12:00:00Z","average":{"floatValue":0.5}},
		{"timestamp":"2026-03-01T12:01:00Z","average":{"floatValue":2.5}},
		{"timestamp":"2026-03-01T12:02:00Z","average":{"floatValue":4}}]}`)
	f("/pod-id-list/uid-1,none/metrics-aggregated/count,max/cpu/usage_rate"+hours, `{"items":[{"bucketSize":3600000000000,"buckets":[
		{"timestamp":"2026-03-01T11:59:59Z","count":5,"maximum":{"intValue":4}}]},{"bucketSize":3600000000000,"buckets":[]}]}`)
	f("/namespaces/default/pod-list/web-0/metrics-aggregated/min/cpu/usage_rate"+hours, `{"items":[{"bucketSize":3600000000000,"buckets":[
		{"timestamp":"2026-03-01T11:59:59Z","minimum":{"intValue":0}}]}]}`)
	f("/nodes/node-a/metrics-aggregated/count,max/gpu/usage"+hours, `{"bucketSize":3600000000000,"buckets":[
		{"timestamp":"2026-03-01T11:59:59Z","count":1,"maximum":{"intValue":2051}}]}`)
	f("/nodes/none/metrics-aggregated/min/cpu/usage_rate"+hours+"&bucket=2h", `{"bucketSize":7200000000000,"buckets":[]}`)
}

func TestPastLists(t *testing.T) {
	s := newPast(t)
	f := func(path, want string) {
		t.Helper()
		if w := s.do(http.MethodGet, historicalRoot+path); w.Code != http.StatusOK || gocmp.Diff(parse(t, want), parse(t, w.Body.String())) != "" {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	f("/nodes", `["node-a"]`)
	f("/namespaces/", `["default"]`)
	f("/namespaces/default/pods", `["web-0","web-1"]`)
	f("/namespaces/none/pods", `[]`)
	f("/nodes/node-a/freecontainers/", `["docker-daemon"]`) // without uptime, too
	f("/metrics", `["cpu/usage_rate"]`)
	f("/namespaces/default/pods/web-0/containers/app/metrics", `["cpu/usage_rate","filesystem/usage"]`)
	f("/namespaces/default/pods/web-0/containers", `[]`) // what is now
	f("/nodes?start=2026-03-01T12:30:00Z", `[]`)
}

func TestPastRefuses(t *testing.T) {
	s := newPast(t)
	f := func(path string, code int, want string) {
		t.Helper()
		before := len(s.archive.asked)
		if w := s.do(http.MethodGet, historicalRoot+path); w.Code != code || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %q, want %d %q", path, w.Code, w.Body, code, want)
		}
		if s.archive.err == nil && len(s.archive.asked) > before {
			t.Errorf("%s reached the database", path)
		}
	}
	const start = "?start=2026-03-01T12:00:00Z"
	f("/metrics/cpu/usage_rate", 400, "no start time (or a start time of zero) provided")
	f("/metrics/cpu/usage_rate?start=0001-01-01T00:00:00Z", 400, "no start time (or a start time of zero) provided")
	f("/metrics/cpu/usage_rate?start=bad", 400, `timestamp argument cannot be parsed: parsing time "bad"`)
	f("/namespaces/a'b/metrics/cpu/usage_rate"+start, 400, `Invalid namespace name "a'b"`)
	f("/nodes/a%22b/metrics"+start, 400, `Invalid node name "a\"b"`)
	f("/namespaces/a/pods/p%3B/metrics/x"+start, 400, `Invalid pod name "p;"`)
	f("/namespaces/a/pod-list/p,%20/metrics/x"+start, 400, `Invalid pod name " "`)
	f("/pod-id/%27x/metrics/x"+start, 400, `Invalid pod id "'x"`)
	f("/metrics/cpu%20usage"+start, 400, `Invalid metric name "cpu usage"`)
	f("/metrics/x"+start+"&labels=a:b%27", 400, `Invalid label value "a:b'"`)
	f("/metrics/x"+start+"&labels=a", 400, `invalid label pair "a"`)
	f("/metrics-aggregated/foo/x"+start, 400, `Unknown aggregation "foo"`)
	f("/metrics-aggregated/max/x"+start+"&bucket=1", 400, `unable to parse bucket size: "1" is too short to be a duration`)
	f("/metrics-aggregated/max/x"+start+"&bucket=10y", 400, `unable to parse bucket size: "10y" has no known duration suffix`)
	f("/metrics-aggregated/max/x"+start+"&bucket=-1h", 400, "unable to parse bucket size")
	f("/metrics-aggregated/max/x"+start+"&bucket=1ms", 400, "too many buckets")
	f("/debug/allkeys", 404, "404: Page Not Found")
	f("/pod-id/x", 404, "404: Page Not Found")
	f("", 404, "404: Page Not Found")
	if w := s.do(http.MethodPost, historicalRoot+"/nodes"); w.Code != 405 {
		t.Errorf("POST: %d", w.Code)
	}
	if w := s.do(http.MethodGet, "/api/v1/model/nodes"); w.Code != http.StatusTeapot {
		t.Errorf("the model's path is taken: %d", w.Code)
	}
	s.archive.err = fmt.Errorf("ask: %w", metricdb.ErrUnavailable)
	f("/metrics/cpu/usage_rate"+start, 503, "the metric database does not answer")
	f("/nodes", 503, "the metric database does not answer")
	f("/metrics", 503, "the metric database does not answer")
	f("/metrics-aggregated/max/x"+start, 503, "the metric database does not answer")
	s.archive.err = fmt.Errorf("ask: %w", metricdb.ErrInvalid)
	f("/pod-id/x/metrics-aggregated/max/y"+start, 400, "not valid")
}

func TestPastAccess(t *testing.T) {
	s := newPast(t)
	f := func(path string, want kubeapi.Access) {
		t.Helper()
		s.asked = nil
		s.do(http.MethodGet, path)
		if diff := gocmp.Diff([]kubeapi.Access{want}, s.asked); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	f(historicalRoot+"/pod-id/u/metrics/x", kubeapi.Access{Verb: "list", Resource: podsResource("v1beta1")})
	f(historicalRoot+"/namespaces/n/pods/p/metrics-aggregated/max/x", kubeapi.Access{Verb: "get", Resource: podsResource("v1beta1"), Namespace: "n", Name: "p"})
	f("/clusters/other"+historicalRoot+"/nodes", kubeapi.Access{Verb: "get", Path: "/clusters/other" + historicalRoot + "/nodes"})
}
