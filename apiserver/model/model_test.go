package model

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

func TestLists(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		f := func(path, want string) {
			t.Helper()
			for _, root := range []string{modelRoot, "/clusters/default" + modelRoot} {
				s.json(root+path, want)
				s.json(root+path+"/", want)
			}
		}
		f("/nodes", `["node-a","node-b"]`)
		f("/namespaces", `["default","kube-system"]`)
		f("/namespaces/default/pods", `["web-0","web-1"]`)
		f("/namespaces/kube-system/pods", `["dns"]`)
		f("/namespaces/nosuch/pods", `[]`)
		f("/namespaces/default/pods/web-0/containers", `["app","side"]`)
		f("/namespaces/default/pods/nosuch/containers", `[]`)
		f("/nodes/node-a/freecontainers", `["docker-daemon","kubelet","pods","system"]`)
		f("/nodes/host-a/freecontainers", `["docker-daemon","kubelet","pods","system"]`)
		f("/nodes/node-b/freecontainers", `[]`)
		f("/metrics", `["cpu/limit","cpu/request","cpu/usage_rate","memory/limit","memory/request","memory/usage"]`)
		f("/namespaces/default/metrics", `["cpu/usage_rate","memory/usage"]`)
		f("/namespaces/nosuch/metrics", `[]`)
		measured := `"cpu/usage","cpu/usage_rate",%s"memory/usage","memory/working_set",%s"uptime"]`
		f("/namespaces/default/pods/web-0/metrics", fmt.Sprintf("["+measured, "", `"nvidia.com/gpu/request","restart_count",`))
		f("/namespaces/default/pods/web-0/containers/app/metrics",
			fmt.Sprintf("["+measured, `"ephemeral_storage/usage","filesystem/limit","filesystem/usage",`, `"restart_count",`))
		f("/nodes/node-a/freecontainers/kubelet/metrics", fmt.Sprintf("["+measured, "", ""))
		f("/nodes/node-b/metrics", fmt.Sprintf("["+measured, "", ""))
		f("/debug/allkeys", `["cluster","namespace:default","namespace:default/pod:web-0","namespace:default/pod:web-0/container:app",
			"namespace:default/pod:web-0/container:side","namespace:default/pod:web-1","namespace:default/pod:web-1/container:app",
			"namespace:kube-system","namespace:kube-system/pod:dns","namespace:kube-system/pod:dns/container:dns",
			"node:node-a","node:node-a/container:docker-daemon","node:node-a/container:kubelet","node:node-a/container:pods","node:node-a/container:system","node:node-b"]`)
		s.json("/clusters", `["default"]`)
		s.json("/clusters/", `["default"]`)
	})
}

