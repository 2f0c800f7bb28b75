package model

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	metricsv1 "k8s.io/metrics/pkg/apis/metrics/v1"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/kubernetes-resource-monitor/krm/client"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const beta = "/apis/metrics.k8s.io/v1beta1"

func TestResourceMetrics(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		const (
			nodeA = `{"metadata":{"name":"node-a","creationTimestamp":"2000-01-01T01:01:10Z","labels":{"zone":"a"}},"timestamp":"2000-01-01T01:01:00Z","window":"30s","usage":{"cpu":"1500m","memory":"1500000000"}}`
			nodeB = `{"metadata":{"name":"node-b","creationTimestamp":"2000-01-01T01:01:10Z","labels":{"zone":"b"}},"timestamp":"2000-01-01T01:01:00Z","window":"30s","usage":{"cpu":"700m","memory":"500000000"}}`
			web0  = `{"metadata":{"name":"web-0","namespace":"default","creationTimestamp":"2000-01-01T01:01:10Z","labels":{"app":"web","tier":"front"}},"timestamp":"2000-01-01T01:01:00Z","window":"30s",
				"containers":[{"name":"app","usage":{"cpu":"200m","memory":"25000000"}},{"name":"side","usage":{"cpu":"50m","memory":"4000000"}}]}`
			web1 = `{"metadata":{"name":"web-1","namespace":"default","creationTimestamp":"2000-01-01T01:01:10Z","labels":{"app":"web"}},"timestamp":"2000-01-01T01:01:00Z","window":"30s",
				"containers":[{"name":"app","usage":{"cpu":"100m","memory":"20000000"}}]}`
			dns = `{"metadata":{"name":"dns","namespace":"kube-system","creationTimestamp":"2000-01-01T01:01:10Z"},"timestamp":"2000-01-01T01:01:00Z","window":"30s",
				"containers":[{"name":"dns","usage":{"cpu":"10m","memory":"10000000"}}]}`
		)
		for _, version := range versions() {
			root := "/apis/metrics.k8s.io/" + version
			list := func(path, kind string, items ...string) {
				t.Helper()
				s.json(root+path, fmt.Sprintf(`{"kind":%q,"apiVersion":"metrics.k8s.io/%s","metadata":{},"items":[%s]}`, kind, version, strings.Join(items, ",")))
			}
			one := func(path, kind, item string) {
				t.Helper()
				s.json(root+path, fmt.Sprintf(`{"kind":%q,"apiVersion":"metrics.k8s.io/%s",%s`, kind, version, item[1:]))
			}
			list("/nodes", "NodeMetricsList", nodeA, nodeB)
			list("/nodes/", "NodeMetricsList", nodeA, nodeB)
			list("/nodes?labelSelector=zone%3Da", "NodeMetricsList", nodeA)
			list("/nodes?labelSelector=zone+in+(b,c)&fieldSelector=", "NodeMetricsList", nodeB)
			list("/nodes?fieldSelector=metadata.name%3Dnode-b", "NodeMetricsList", nodeB)
			list("/pods", "PodMetricsList", web0, web1, dns)
			list("/pods?resourceVersion=0&watch=false", "PodMetricsList", web0, web1, dns)
			list("/pods?labelSelector=app%3Dweb,!tier", "PodMetricsList", web1)
			list("/pods?fieldSelector=metadata.namespace!%3Ddefault", "PodMetricsList", dns)
			list("/namespaces/default/pods", "PodMetricsList", web0, web1)
			list("/namespaces/nosuch/pods", "PodMetricsList")
			list("/namespaces/default/pods?fieldSelector=metadata.name%3Dweb-1", "PodMetricsList", web1)
			one("/nodes/node-a", "NodeMetrics", nodeA)
			one("/namespaces/default/pods/web-0", "PodMetrics", web0)
		}
	})
}

// A pod is there only if both numbers are known of each of its containers.
func TestResourceMetricsOfIncompletePods(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		s.shelf.put(t, s.cluster, func(b *metrics.Batch) {
			ns, _ := b.Find(metrics.Namespace, metrics.Ref{}, "default")
			web, _ := b.Find(metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: ns}, "web-1")
			add(b, metrics.Container, metrics.Ref{Kind: metrics.Pod, Row: web}, "stub", values{metrics.CPURequest: 100})
			add(b, metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: ns}, "without", values{metrics.CPUUsageRate: 1, metrics.MemoryWorkingSet: 1})
			add(b, metrics.Node, metrics.Ref{}, "node-d", values{metrics.CPUUsageRate: 1})
		})
		f := func(path, want string) {
			t.Helper()
			var list struct {
				Items []metav1.PartialObjectMetadata
			}
			if err := json.Unmarshal(s.get(beta+path).Body.Bytes(), &list); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, item := range list.Items {
				names = append(names, item.Name)
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		f("/pods", "web-0 dns")
		f("/nodes", "node-a node-b")
	})
}

