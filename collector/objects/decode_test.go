package objects

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// realPods are pods of a real kubelet, as the API server writes them.
func realPods(t testing.TB) (bodies []json.RawMessage) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "real-pods.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	for _, body := range list.Items { // without white space, as it travels
		small, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, small)
	}
	return bodies
}

// What is read from JSON is what typed objects become.
func TestDecodeRealPods(t *testing.T) {
	bodies := realPods(t)
	if len(bodies) < 3 {
		t.Fatalf("%d pods", len(bodies))
	}
	for _, body := range bodies {
		same(t, body)
	}
}

func same(t testing.TB, body []byte) *Pod {
	t.Helper()
	got, err := decodePod(body)
	if err != nil {
		t.Fatalf("decode %s: %v", body, err)
	}
	var typed corev1.Pod
	if err := json.Unmarshal(body, &typed); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fromPod(&typed), got); diff != "" {
		t.Errorf("typed and untyped (-want +got):\n%s", diff)
	}
	return got
}

// Every form of resources that a pod may have.
func TestDecodePod(t *testing.T) {
	f := func(body string, want Pod) {
		t.Helper()
		if diff := cmp.Diff(&want, same(t, []byte(body))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
	f(`{}`, Pod{Containers: []Container{}})
	f(`{"metadata":null,"spec":{"containers":null},"status":null}`, Pod{Containers: []Container{}})
	f(`{"metadata":{"name":"p","namespace":"n","uid":"u","labels":{"b":"2","a":"1\u00e9"},"annotations":{"x":"y"}},
		"spec":{"nodeName":"node","hostNetwork":true,"overhead":{"cpu":"250m","memory":"1500m"},
		"containers":[{"name":"c","image":"i","resources":{"requests":{"memory":"64Mi","cpu":"0.1","example.com/gpu":2},"limits":null}}],
		"initContainers":[{"name":"once","resources":{"requests":{"cpu":"9"}}},{"name":"side","image":"s","restartPolicy":"Always"}]},
		"status":{"phase":"Running","containerStatuses":[{"name":"c","restartCount":3}],"initContainerStatuses":[{"name":"side","restartCount":1},{"name":"once","restartCount":7}]}}`,
		Pod{
			Namespace: "n", Name: "p", UID: "u", Node: "node", Phase: "Running", HostNetwork: true,
			Labels:   []metrics.Label{{Key: "a", Value: "1é"}, {Key: "b", Value: "2"}},
			Overhead: []Quantity{{"cpu", 250}, {"memory", 2}},
			Containers: []Container{
				{Name: "c", Image: "i", Restarts: 3, Resources: Resources{Requests: []Quantity{{"cpu", 100}, {"example.com/gpu", 2}, {"memory", 64 << 20}}}},
				{Name: "side", Image: "s", Restarts: 1, Sidecar: true},
			},
		})
	// Resized in place: the largest of what is wanted, allocated and set up.
	f(`{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"100m","memory":"9"},"limits":{"cpu":"1"}}}]},
		"status":{"containerStatuses":[{"name":"c","allocatedResources":{"cpu":"300m"},"resources":{"requests":{"cpu":"200m"},"limits":{"cpu":"2"}}}]}}`,
		Pod{Containers: []Container{{Name: "c", Resources: Resources{
			Requests: []Quantity{{"cpu", 300}, {"memory", 9}}, Limits: []Quantity{{"cpu", 2000}},
		}}}})
	// What the node can never give does not count.
	f(`{"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"64"},"limits":{"cpu":"64"}}}]},
		"status":{"conditions":[{"type":"PodResizePending","status":"True","reason":"Infeasible"}],
		"containerStatuses":[{"name":"c","allocatedResources":{"cpu":"300m"},"resources":{"requests":{"cpu":"300m"},"limits":{"cpu":"2"}}}]}}`,
		Pod{Containers: []Container{{Name: "c", Resources: Resources{Requests: []Quantity{{"cpu", 300}}, Limits: []Quantity{{"cpu", 2000}}}}}})
	// Resources of the pod as a whole; of its status only what the spec names.
	f(`{"spec":{"containers":[],"resources":{"requests":{"cpu":"1"}}},
		"status":{"allocatedResources":{"cpu":"2","memory":"7"},"resources":{"requests":{"cpu":"1","memory":"7"},"limits":{"memory":"9"}}}}`,
		Pod{Containers: []Container{}, Resources: Resources{Requests: []Quantity{{"cpu", 2000}}}})
	f(`{"spec":{"containers":[]},"status":{"allocatedResources":{"cpu":"2"}}}`, Pod{Containers: []Container{}})
	for _, bad := range []string{``, `[]`, `{`, `{"metadata":{"labels":3}}`, `{"metadata":{"labels":{"a":{}}}}`, `{"spec":{"containers":{}}}`} {
		if p, err := decodePod([]byte(bad)); err == nil {
			t.Errorf("%s is read as %+v", bad, p)
		}
	}
}

func TestDecodeNode(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "real-node.json"))
	if err != nil {
		t.Fatal(err)
	}
	f := func(body []byte) *Node {
		t.Helper()
		got, err := decodeNode(body)
		if err != nil {
			t.Fatal(err)
		}
		var typed corev1.Node
		if err := json.Unmarshal(body, &typed); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fromNode(&typed), got); diff != "" {
			t.Errorf("typed and untyped (-want +got):\n%s", diff)
		}
		return got
	}
	real := f(text)
	if real.Ready != "True" || real.KubeletPort == 0 || len(real.Addresses) == 0 || len(real.Capacity) == 0 {
		t.Errorf("the real node is %+v", real)
	}
	f([]byte(`{"metadata":{"name":"n"},"spec":{"providerID":"aws:///i-1","unschedulable":true},"status":{"conditions":[{"type":"Ready","status":"Unknown"},{"type":"DiskPressure","status":"False"}]}}`))
	f([]byte(`{}`))
	namespace, err := decodeNamespace([]byte(`{"metadata":{"name":"n","uid":"u","labels":{"a":"b"}},"spec":{"finalizers":["kubernetes"]}}`))
	if diff := cmp.Diff(&Namespace{Name: "n", UID: "u"}, namespace); diff != "" || err != nil {
		t.Errorf("namespace: %v (-want +got):\n%s", err, diff)
	}
}