// The values that the original gave on its fixtures.
func TestFixtures(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		f := func(want string, paths ...string) {
			t.Helper()
			for _, path := range paths {
				if got := s.newest(path); got != want {
					t.Errorf("%s: %s, want %s", path, got, want)
				}
			}
		}
		f("368", "/metrics/cpu/usage_rate", "/metrics/cpu-usage", "/metrics/cpu%2Fusage_rate", "/metrics/cpu/usage_rate/")
		f("119000000", "/metrics/memory/usage", "/metrics/memory-usage")
		f("99000000", "/namespaces/default/metrics/memory/usage")
		f("20000000", "/namespaces/kube-system/metrics/memory/usage")
		f("250", "/metrics/cpu/request")
		f("500", "/metrics/cpu/limit", "/metrics/cpu-limit")
		f("207618048", "/metrics/memory/request")
		f("312475648", "/metrics/memory/limit", "/metrics/memory-limit")
		for _, node := range []string{"/nodes/node-a", "/nodes/host-a"} {
			f("1500", node+"/metrics/cpu/usage_rate")
			f("150", node+"/metrics/cpu/request")
			f("140509184", node+"/metrics/memory/request")
			f("0 (0.039473684210526314)", node+"/metrics/cpu/node_reservation")
			f("0 (0.39473684210526316)", node+"/metrics/cpu/node_utilization")
			f("0 (0.018694196428571428)", node+"/metrics/memory/node_reservation")
			f("0 (0.39913824626377653)", node+"/metrics/memory/node_utilization")
			f("1000 (1000)", node+"/metrics/network/rx_rate")
			f("2000 (2000)", node+"/metrics/network/tx_rate")
			f("4000", node+"/metrics/filesystem/usage?labels=resource_id:/", node+"/metrics/filesystem/usage?labels=resource_id%3A%2F")
			f("none", node+"/metrics/filesystem/usage", node+"/metrics/filesystem/usage?labels=resource_id:/,a:b", node+"/metrics/cpu/usage_rate?labels=resource_id:/")
		}
		web := "/namespaces/default/pods/web-0/"
		f("255", web+"metrics/cpu/usage_rate")
		f("58000000", web+"metrics/memory/usage")
		f("29000000", web+"metrics/memory/working_set", web+"metrics/memory-working")
		f("3", web+"metrics/restart_count")
		f("1", web+"metrics/nvidia.com/gpu/request", web+"containers/side/metrics/nvidia.com/gpu/request")
		dns := "/namespaces/kube-system/pods/dns/metrics/"
		f("10", dns+"cpu/usage_rate")
		f("20000000", dns+"memory/usage")
		f("none", dns+"cpu/usage", dns+"nosuch", dns+"krm/start_time")
		f("12 (12.5)", dns+"network/rx_rate")
		f("200", web+"containers/app/metrics/cpu/usage_rate")
		f("111", web+"containers/app/metrics/ephemeral_storage/usage")
		f("4000", "/nodes/node-a/freecontainers/docker-daemon/metrics/memory/usage", "/nodes/host-a/freecontainers/runtime/metrics/memory/usage")
		f("500", "/nodes/node-a/freecontainers/system/metrics/memory/usage", "/nodes/node-a/freecontainers/misc/metrics/memory/usage")
		f("none", "/nodes/nosuch/metrics/cpu/usage_rate", "/namespaces/nosuch/metrics/cpu/usage_rate", "/namespaces/default/pods/nosuch/metrics/cpu/usage_rate",
			web+"containers/nosuch/metrics/cpu/usage_rate", "/nodes/node-a/freecontainers/nosuch/metrics/cpu/usage_rate")
	})
}

// The memory of GPUs: by its labels where the device is, and as a sum above.
func TestSumsOfGPUs(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		for range 2 {
			s.shelf.put(t, s.cluster, gpus)
		}
		f := func(want string, paths ...string) {
			t.Helper()
			for _, path := range paths {
				if got := s.newest(path); got != want {
					t.Errorf("%s: %s, want %s", path, got, want)
				}
			}
		}
		const held, idle = "?labels=gpu_index:0,gpu_name:T4,gpu_uuid:GPU-0", "?labels=gpu_index:1,gpu_name:T4,gpu_uuid:GPU-1"
		side := "/namespaces/default/pods/web-0/containers/side/metrics/gpu/usage"
		f("2048", "/metrics/gpu/usage", "/namespaces/default/metrics/gpu/usage", "/namespaces/default/pods/web-0/metrics/gpu/usage", side+held)
		f("2051", "/nodes/node-a/metrics/gpu/usage", "/nodes/host-a/metrics/gpu/usage")
		f("3", "/nodes/node-a/metrics/gpu/usage"+idle)
		f("none", side, "/namespaces/default/pods/web-1/metrics/gpu/usage", "/nodes/node-b/metrics/gpu/usage", "/namespaces/default/pods/web-0/metrics/gpu/usage"+held)
		s.json(modelRoot+"/nodes/node-a/metrics/gpu/usage?list=labels", `["gpu_index:1,gpu_name:T4,gpu_uuid:GPU-1"]`)
		if header := s.json(modelRoot+"/namespaces/default/metrics/gpu/usage?start=2000-01-01T01:01:00Z", `{"metrics":[{"timestamp":"2000-01-01T01:01:00Z","value":2048}],"latestTimestamp":"2000-01-01T01:01:00Z"}`); header.Get("Krm-Partial") != "points=1" {
			t.Errorf("a sum without a pod: %v", header)
		}
	})
}

