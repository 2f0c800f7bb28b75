package process

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

func q(pairs ...any) (list []objects.Quantity) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, objects.Quantity{Resource: pairs[i].(string), Value: int64(pairs[i+1].(int))})
	}
	return list
}

// Requests and limits come from the API, whatever of the pod the kubelet told.
func TestEnrichVectors(t *testing.T) {
	look := objects.NewView([]*objects.Pod{{
		Namespace: "ns1", Name: "pod1", UID: "u1", Phase: "Running",
		Containers: []objects.Container{
			{Name: "c1", Image: "k8s.gcr.io/pause:2.0", Resources: objects.Resources{Requests: q("cpu", 100, "memory", 555, "ephemeral-storage", 1000)}},
			{Name: "nginx", Resources: objects.Resources{
				Requests: q("cpu", 333, "memory", 1000, "ephemeral-storage", 2000, "example.com/resource1", 2),
				Limits:   q("cpu", 2222, "memory", 3333, "ephemeral-storage", 5000, "example.com/resource1", 2),
			}},
		},
	}}, nil, nil)
	f := func(reported func(b *batches)) {
		t.Helper()
		b := newBatches()
		b.next(0)
		reported(b)
		Enrich(b.Batch, look, LabelOptions{})
		Aggregate(b.Batch)
		check := func(ref metrics.Ref, want ...int64) {
			t.Helper()
			for i, id := range requested() {
				has(t, b.Batch, ref, id, want[i])
			}
		}
		pod := b.pod("ns1", "pod1")
		check(pod, 433, 2222, 1555, 3333, 3000, 5000)
		if got := extended(b.Batch, pod, "example.com/resource1"); got != 2 {
			t.Errorf("example.com/resource1/request is %d", got)
		}
		check(b.container("ns1", "pod1", "c1"), 100, 0, 555, 0, 1000, 0)
		check(b.container("ns1", "pod1", "nginx"), 333, 2222, 1000, 3333, 2000, 5000)
		has(t, b.Batch, b.ns("ns1"), metrics.CPURequest, 433)
		has(t, b.Batch, metrics.Ref{}, metrics.CPURequest, 433)
	}
	f(func(b *batches) { b.container("ns1", "pod1", "c1") }) // container and pod
	f(func(b *batches) { b.container("ns1", "pod1", "nginx") })
	f(func(b *batches) { b.pod("ns1", "pod1") }) // pod only
}