func TestResourceMetricsRefusals(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		f := func(method, path string, code int32, reason metav1.StatusReason, message string) {
			t.Helper()
			w := s.do(method, path)
			var status metav1.Status
			if err := json.Unmarshal(w.Body.Bytes(), &status); err != nil {
				t.Fatalf("%s: %v: %s", path, err, w.Body)
			}
			if int32(w.Code) != code || status.Code != code || status.Reason != reason || status.Message != message || status.Kind != "Status" {
				t.Errorf("%s: %d %+v", path, w.Code, status)
			}
		}
		f("GET", beta+"/nodes/nosuch", 404, metav1.StatusReasonNotFound, `nodes.metrics.k8s.io "nosuch" not found`)
		f("GET", beta+"/namespaces/default/pods/nosuch", 404, metav1.StatusReasonNotFound, `pods.metrics.k8s.io "nosuch" not found`)
		for _, path := range []string{"/widgets", "/pods/web-0", "/nodes/a/b", "/namespaces/default", "/namespaces/default/nodes", "/namespaces/default/pods/a/b", "/namespaces//pods"} {
			f("GET", beta+path, 404, metav1.StatusReasonNotFound, "the server could not find the requested resource")
		}
		f("POST", beta+"/nodes", 405, metav1.StatusReasonMethodNotAllowed, "post is not supported on resources of kind \"nodes.metrics.k8s.io\"")
		f("GET", beta+"/pods?watch=1", 405, metav1.StatusReasonMethodNotAllowed, "watch is not supported on resources of kind \"pods.metrics.k8s.io\"")
		f("GET", beta+"/pods?fieldSelector=spec.nodeName%3Da", 400, metav1.StatusReasonBadRequest, "field label not supported: spec.nodeName")
		f("GET", beta+"/nodes?fieldSelector=metadata.namespace%3Da", 400, metav1.StatusReasonBadRequest, "field label not supported: metadata.namespace")
		f("GET", beta+"/pods?limit=x", 400, metav1.StatusReasonBadRequest, `limit="x": want a whole number that is not below 0`)
		f("GET", beta+"/pods?continue=%21", 400, metav1.StatusReasonBadRequest, "continue key is not valid: illegal base64 data at input byte 0")
		f("GET", beta+"/pods?labelSelector=a+b", 400, metav1.StatusReasonBadRequest,
			`unable to parse labelSelector "a b": unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt`)
		w := s.get(beta+"/nodes", "Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
		if w.Code != 406 {
			t.Errorf("metadata only: %d", w.Code)
		}
		if w := s.do(http.MethodHead, beta+"/nodes"); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") == "0" {
			t.Errorf("HEAD: %d %s", w.Code, w.Body)
		}
	})
}

// Autoscalers get no metrics rather than old ones; the model answers on.
func TestTooOldToActOn(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		time.Sleep(3*time.Minute - 10*time.Second)
		if w := s.get(beta + "/nodes"); w.Code != 200 || w.Header().Get("Warning") == "" {
			t.Errorf("after three minutes: %d", w.Code)
		}
		time.Sleep(time.Second)
		for _, path := range []string{"/nodes", "/nodes/node-a", "/namespaces/default/pods/web-0"} {
			if w := s.get(beta + path); w.Code != 503 || !strings.Contains(w.Body.String(), "3m1s old") {
				t.Errorf("%s a second later: %d %s", path, w.Code, w.Body)
			}
		}
		if w := s.get(modelRoot + "/nodes"); w.Code != 200 {
			t.Errorf("the model: %d", w.Code)
		}
	})
}

// Whatever the size of the pages, all together are the whole list.
func TestPages(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		for _, path := range []string{"/pods", "/nodes", "/namespaces/default/pods"} {
			for limit := 1; limit < 5; limit++ {
				var got []string
				next, pages := "", 0
				for pages == 0 || next != "" {
					var list struct {
						Metadata metav1.ListMeta
						Items    []metav1.PartialObjectMetadata
					}
					body := s.get(fmt.Sprintf("%s%s?limit=%d&continue=%s", beta, path, limit, next)).Body.Bytes()
					if err := json.Unmarshal(body, &list); err != nil || len(list.Items) > limit {
						t.Fatalf("%v: %s", err, body)
					}
					for _, item := range list.Items {
						got = append(got, item.Name)
					}
					next = list.Metadata.Continue
					pages++
				}
				want := map[string][]string{"/pods": {"web-0", "web-1", "dns"}, "/nodes": {"node-a", "node-b"}, "/namespaces/default/pods": {"web-0", "web-1"}}[path]
				if !slices.Equal(got, want) || pages != (len(want)+limit-1)/limit {
					t.Errorf("%s by %d: %v in %d pages, want %v", path, limit, got, pages, want)
				}
			}
		}
	})
}