// gpus adds a GPU that web-0's container side holds, an idle one, and the sums.
func gpus(b *metrics.Batch) {
	usual := metrics.Ref{Kind: metrics.Namespace, Row: b.Row(metrics.Namespace, metrics.Ref{}, "default")}
	web := metrics.Ref{Kind: metrics.Pod, Row: b.Row(metrics.Pod, usual, "web-0")}
	side := metrics.Ref{Kind: metrics.Container, Row: b.Row(metrics.Container, web, "side")}
	node := metrics.Ref{Kind: metrics.Node, Row: b.Row(metrics.Node, metrics.Ref{}, "node-a")}
	add(b, metrics.GPU, side, "gpu_index:0,gpu_name:T4,gpu_uuid:GPU-0", values{metrics.GPUUsage: 2048})
	add(b, metrics.GPU, node, "gpu_index:1,gpu_name:T4,gpu_uuid:GPU-1", values{metrics.GPUUsage: 3})
	for _, ref := range []metrics.Ref{web, usual, {}} {
		put(b, ref.Kind, ref.Row, values{metrics.GPUUsage: 2048})
	}
	put(b, metrics.Node, node.Row, values{metrics.GPUUsage: 2051})
	put(b, metrics.Namespace, usual.Row, values{metrics.PodsMissing: 1})
}

func TestSeries(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		const (
			first  = `{"timestamp":"2000-01-01T01:00:30Z","value":255}`
			second = `{"timestamp":"2000-01-01T01:01:00Z","value":255}`
		)
		path := modelRoot + "/namespaces/default/pods/web-0/metrics/cpu/usage_rate"
		f := func(query, latest string, points ...string) {
			t.Helper()
			s.json(path+query, `{"metrics":[`+strings.Join(points, ",")+`],"latestTimestamp":"`+latest+`"}`)
		}
		f("", "2000-01-01T01:01:00Z", first, second)
		f("?start=2000-01-01T01:00:30Z", "2000-01-01T01:01:00Z", first, second)
		f("?start=2000-01-01T01:00:30.000000001Z", "2000-01-01T01:01:00Z", second)
		f("?start=2000-01-01T02:01:00%2B01:00", "2000-01-01T01:01:00Z", second)
		f("?end=2000-01-01T01:01:00Z&start=", "2000-01-01T01:01:00Z", first, second)
		f("?end=2000-01-01T01:00:59.9Z", "2000-01-01T01:00:30Z", first)
		f("?start=2000-01-01T01:00:31Z&end=2000-01-01T01:00:59Z", "0001-01-01T00:00:00Z")
		f("?start=2000-01-01T01:01:00Z&end=2000-01-01T01:00:30Z", "0001-01-01T00:00:00Z")
		s.json(modelRoot+"/namespaces/default/pod-list/web-0,web-1,nosuch,web-0/metrics/cpu-usage?start=2000-01-01T01:01:00Z",
			`{"items":[{"metrics":[`+second+`],"latestTimestamp":"2000-01-01T01:01:00Z"},
				{"metrics":[{"timestamp":"2000-01-01T01:01:00Z","value":103}],"latestTimestamp":"2000-01-01T01:01:00Z"},
				{"metrics":[],"latestTimestamp":"0001-01-01T00:00:00Z"},
				{"metrics":[`+second+`],"latestTimestamp":"2000-01-01T01:01:00Z"}]}`)
		s.json(modelRoot+"/nodes/node-a/metrics/cpu/node_utilization?end=2000-01-01T01:00:30Z",
			`{"metrics":[{"timestamp":"2000-01-01T01:00:30Z","value":0,"floatValue":0.39473684210526316}],"latestTimestamp":"2000-01-01T01:00:30Z"}`)
		s.json(modelRoot+"/namespaces/default/pods/web-0/containers/app/metrics/filesystem/usage?list=labels", `["resource_id:/","resource_id:logs"]`)
		s.json(modelRoot+"/namespaces/default/pods/web-0/containers/app/metrics/cpu/usage?list=labels", `[]`)
	})
}

// What old programs might compare byte by byte.
func TestIndent(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		f := func(path, want string) {
			t.Helper()
			if got := s.get(modelRoot + path).Body.String(); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
		f("/nodes", "[\n  \"node-a\",\n  \"node-b\"\n ]")
		f("/namespaces/nosuch/pods", "[]")
		f("/metrics/cpu/limit?end=2000-01-01T01:00:30Z",
			"{\n  \"metrics\": [\n   {\n    \"timestamp\": \"2000-01-01T01:00:30Z\",\n    \"value\": 500\n   }\n  ],\n  \"latestTimestamp\": \"2000-01-01T01:00:30Z\"\n }")
		f("/namespaces/x/pod-list/y/metrics/z", "{\"items\":[{\"metrics\":[],\"latestTimestamp\":\"0001-01-01T00:00:00Z\"}]}\n")
	})
}