// What a pod requests as a whole is what the scheduler sets aside for it.
func TestPodResources(t *testing.T) {
	container := func(requests, limits []objects.Quantity) objects.Container {
		return objects.Container{Resources: objects.Resources{Requests: requests, Limits: limits}}
	}
	f := func(pod objects.Pod, requests, limits []objects.Quantity) {
		t.Helper()
		var got objects.Resources
		total(&pod, &got)
		if diff := cmp.Diff(objects.Resources{Requests: requests, Limits: limits}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	two := []objects.Container{container(q("cpu", 100), q("cpu", 200)), {Sidecar: true, Resources: objects.Resources{Requests: q("cpu", 50, "memory", 7)}}}
	f(objects.Pod{}, nil, nil)
	f(objects.Pod{Containers: two}, q("cpu", 150, "memory", 7), q("cpu", 200))
	f(objects.Pod{Containers: two, Overhead: q("cpu", 10, "memory", 1)}, q("cpu", 160, "memory", 8), append(q("cpu", 210), q("memory", 0)...))
	own := objects.Resources{Requests: q("cpu", 400), Limits: q("cpu", 150, "memory", 99)}
	f(objects.Pod{Containers: two, Resources: own}, q("cpu", 400, "memory", 7), q("cpu", 150, "memory", 99))
	f(objects.Pod{Containers: two, Resources: own, Overhead: q("cpu", 10)}, q("cpu", 410, "memory", 7), q("cpu", 160, "memory", 99))
	f(objects.Pod{Containers: two, Resources: objects.Resources{Requests: q("cpu", 120)}}, q("cpu", 150, "memory", 7), q("cpu", 200))
}

// A pod that has finished holds nothing, and gets no containers that did not run.
func TestEnrichFinished(t *testing.T) {
	pod := &objects.Pod{
		Namespace: "ns", Name: "job", Node: "n", Phase: "Succeeded", Overhead: q("cpu", 10),
		Containers: []objects.Container{
			{Name: "a", Restarts: 2, Resources: objects.Resources{Requests: q("cpu", 100)}},
			{Name: "b", Resources: objects.Resources{Requests: q("cpu", 100)}},
		},
	}
	b := newBatches()
	b.next(0)
	a := b.container("ns", "job", "a")
	Enrich(b.Batch, objects.NewView([]*objects.Pod{pod}, nil, nil), LabelOptions{})
	Aggregate(b.Batch)
	has(t, b.Batch, b.pod("ns", "job"), metrics.CPURequest, 0)
	has(t, b.Batch, b.pod("ns", "job"), metrics.RestartCount, 2)
	has(t, b.Batch, a, metrics.CPURequest, 0)
	if n := b.Tables[metrics.Container].Live.Count(); n != 1 {
		t.Errorf("there are %d containers, want 1", n)
	}
}

// What the API says of a name that is used again is not said of the pod that is
// still measured on another node.
func TestEnrichNameUsedAgain(t *testing.T) {
	look := objects.NewView([]*objects.Pod{{
		Namespace: "ns", Name: "web-0", UID: "new", Node: "b", Phase: "Running",
		Containers: []objects.Container{{Name: "c", Resources: objects.Resources{Requests: q("cpu", 100)}}},
	}}, nil, nil)
	b := newBatches()
	b.next(0)
	pod := b.pod("ns", "web-0")
	Reported(b.Batch, pod.Row, "a", "old")
	Enrich(b.Batch, look, LabelOptions{})
	lacks(t, b.Batch, pod, metrics.CPURequest)
	if meta := b.Tables[metrics.Pod].Entities[pod.Row].Meta; meta.UID != "old" || meta.Node != "a" {
		t.Errorf("the old pod is described as %+v", meta)
	}
	b.next(30)
	pod = b.pod("ns", "web-0")
	Reported(b.Batch, pod.Row, "b", "kubelet's")
	Enrich(b.Batch, look, LabelOptions{})
	has(t, b.Batch, pod, metrics.CPURequest, 100)
	if meta := b.Tables[metrics.Pod].Entities[pod.Row].Meta; meta.UID != "new" || meta.Node != "b" {
		t.Errorf("the new pod is described as %+v", meta)
	}
	// Deleted, but the kubelet still reports it: what was known stays, requests do not.
	b.next(60)
	pod = b.pod("ns", "web-0")
	Reported(b.Batch, pod.Row, "b", "kubelet's")
	Enrich(b.Batch, &objects.View{}, LabelOptions{})
	lacks(t, b.Batch, pod, metrics.CPURequest)
	if meta := b.Tables[metrics.Pod].Entities[pod.Row].Meta; meta.UID != "new" {
		t.Errorf("the deleted pod is described as %+v", meta)
	}
}

func TestEnrichNodes(t *testing.T) {
	node := &objects.Node{
		Name: "n", UID: "u", ProviderID: "aws:///i-1", Labels: []metrics.Label{{Key: "zone", Value: "z1"}},
		Annotations: []metrics.Label{{Key: "id", Value: "host-7"}},
		Addresses:   []objects.Address{{Type: "InternalIP", Address: "127.0.0.1"}, {Type: "Hostname", Address: "h"}},
	}
	pod := &objects.Pod{Namespace: "ns", Name: "p", UID: "pu", Node: "n"}
	look := objects.NewView([]*objects.Pod{pod}, []*objects.Node{node}, []*objects.Namespace{{Name: "ns", UID: "nu"}})
	f := func(options LabelOptions, wantHostID string) {
		t.Helper()
		b := newBatches()
		b.next(0)
		ref, of := b.node("n"), b.pod("ns", "p")
		Enrich(b.Batch, look, options)
		want := &metrics.Meta{UID: "u", Node: "n", Hostname: "h", HostID: wantHostID, Labels: node.Labels, Joined: "zone:z1"}
		if diff := cmp.Diff(want, b.Tables[metrics.Node].Entities[ref.Row].Meta); diff != "" {
			t.Errorf("node (-want +got):\n%s", diff)
		}
		want = &metrics.Meta{UID: "pu", NamespaceID: "nu", Node: "n", Hostname: "h", HostID: wantHostID}
		if diff := cmp.Diff(want, b.Tables[metrics.Pod].Entities[of.Row].Meta); diff != "" {
			t.Errorf("pod (-want +got):\n%s", diff)
		}
	}
	f(LabelOptions{}, "aws:///i-1")
	f(LabelOptions{HostIDAnnotation: "id"}, "host-7")
	f(LabelOptions{HostIDAnnotation: "other"}, "")
}

func TestLabels(t *testing.T) {
	labels := []metrics.Label{
		{Key: "colour", Value: "red"},
		{Key: "labels", Value: "preorder;configurable"},
		{Key: "name", Value: "bike"},
		{Key: "price", Value: "too_high"},
		{Key: "weight", Value: "10kg"},
	}
	f := func(o LabelOptions, store string, wantJoined string, wantStored ...metrics.Label) {
		t.Helper()
		for _, text := range []string{"name", "price", "copiedlabels=labels", "unknown"} {
			s, err := ParseStoredLabel(text)
			if err != nil {
				t.Fatal(err)
			}
			if store != "" {
				o.Store = append(o.Store, s)
			}
		}
		meta := o.describe(nil, metrics.Meta{Labels: labels})
		if meta.Joined != wantJoined {
			t.Errorf("joined: %q, want %q", meta.Joined, wantJoined)
		}
		if diff := cmp.Diff(wantStored, meta.Stored); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
	}
	const all = "colour:red,labels:preorder;configurable,name:bike,price:too_high,weight:10kg"
	three := []metrics.Label{{Key: "copiedlabels", Value: "preorder;configurable"}, {Key: "name", Value: "bike"}, {Key: "price", Value: "too_high"}}
	f(LabelOptions{}, "", all)
	f(LabelOptions{Separator: "-"}, "", "colour:red-labels:preorder;configurable-name:bike-price:too_high-weight:10kg")
	f(LabelOptions{}, "store", all, three...)
	f(LabelOptions{Ignore: []string{"colour", "weight"}}, "", "labels:preorder;configurable,name:bike,price:too_high")
	f(LabelOptions{Ignore: []string{"name"}}, "store", "colour:red,labels:preorder;configurable,price:too_high,weight:10kg", three...)
	for _, bad := range []string{"", "=", "a=", "=b", "a=b=c"} {
		if s, err := ParseStoredLabel(bad); err == nil {
			t.Errorf("ParseStoredLabel(%q) = %+v", bad, s)
		}
	}
}

// The network of a pod with hostNetwork is the node's: it is not the pod's traffic.
func TestHostNetwork(t *testing.T) {
	b := metrics.NewLedger(time.Hour).Begin("default", time.Unix(60, 0).UTC(), time.Minute)
	namespace := metrics.Ref{Kind: metrics.Namespace, Row: b.Row(metrics.Namespace, metrics.Ref{}, "ns")}
	pods := b.Tables[metrics.Pod]
	own, host := b.Row(metrics.Pod, namespace, "own"), b.Row(metrics.Pod, namespace, "host")
	for _, row := range []metrics.Row{own, host} {
		for _, id := range []metrics.ID{metrics.NetworkRx, metrics.NetworkTxErrorsRate, metrics.NetworkTime, metrics.MemoryUsage} {
			pods.Set(id, row, 7)
		}
	}
	look := objects.NewView([]*objects.Pod{{Namespace: "ns", Name: "own"}, {Namespace: "ns", Name: "host", HostNetwork: true}}, nil, nil)
	Enrich(b, look, LabelOptions{})
	for _, id := range []metrics.ID{metrics.NetworkRx, metrics.NetworkTxErrorsRate, metrics.NetworkTime} {
		if _, ok := pods.Get(id, own); !ok {
			t.Errorf("%s of a pod with a network of its own is gone", metrics.Describe(id).Name)
		}
		if _, ok := pods.Get(id, host); ok {
			t.Errorf("%s of the node is a pod's", metrics.Describe(id).Name)
		}
	}
	if _, ok := pods.Get(metrics.MemoryUsage, host); !ok {
		t.Error("memory went with the network")
	}
}