// What kubectl top and autoscalers decode: strictly, and the protobuf that they prefer.
func TestKubernetesTypes(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		scheme := runtime.NewScheme()
		if err := v1beta1.AddToScheme(scheme); err != nil {
			t.Fatal(err)
		}
		if err := metricsv1.AddToScheme(scheme); err != nil {
			t.Fatal(err)
		}
		strict := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
		binary := protobuf.NewSerializer(scheme, scheme)
		for _, version := range []string{"v1", "v1beta1"} {
			for _, path := range []string{"/nodes", "/pods", "/nodes/node-a", "/namespaces/default/pods/web-0"} {
				path = "/apis/metrics.k8s.io/" + version + path
				plain, kind, err := strict.Decode(s.get(path).Body.Bytes(), nil, nil)
				if err != nil || kind.Version != version {
					t.Errorf("%s: %v, %v", path, kind, err)
					continue
				}
				w := s.get(path, "Accept", "application/vnd.kubernetes.protobuf,application/json")
				if got := w.Header().Get("Content-Type"); got != mediaProtobuf {
					t.Errorf("%s as protobuf: %s", path, got)
				}
				packed, kind, err := binary.Decode(w.Body.Bytes(), nil, nil)
				if err != nil || kind.Version != version {
					t.Errorf("%s as protobuf: %v, %v", path, kind, err)
					continue
				}
				if a, b := roundTrip(t, plain), roundTrip(t, packed); a != b {
					t.Errorf("%s: %s", path, cmp.Diff(a, b))
				}
			}
		}
	})
}

// roundTrip is the object as its own type writes it.
func roundTrip(t *testing.T, o runtime.Object) string {
	t.Helper()
	text, err := json.MarshalIndent(o, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTable(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		const accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
		var table metav1.Table
		if err := json.Unmarshal(s.get(beta+"/pods", "Accept", accept).Body.Bytes(), &table); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range table.Rows {
			var meta metav1.PartialObjectMetadata
			if err := json.Unmarshal(row.Object.Raw, &meta); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintln(row.Cells, meta.Namespace, meta.Name, meta.Kind))
		}
		want := []string{
			"[web-0 250m 28320Ki 30s] default web-0 PartialObjectMetadata\n",
			"[web-1 100m 19531Ki 30s] default web-1 PartialObjectMetadata\n",
			"[dns 10m 9765Ki 30s] kube-system dns PartialObjectMetadata\n",
		}
		if diff := cmp.Diff(want, got); diff != "" || table.Kind != "Table" || len(table.ColumnDefinitions) != 4 {
			t.Errorf("%s %v: %s", table.Kind, table.ColumnDefinitions, diff)
		}
		if w := s.get(beta+"/nodes/node-a", "Accept", "application/yaml"); !strings.Contains(w.Body.String(), "kind: NodeMetrics\n") {
			t.Errorf("YAML: %s", w.Body)
		}
		if w := s.get(beta + "/nodes?pretty=true"); !strings.HasPrefix(w.Body.String(), "{\n  \"kind\"") {
			t.Errorf("pretty: %s", w.Body)
		}
	})
}

func TestResources(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		want := []object.Resource{
			{Group: "metrics.k8s.io", Version: "v1", Name: "nodes", Kind: "NodeMetrics"},
			{Group: "metrics.k8s.io", Version: "v1", Name: "pods", Kind: "PodMetrics", Namespaced: true},
			{Group: "metrics.k8s.io", Version: "v1beta1", Name: "nodes", Kind: "NodeMetrics"},
			{Group: "metrics.k8s.io", Version: "v1beta1", Name: "pods", Kind: "PodMetrics", Namespaced: true},
		}
		if diff := cmp.Diff(want, Resources(s.shelf)); diff != "" {
			t.Error(diff)
		}
	})
}

// through makes a client of what the handler answers.
func (s *site) client() *client.Client {
	s.t.Helper()
	krm, err := client.New("http://krm", client.Options{HTTPClient: &http.Client{Transport: direct{s}}, Retries: -1})
	if err != nil {
		s.t.Fatal(err)
	}
	return krm
}

// direct asks the site without a network.
type direct struct{ s *site }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	var header []string
	for name := range r.Header {
		header = append(header, name, r.Header.Get(name))
	}
	answer := d.s.do(r.Method, r.URL.RequestURI(), header...).Result()
	answer.Request = r
	return answer, nil
}