func TestRefusals(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		series := modelRoot + "/metrics/cpu/usage_rate"
		s.text(series+"?start=bad", 400, `timestamp argument cannot be parsed: parsing time "bad" as "2006-01-02T15:04:05Z07:00": cannot parse "bad" as "2006"`)
		s.text(series+"?end=bad", 400, `timestamp argument cannot be parsed: parsing time "bad" as "2006-01-02T15:04:05Z07:00": cannot parse "bad" as "2006"`)
		s.text(series+"?start=2000-01-01T02:01:00+01:00", 400,
			`timestamp argument cannot be parsed: parsing time "2000-01-01T02:01:00 01:00" as "2006-01-02T15:04:05Z07:00": cannot parse " 01:00" as "Z07:00"`)
		s.text(series+"?labels=resource_id", 400, `invalid label pair "resource_id"`)
		s.text(series+"?labels=k1,k2:v2", 400, `invalid label pair "k1"`)
		s.text(series+"?labels=k1:v1,:v2", 400, `invalid label pair ":v2"`)
		s.text(series+"?labels=k1:v1,k1:", 400, `invalid label pair "k1:"`)
		s.text(modelRoot+"/namespaces/default/pod-list/a,b/metrics/cpu/usage?labels=x", 400, `invalid label pair "x"`)
		for _, path := range []string{
			"", "/", "/nosuch", "/nodes/node-a", "/namespaces/default", "/namespaces/default/pods/web-0", "/namespaces/default/pod-list/web-0/metrics",
			"/namespaces/default/pod-list/web-0/metrics/", "/namespaces/default/pod-list", "/namespaces/default/pods/web-0/containers/app", "/nodes/a%2Fb/metrics",
			"/nodes//metrics", "/nodes/node-a/freecontainers/kubelet", "/debug", "/debug/allkeys/x", "/nodes/node-a/freecontainers//metrics", "/nodes/node-a/nosuch",
		} {
			s.text(modelRoot+path, 404, "404: Page Not Found")
		}
		for _, accept := range []string{"application/xml", "text/html, application/json;q=0"} {
			s.text(series, 406, "406: Not Acceptable", "Accept", accept)
			s.text(exportPath, 406, "406: Not Acceptable", "Accept", accept)
		}
		for _, accept := range []string{"", "*/*", "application/json", "application/*", "text/html,application/json;q=0.1"} {
			if w := s.get(series, "Accept", accept); w.Code != 200 {
				t.Errorf("Accept %q: %d", accept, w.Code)
			}
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} {
			for _, path := range []string{series, modelRoot + "/nodes", exportPath, schemaPath, nodesPath} {
				if w := s.do(method, path); w.Code != 405 || w.Body.String() != "405: Method Not Allowed" || w.Header().Get("Allow") != "GET" {
					t.Errorf("%s %s: %d %q, Allow %q", method, path, w.Code, w.Body, w.Header().Get("Allow"))
				}
			}
		}
		s.text("/clusters/nosuch"+modelRoot+"/nodes", 404, "404: No metrics of cluster nosuch")
		s.text("/clusters/default/nosuch", 404, "404: Page Not Found")
		s.text("/clusters/default", 404, "404: Page Not Found")
		for _, path := range []string{"/", "/api/v1", "/api/v1/models", "/api/v1/pods", "/apis/metrics.k8s.io", "/apis/metrics.k8s.io/v1beta1", "/apis/metrics.k8s.io/v2/nodes", "/clustersx"} {
			if w := s.get(path); w.Code != http.StatusTeapot {
				t.Errorf("%s: %d, want that nobody answers", path, w.Code)
			}
		}
		w := s.get("//api/v1/model//nodes/?a=b")
		if w.Code != 301 || w.Header().Get("Location") != "/api/v1/model/nodes/?a=b" {
			t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
		}
		if w := s.get("//evil.example/x"); w.Code != http.StatusTeapot {
			t.Errorf("%d to %q, want that nobody answers", w.Code, w.Header().Get("Location"))
		}
	})
}