// Quantities are read as apimachinery reads them.
func TestParseQuantity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringMatching(`[0-9]{1,12}(m|k|Ki|M|Mi|G|Gi|Ti|Pi|n|u|e3)?`),
			rapid.StringMatching(`-?[0-9]{0,3}\.[0-9]{1,3}(m|Ki|Gi)?`),
			rapid.StringN(0, 4, 8),
		).Draw(t, "text")
		for _, name := range []string{"cpu", "memory"} {
			got, ok := parseQuantity(name, text)
			q, err := resource.ParseQuantity(text)
			if ok != (err == nil) || ok && got != quantityValue(name, q) {
				t.Fatalf("%s %q is %d (%v), want %d (%v)", name, text, got, ok, quantityValue(name, q), err)
			}
		}
	})
}

func FuzzDecodePod(f *testing.F) {
	for _, body := range realPods(f) {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if p, err := decodePod(body); err == nil && p == nil {
			t.Error("neither a pod nor an error")
		}
	})
}

func BenchmarkDecodePod(b *testing.B) {
	bodies := realPods(b)
	size := 0
	for _, body := range bodies {
		size += len(body)
	}
	run := func(name string, decode func([]byte)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size / len(bodies)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				decode(bodies[i%len(bodies)])
			}
		})
	}
	run("krm", func(body []byte) {
		if _, err := decodePod(body); err != nil {
			b.Fatal(err)
		}
	})
	run("typed", func(body []byte) {
		var p corev1.Pod
		if err := json.Unmarshal(body, &p); err != nil {
			b.Fatal(err)
		}
		fromPod(&p)
	})
}

// BenchmarkPodMemory says what a pod takes in a view.
func BenchmarkPodMemory(b *testing.B) {
	bodies := realPods(b)
	const n = 10_000
	for b.Loop() {
		var before, after runtime.MemStats
		v := newView()
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range n {
			p, err := decodePod(bodies[i%len(bodies)])
			if err != nil {
				b.Fatal(err)
			}
			p.Name = p.Name + string(rune('a'+i%26)) + string(rune('a'+i/26%26)) + string(rune('a'+i/676%26))
			v.setPod(p)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/pod")
		runtime.KeepAlive(v)
	}
}