func TestClient(t *testing.T) {
	visitFixtures(t, func(t *testing.T, s *site) {
		ctx, krm := t.Context(), s.client()
		model := krm.Model()
		list := func(names []string, fresh client.MetricsFreshness, err error) string {
			t.Helper()
			if err != nil || !fresh.At.Equal(time.Date(2000, 1, 1, 1, 1, 0, 0, time.UTC)) || fresh.Partial != "" || fresh.Warnings != nil {
				t.Errorf("%+v, %v", fresh, err)
			}
			return strings.Join(names, " ")
		}
		f := func(want, got string) {
			t.Helper()
			if got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		web := model.Namespace("default").Pod("web-0")
		f("node-a node-b", list(model.Nodes(ctx)))
		f("default kube-system", list(model.Namespaces(ctx)))
		f("web-0 web-1", list(model.Namespace("default").Pods(ctx)))
		f("app side", list(web.Containers(ctx)))
		f("docker-daemon kubelet pods system", list(model.Node("host-a").SystemContainers(ctx)))
		f("cpu/usage_rate memory/usage", list(model.Namespace("default").Metrics(ctx)))
		if keys := list(model.Keys(ctx)); !strings.Contains(keys, "namespace:default/pod:web-0/container:app") {
			t.Error(keys)
		}
		series := func(series *client.Series, _ client.MetricsFreshness, err error) string {
			t.Helper()
			if err != nil {
				t.Error(err)
				return ""
			}
			text := ""
			for _, p := range series.Points {
				text += fmt.Sprintf("%s=%v ", p.Time.Format("15:04:05"), p.Number())
			}
			return text + series.Latest.Format("15:04:05")
		}
		from := time.Date(2000, 1, 1, 1, 0, 31, 0, time.UTC)
		f("01:00:30=255 01:01:00=255 01:01:00", series(web.Metric(ctx, "cpu/usage_rate", time.Time{}, time.Time{})))
		f("01:01:00=255 01:01:00", series(web.Metric(ctx, "cpu/usage_rate", from, time.Time{})))
		f("01:00:30=255 01:00:30", series(web.Metric(ctx, "cpu/usage_rate", time.Time{}, from)))
		f("01:01:00=368 01:01:00", series(model.Metric(ctx, "cpu-usage", from, time.Time{})))
		f("01:01:00=0.39473684210526316 01:01:00", series(model.Node("node-a").Metric(ctx, "cpu/node_utilization", from, time.Time{})))
		f("01:01:00=3000 01:01:00", series(model.Node("node-a").SystemContainer("kubelet").Metric(ctx, "memory/usage", from, time.Time{})))
		f("01:01:00=100 01:01:00", series(web.Container("app").Metric(ctx, "filesystem/usage", from, time.Time{}, client.MetricLabel{Key: "resource_id", Value: "/"})))
		f("00:00:00", series(web.Metric(ctx, "nosuch", from, time.Time{})))
		sets, _, err := web.Container("app").LabelSets(ctx, "filesystem/usage")
		f("[[{resource_id /}] [{resource_id logs}]] <nil>", fmt.Sprint(sets, err))

		all, _, err := model.Namespace("default").PodList(ctx, []string{"web-1", "nosuch"}, "cpu/usage_rate", from, time.Time{})
		if err != nil || len(all) != 2 || all[0].Points[0].Value != 103 || len(all[1].Points) != 0 {
			t.Errorf("%+v, %v", all, err)
		}
		status, _, err := model.Collections(ctx)
		if err != nil || len(status.Nodes) != 3 || status.Nodes[2].Reason != "not ready" || len(status.Batches) != 2 {
			t.Errorf("%+v, %v", status, err)
		}
		names, err := model.Clusters(ctx)
		f("[default] <nil>", fmt.Sprint(names, err))
		containers := 0
		for set, err := range model.Export(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if set.Labels["container_name"] == "app" && set.Metrics["cpu/usage"] != nil {
				containers++
			}
		}
		if containers != 2 {
			t.Errorf("%d containers called app in the export, want 2", containers)
		}
		pods := client.Of[v1beta1.PodMetrics, v1beta1.PodMetricsList](krm, client.Kind{
			Group: Group, Version: "v1beta1", Resource: "pods", Kind: "PodMetrics", Namespaced: true,
		})
		got, _, err := pods.In("default").Get(ctx, "web-0")
		if err != nil || got.Containers[0].Usage.Cpu().MilliValue() != 200 {
			t.Errorf("%+v, %v", got, err)
		}
		for _, err := range []error{
			second(model.Namespace("a/b").Pods(ctx)), second(model.Namespace("").Pods(ctx)), second(web.Container("..").Metrics(ctx)),
			second(model.Metric(ctx, "", from, from)), second(model.Metric(ctx, "a//b", from, from)),
			second(model.Metric(ctx, "a", from, from, client.MetricLabel{Key: "a", Value: "b,c"})), second(model.Of("").Nodes(ctx)), second(model.Of("nosuch").Nodes(ctx)),
		} {
			if err == nil {
				t.Error("nothing is wrong with a name that cannot be")
			}
		}
	})
}

func second[T any](_ T, _ client.MetricsFreshness, err error) error { return err }