func TestLabelsParameter(t *testing.T) {
	f := func(text string, want ...metrics.Label) {
		t.Helper()
		got, err := parseLabels(text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v, %s", text, err, diff)
		}
	}
	f("")
	f("k1:v1,k2:v2.3:4+5", metrics.Label{Key: "k1", Value: "v1"}, metrics.Label{Key: "k2", Value: "v2.3:4+5"})
	f("b:1,a:2", metrics.Label{Key: "a", Value: "2"}, metrics.Label{Key: "b", Value: "1"})
}

// Before anything is known: empty lists and series, but not before Redis was asked.
func TestBeforeTheFirstBatch(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		for _, path := range []string{"/nodes", "/namespaces", "/metrics", "/debug/allkeys", "/namespaces/a/pods/b/containers", "/metrics/filesystem/usage?list=labels"} {
			s.json(modelRoot+path, `[]`)
		}
		s.json(modelRoot+"/metrics/cpu/usage_rate", `{"metrics":[],"latestTimestamp":"0001-01-01T00:00:00Z"}`)
		s.json(exportPath, `null`)
		s.json(nodesPath, `{"cluster":"default","complete":false,"nodes":[],"batches":[]}`)
		s.json("/clusters", `[]`)
		if w := s.get("/apis/metrics.k8s.io/v1beta1/nodes"); w.Code != http.StatusTeapot {
			t.Errorf("resource metrics: %d, want that another may answer", w.Code)
		}
		if all := Resources(s.shelf); all != nil {
			t.Errorf("resources: %v, want none", all)
		}
		s.options.DisableExport = true
		s.json(exportPath, `[]`)

		s.shelf.loading = errors.New("still reading")
		for _, path := range []string{modelRoot + "/nodes", modelRoot + "/metrics/cpu/usage", exportPath, nodesPath, "/clusters", "/clusters/x" + modelRoot + "/nodes"} {
			w := s.get(path)
			if w.Code != 503 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "still reading") {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	})
}

func TestHeaders(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		path := modelRoot + "/metrics/cpu/usage_rate"
		h := s.get(path).Header()
		want := http.Header{
			"Cache-Control": {"private, no-store"}, "Content-Type": {"application/json"}, "Krm-Metrics-Age": {"10.0"}, "Krm-Metrics-At": {"2000-01-01T01:01:00Z"},
			"Vary": {"Accept, Accept-Encoding, Authorization"}, "Content-Length": h["Content-Length"],
		}
		if diff := cmp.Diff(want, h); diff != "" {
			t.Error(diff)
		}
		time.Sleep(80 * time.Second)
		if got := s.get(path).Header()["Warning"]; got != nil {
			t.Errorf("when two batches are about to be due: %q", got)
		}
		time.Sleep(time.Second)
		if got := s.get(path).Header().Get("Warning"); got != `299 krm "metrics: the newest are 1m31s old, though they should come every 30s: see the collector"` {
			t.Errorf("when two batches are overdue: %q", got)
		}
		s.shelf.doubt = errors.New(`newer ones may be missing: redis "gone"`)
		if got := s.get(path).Header().Get("Warning"); got != `299 krm "metrics: newer ones may be missing: redis \"gone\"; these are of 2000-01-01T01:01:00Z"` {
			t.Errorf("when redis is away: %q", got)
		}
	})
}

// Sums that lack pods are marked.
func TestPartial(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		if got := s.get(modelRoot + "/nodes").Header()["Krm-Partial"]; got != nil {
			t.Errorf("whole lists: %q", got)
		}
		s.shelf.put(t, s.cluster, func(b *metrics.Batch) {
			b.Nodes[1].Reason, b.Nodes[1].Error = "timeout", "no answer within 20s"
			put(b, metrics.Cluster, 0, values{metrics.PodsMissing: 1})
			row, _ := b.Find(metrics.Namespace, metrics.Ref{}, "default")
			put(b, metrics.Namespace, row, values{metrics.PodsMissing: 1})
		})
		f := func(path, want string) {
			t.Helper()
			if got := s.get(path).Header().Get("Krm-Partial"); got != want {
				t.Errorf("%s: %q, want %q", path, got, want)
			}
		}
		f(modelRoot+"/metrics/cpu/usage_rate", "points=1")
		f(modelRoot+"/namespaces/default/metrics/memory/usage", "points=1")
		f(modelRoot+"/namespaces/default/metrics/memory/usage?end=2000-01-01T01:01:00Z", "")
		f(modelRoot+"/namespaces/kube-system/metrics/memory/usage", "")
		f(modelRoot+"/nodes", "nodes=2")
		f(exportPath, "nodes=2")
		f("/apis/metrics.k8s.io/v1beta1/nodes", "nodes=2")
		s.json(nodesPath, `{"cluster":"default","at":"2000-01-01T01:01:30Z","resolution":"30s","complete":false,
			"nodes":[{"name":"node-a","success":true,"seconds":0.02,"lastAt":"2000-01-01T01:01:35Z","ageSeconds":5},
				{"name":"node-b","success":false,"reason":"timeout","message":"no answer within 20s","seconds":0.03,"lastAt":"2000-01-01T01:01:35Z","ageSeconds":5},
				{"name":"node-c","success":false,"reason":"not ready","message":"the node's condition Ready is False","seconds":0}],
			"batches":[{"at":"2000-01-01T01:00:30Z","nodes":3,"failed":1},{"at":"2000-01-01T01:01:00Z","nodes":3,"failed":1},{"at":"2000-01-01T01:01:30Z","nodes":3,"failed":2}]}`)
	})
}

func TestCompression(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		path := modelRoot + "/nodes"
		want := s.get(path).Body.String()
		read := func(r io.Reader, err error) string {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		w := s.get(path, "Accept-Encoding", "gzip, deflate;q=0.5")
		if got := read(gzip.NewReader(w.Body)); got != want || w.Header().Get("Content-Encoding") != "gzip" {
			t.Errorf("gzip: %q %q", w.Header().Get("Content-Encoding"), got)
		}
		w = s.get(path, "Accept-Encoding", "deflate")
		if got := read(zlib.NewReader(w.Body)); got != want || w.Header().Get("Content-Encoding") != "deflate" {
			t.Errorf("deflate: %q %q", w.Header().Get("Content-Encoding"), got)
		}
		w = s.get(exportPath, "Accept-Encoding", "gzip")
		if got := read(gzip.NewReader(w.Body)); got != s.get(exportPath).Body.String() {
			t.Errorf("export: %q", got)
		}
		w = s.get(path, "Accept-Encoding", "gzip;q=0, br")
		if got := w.Body.String(); got != want || w.Header().Get("Content-Encoding") != "" {
			t.Errorf("none: %q %q", w.Header().Get("Content-Encoding"), got)
		}
	})
}

func TestAccess(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		other := newCluster("other")
		s.shelf.put(t, other)
		f := func(path string, want kubeapi.Access) {
			t.Helper()
			s.asked = nil
			if code := s.get(path).Code; code != 200 {
				t.Errorf("%s: %d", path, code)
			}
			if diff := cmp.Diff([]kubeapi.Access{want}, s.asked); diff != "" {
				t.Errorf("%s: %s", path, diff)
			}
		}
		pods, nodes := podsResource("v1beta1"), nodesResource("v1beta1")
		byPath := func(paths ...string) {
			t.Helper()
			for _, path := range paths {
				clean, _, _ := strings.Cut(path, "?")
				f(path, kubeapi.Access{Verb: "get", Path: strings.TrimRight(clean, "/")})
			}
		}
		ns := modelRoot + "/namespaces/default"
		f(ns+"/pods", kubeapi.Access{Verb: "list", Resource: pods, Namespace: "default"})
		f(ns+"/metrics", kubeapi.Access{Verb: "list", Resource: pods, Namespace: "default"})
		f("/clusters/default"+ns+"/metrics/cpu/usage_rate", kubeapi.Access{Verb: "list", Resource: pods, Namespace: "default"})
		f(ns+"/pod-list/a,b/metrics/cpu/usage", kubeapi.Access{Verb: "list", Resource: pods, Namespace: "default"})
		f(ns+"/pods/a/metrics", kubeapi.Access{Verb: "get", Resource: pods, Namespace: "default", Name: "a"})
		f(ns+"/pods/a/containers", kubeapi.Access{Verb: "get", Resource: pods, Namespace: "default", Name: "a"})
		f(ns+"/pods/a/containers/c/metrics/x", kubeapi.Access{Verb: "get", Resource: pods, Namespace: "default", Name: "a"})
		f(modelRoot+"/namespaces", kubeapi.Access{Verb: "list", Resource: pods})
		f(modelRoot+"/nodes", kubeapi.Access{Verb: "list", Resource: nodes})
		f(modelRoot+"/nodes/n/metrics/x", kubeapi.Access{Verb: "get", Resource: nodes, Name: "n"})
		f(modelRoot+"/nodes/n/freecontainers", kubeapi.Access{Verb: "get", Resource: nodes, Name: "n"})
		f(modelRoot+"/nodes/n/freecontainers/c/metrics", kubeapi.Access{Verb: "get", Resource: nodes, Name: "n"})
		f(nodesPath, kubeapi.Access{Verb: "list", Resource: nodes})
		byPath(modelRoot+"/metrics/", modelRoot+"/metrics/cpu/usage", modelRoot+"/debug/allkeys", exportPath, exportPath+"/", schemaPath, "/clusters/",
			"/clusters/other"+modelRoot+"/namespaces/default/pods/", "/clusters/other"+modelRoot+"/nodes", "/clusters/other/apis/metrics.k8s.io/v1/namespaces/default/pods")
		f(nodesPath+"?cluster=other", kubeapi.Access{Verb: "get", Path: "/clusters/other" + nodesPath})
		f("/apis/metrics.k8s.io/v1/nodes", kubeapi.Access{Verb: "list", Resource: nodesResource("v1")})
		f("/apis/metrics.k8s.io/v1beta1/nodes/node-a", kubeapi.Access{Verb: "get", Resource: nodes, Name: "node-a"})
		f("/apis/metrics.k8s.io/v1beta1/pods", kubeapi.Access{Verb: "list", Resource: pods})
		f("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods", kubeapi.Access{Verb: "list", Resource: pods, Namespace: "default"})
		f("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?fieldSelector=metadata.name%3Dweb-0", kubeapi.Access{Verb: "list", Resource: pods, Namespace: "default", Name: "web-0"})
		f("/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/web-0", kubeapi.Access{Verb: "get", Resource: pods, Namespace: "default", Name: "web-0"})

		s.refuse = apierrors.NewForbidden(schema.GroupResource{Group: Group, Resource: "pods"}, "", errors.New("no"))
		for _, path := range []string{
			ns + "/pods", ns + "/metrics/cpu/usage?start=" + url.QueryEscape("bad"), modelRoot + "/metrics", exportPath, schemaPath, nodesPath, "/clusters", "/clusters/nosuch/x",
			"/apis/metrics.k8s.io/v1/pods?labelSelector=%25", "/apis/metrics.k8s.io/v1/nodes",
		} {
			if w := s.get(path); w.Code != 403 || !strings.Contains(w.Body.String(), `"kind":"Status"`) {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	})
}

func TestClusters(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		other := newCluster("other")
		s.shelf.put(t, other, func(b *metrics.Batch) { put(b, metrics.Cluster, 0, values{metrics.CPUUsageRate: 7}) })
		s.json("/clusters", `["default","other"]`)
		s.json("/clusters/other"+modelRoot+"/metrics/cpu/usage_rate", `{"metrics":[{"timestamp":"2000-01-01T01:01:30Z","value":7}],"latestTimestamp":"2000-01-01T01:01:30Z"}`)
		s.json("/clusters/other"+modelRoot+"/nodes", `["node-a","node-b"]`)
		if got := s.newest("/metrics/cpu/usage_rate"); got != "368" {
			t.Errorf("default: %s", got)
		}
		if w := s.get("/clusters/other/apis/metrics.k8s.io/v1/nodes"); w.Code != 200 {
			t.Errorf("resource metrics of another cluster: %d", w.Code)
		}
	})
}

// Floats that no whole number can hold.
func TestWhole(t *testing.T) {
	for f, want := range map[float64]uint64{-1: 0, 0: 0, 0.99: 0, 1.5: 1, 1e15: 1e15, 1e30: 1<<64 - 1} {
		if got := whole(f); got != want {
			t.Errorf("%v: %d, want %d", f, got, want)
		}
	}
	nan := pointOf(metrics.Point{Bits: metrics.FloatBits(math.NaN())}, metrics.Describe(metrics.NetworkRxRate))
	if nan.Value != 0 || nan.FloatValue != nil {
		t.Errorf("NaN: %+v", nan)
	}
	if below := pointOf(metrics.Point{Bits: -5}, metrics.Describe(metrics.MemoryUsage)); below.Value != 0 {
		t.Errorf("below 0: %+v", below)
	}
}
