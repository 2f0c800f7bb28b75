package process

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The original's vectors, whose made-up metrics m1, m2, m3 are memory/usage,
// memory/request and memory/limit here.
const m1, m2, m3 = int64(metrics.MemoryUsage), int64(metrics.MemoryRequest), int64(metrics.MemoryLimit)

func TestAggregateVectors(t *testing.T) {
	b := newBatches()
	b.next(0)
	pod1, pod2 := b.pod("ns1", "pod1"), b.pod("ns1", "pod2")
	b.set(b.container("ns1", "pod1", "c1"), m1, 10, m2, 222)
	b.set(b.container("ns1", "pod1", "c2"), m1, 100, m3, 30)
	b.set(pod2, m1, 100)
	b.set(b.container("ns1", "pod2", "c1"), m1, 10, m2, 20)
	Aggregate(b.Batch)
	has(t, b.Batch, pod1, metrics.MemoryUsage, 110)
	has(t, b.Batch, pod1, metrics.MemoryRequest, 222)
	has(t, b.Batch, pod1, metrics.MemoryLimit, 30)
	has(t, b.Batch, pod2, metrics.MemoryUsage, 100) // the kubelet's own value stays
	has(t, b.Batch, pod2, metrics.MemoryRequest, 20)
	lacks(t, b.Batch, pod2, metrics.MemoryLimit)
}

func TestAggregateUpwards(t *testing.T) {
	b := newBatches()
	b.next(0)
	node := b.node("h1")
	pod1, pod2 := b.pod("ns1", "pod1"), b.pod("ns1", "pod2")
	b.set(pod1, m1, 10, int64(metrics.CPULimit), 10, int64(metrics.MemoryWorkingSet), 222)
	b.set(pod2, m1, 100, int64(metrics.CPULimit), 100, m3, 30)
	Reported(b.Batch, pod1.Row, "h1", "")
	Reported(b.Batch, pod2.Row, "h1", "")
	elsewhere := b.pod("ns2", "pod3")
	b.set(elsewhere, m1, 1, int64(metrics.CPULimit), 1)
	Reported(b.Batch, elsewhere.Row, "h2", "")
	Aggregate(b.Batch)
	for ref, add := range map[metrics.Ref]int64{b.ns("ns1"): 0, {}: 1} {
		has(t, b.Batch, ref, metrics.MemoryUsage, 110+add)
		has(t, b.Batch, ref, metrics.MemoryLimit, 30)
		lacks(t, b.Batch, ref, metrics.MemoryWorkingSet)
		lacks(t, b.Batch, ref, metrics.MemoryRequest)
	}
	has(t, b.Batch, node, metrics.CPULimit, 110)
	has(t, b.Batch, node, metrics.MemoryLimit, 30)
	lacks(t, b.Batch, node, metrics.MemoryUsage) // measured, not summed
	if _, ok := b.Find(metrics.Node, metrics.Ref{}, "h2"); ok {
		t.Error("a node that did not answer is in the batch")
	}
}

// The memory of GPUs in use: a pod on two of them has both, a device that several share
// or nobody holds is the node's alone, and what has no device has no sum.
func TestAggregateGPUs(t *testing.T) {
	b := newBatches()
	b.next(0)
	gpu := func(of metrics.Ref, name string, used int64) {
		b.set(metrics.Ref{Kind: metrics.GPU, Row: b.Row(metrics.GPU, of, "gpu_index:0,gpu_name:T4,gpu_uuid:"+name)}, int64(metrics.GPUUsage), used)
	}
	h1, h2, h3 := b.node("h1"), b.node("h2"), b.node("h3")
	train, serve, away, plain := b.pod("ml", "train"), b.pod("ml", "serve"), b.pod("web", "away"), b.pod("web", "plain")
	for ref, node := range map[metrics.Ref]string{train: "h1", serve: "h2", away: "gone", plain: "h3"} {
		Reported(b.Batch, ref.Row, node, "")
	}
	gpu(b.container("ml", "train", "a"), "GPU-1", 100)
	gpu(b.container("ml", "train", "a"), "GPU-2", 20)
	gpu(b.container("ml", "train", "b"), "GPU-3", 0)
	gpu(b.container("ml", "serve", "a"), "GPU-4", 5)
	gpu(b.container("web", "away", "a"), "GPU-5", 1000) // on a node that is not in the batch
	gpu(h1, "GPU-6", 3)
	gpu(h1, "GPU-7", 4)
	b.set(b.container("web", "plain", "a"), m1, 1)
	Complete(nil, b.Batch, &objects.View{}, nil, LabelOptions{})
	for ref, want := range map[metrics.Ref]int64{train: 120, serve: 5, away: 1000, b.ns("ml"): 125, b.ns("web"): 1000, {}: 1125, h1: 127, h2: 5} {
		has(t, b.Batch, ref, metrics.GPUUsage, want)
	}
	for _, ref := range []metrics.Ref{plain, h3, b.container("ml", "train", "a")} {
		lacks(t, b.Batch, ref, metrics.GPUUsage)
	}
	has(t, b.Batch, b.container("web", "plain", "a"), metrics.MemoryUsage, 1)

	// Nothing of one batch is left in the next.
	b.next(30)
	b.set(b.pod("ml", "train"), m1, 1)
	Complete(nil, b.Batch, &objects.View{}, nil, LabelOptions{})
	for _, ref := range []metrics.Ref{train, b.ns("ml"), {}, b.node("h1")} {
		lacks(t, b.Batch, ref, metrics.GPUUsage)
	}
}

// Of counters, times and labelled metrics there are no sums.
func TestAggregateLeavesOut(t *testing.T) {
	b := newBatches()
	b.next(0)
	c := b.container("ns", "p", "c")
	ids := []metrics.ID{
		metrics.Uptime, metrics.CPUUsage, metrics.MemoryPageFaults, metrics.MemoryMajorPageFaults, metrics.NetworkRx,
		metrics.StartTime, metrics.CPUTime, metrics.CPUNanoCores, metrics.FilesystemUsage,
	}
	for _, id := range ids {
		b.set(c, int64(id), 1)
	}
	b.set(c, int64(metrics.MemoryRSS), 5, int64(metrics.MemoryPageFaultsRate), metrics.FloatBits(1.5))
	b.set(b.container("ns", "p", "d"), int64(metrics.MemoryPageFaultsRate), metrics.FloatBits(0.25))
	Aggregate(b.Batch)
	for _, id := range ids {
		lacks(t, b.Batch, b.pod("ns", "p"), id)
	}
	has(t, b.Batch, b.pod("ns", "p"), metrics.MemoryRSS, 5)
	hasFloat(t, b.Batch, b.pod("ns", "p"), metrics.MemoryPageFaultsRate, 1.75)
}

func TestMissing(t *testing.T) {
	pod := func(namespace, name, node, phase string) *objects.Pod {
		return &objects.Pod{Namespace: namespace, Name: name, Node: node, Phase: phase}
	}
	look := objects.NewView([]*objects.Pod{
		pod("ns1", "a", "up", "Running"), pod("ns1", "b", "down", "Running"), pod("ns1", "c", "down", "Unknown"),
		pod("ns1", "d", "down", "Succeeded"), pod("ns1", "e", "down", "Pending"), pod("ns1", "f", "", "Pending"),
		pod("ns1", "moved", "down", "Running"), pod("ns2", "g", "gone", "Running"), pod("ns3", "h", "up", "Running"),
	}, nil, []*objects.Namespace{{Name: "ns2", UID: "u2"}})
	b := newBatches()
	b.next(0)
	b.set(b.pod("ns1", "a"), m1, 10)
	b.pod("ns1", "moved") // another node reported it
	b.set(b.pod("ns3", "h"), m1, 1)
	Complete(nil, b.Batch, look, []string{"down", "gone", "unheard-of"}, LabelOptions{})
	has(t, b.Batch, b.ns("ns1"), metrics.PodsMissing, 2)
	has(t, b.Batch, b.ns("ns1"), metrics.MemoryUsage, 10)
	has(t, b.Batch, b.ns("ns2"), metrics.PodsMissing, 1)
	lacks(t, b.Batch, b.ns("ns2"), metrics.MemoryUsage)
	lacks(t, b.Batch, b.ns("ns3"), metrics.PodsMissing)
	has(t, b.Batch, metrics.Ref{}, metrics.PodsMissing, 3)
	if meta := b.Tables[metrics.Namespace].Entities[b.ns("ns2").Row].Meta; meta == nil || meta.UID != "u2" {
		t.Errorf("the namespace that only misses pods is described as %+v", meta)
	}
}

// A cluster without nodes is there all the same, with no values.
func TestNothing(t *testing.T) {
	b := newBatches()
	b.next(0)
	Complete(nil, b.Batch, &objects.View{}, nil, LabelOptions{})
	if !b.Tables[metrics.Cluster].Live.Has(0) {
		t.Error("there is no cluster")
	}
	for kind := range metrics.Kinds {
		for _, column := range b.Tables[kind].Columns() {
			if column.Has.Count() > 0 {
				t.Errorf("%v has %s", kind, column.Metric.Name)
			}
		}
	}
}

// Sums over pods are their namespaces' and nodes', and sums over namespaces are the
// cluster's, however the cluster looks and whatever kubelets say.
func TestSumsAgree(t *testing.T) {
	value := rapid.OneOf(rapid.Int64Range(0, 1<<40), rapid.SampledFrom([]int64{0, math.MaxInt64}))
	rapid.Check(t, func(t *rapid.T) {
		b := newBatches()
		var pods []*objects.Pod
		for batch := range 2 {
			prev := b.next(30 * batch)
			nodes := []string{"a", "b", "c"}[:rapid.IntRange(0, 3).Draw(t, "nodes")]
			pods = pods[:0]
			for i := range rapid.IntRange(0, 12).Draw(t, "pods") {
				pod := &objects.Pod{
					Namespace: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "namespace"), Name: fmt.Sprint("p", i), Phase: "Running",
					Node: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "node"),
				}
				for c := range rapid.IntRange(0, 3).Draw(t, "containers") {
					pod.Containers = append(pod.Containers, objects.Container{Name: fmt.Sprint("c", c), Resources: objects.Resources{
						Requests: []objects.Quantity{{Resource: "cpu", Value: value.Draw(t, "cpu")}}, Limits: []objects.Quantity{{Resource: "memory", Value: value.Draw(t, "memory")}},
					}})
				}
				pods = append(pods, pod)
			}
			for _, node := range nodes {
				b.set(b.node(node), m1, value.Draw(t, "node's"))
				if rapid.Bool().Draw(t, "idle") {
					idle := b.Row(metrics.GPU, b.node(node), "gpu_index:9")
					b.set(metrics.Ref{Kind: metrics.GPU, Row: idle}, int64(metrics.GPUUsage), value.Draw(t, "idle device's"))
				}
			}
			failed := []string{"a", "b", "c"}[len(nodes):]
			for _, pod := range pods {
				if len(failed) > 0 && pod.Node >= failed[0] {
					continue
				}
				ref := b.pod(pod.Namespace, pod.Name)
				Reported(b.Batch, ref.Row, pod.Node, "")
				if rapid.Bool().Draw(t, "pod measured") {
					b.set(ref, m1, value.Draw(t, "pod's"))
				}
				for _, c := range pod.Containers {
					if rapid.Bool().Draw(t, "container measured") {
						b.set(b.container(pod.Namespace, pod.Name, c.Name), m1, value.Draw(t, "container's"), int64(metrics.CPUTime), began+int64(batch)*30*second, int64(metrics.CPUUsage), value.Draw(t, "counter"))
					}
					for device := range rapid.IntRange(0, 2).Draw(t, "devices") {
						held := b.Row(metrics.GPU, b.container(pod.Namespace, pod.Name, c.Name), fmt.Sprint("gpu_index:", device))
						b.set(metrics.Ref{Kind: metrics.GPU, Row: held}, int64(metrics.GPUUsage), value.Draw(t, "device's"))
					}
				}
			}
			Complete(prev, b.Batch, objects.NewView(pods, nil, nil), failed, LabelOptions{})
			checkSums(t, b.Batch, int64(len(pods)))
		}
	})
}

func checkSums(t *rapid.T, b *metrics.Batch, pods int64) {
	total := func(table *metrics.Table, id metrics.ID, of func(metrics.Row) bool) (n int64, any bool) {
		for row := range table.Rows {
			if v, ok := table.Get(id, row); ok && of(row) {
				n, any = add(n, v), true
				if v < 0 {
					t.Fatalf("%v: %s is %d", table.Kind, metrics.Describe(id).Name, v)
				}
			}
		}
		return n, any
	}
	same := func(table *metrics.Table, row metrics.Row, id metrics.ID, want int64, any bool) {
		if got, ok := table.Get(id, row); ok != any || got != want {
			t.Fatalf("%v %q: %s is %d (%v), its parts are %d (%v)", table.Kind, table.Entities[row].Name, metrics.Describe(id).Name, got, ok, want, any)
		}
	}
	table, namespaces := b.Tables[metrics.Pod], b.Tables[metrics.Namespace]
	for _, id := range summed() {
		for ns := range namespaces.Rows {
			want, any := total(table, id, func(row metrics.Row) bool { return table.Entities[row].Parent.Row == ns })
			same(namespaces, ns, id, want, any)
		}
		want, any := total(namespaces, id, func(metrics.Row) bool { return true })
		same(b.Tables[metrics.Cluster], 0, id, want, any)
	}
	for node := range b.Tables[metrics.Node].Rows {
		name := b.Tables[metrics.Node].Entities[node].Name
		for _, id := range requested() {
			want, _ := total(table, id, func(row metrics.Row) bool { return table.Entities[row].Meta.Node == name })
			_, any := total(table, id, func(metrics.Row) bool { return true })
			same(b.Tables[metrics.Node], node, id, want, any)
		}
	}
	devices, containers := b.Tables[metrics.GPU], b.Tables[metrics.Container]
	holds := func(level metrics.Kind, row metrics.Row) func(metrics.Row) bool {
		return func(device metrics.Row) bool {
			of := devices.Entities[device].Parent
			if of.Kind == metrics.Node {
				return level == metrics.Node && of.Row == row
			}
			pod := containers.Entities[of.Row].Parent.Row
			return level == metrics.Pod && pod == row || level == metrics.Node && table.Entities[pod].Meta.Node == b.Tables[level].Entities[row].Name
		}
	}
	for _, level := range []metrics.Kind{metrics.Pod, metrics.Node} {
		for row := range b.Tables[level].Rows {
			want, any := total(devices, metrics.GPUUsage, holds(level, row))
			same(b.Tables[level], row, metrics.GPUUsage, want, any)
		}
	}
	missing, _ := b.Tables[metrics.Cluster].Get(metrics.PodsMissing, 0)
	if inNamespaces, _ := total(namespaces, metrics.PodsMissing, func(metrics.Row) bool { return true }); inNamespaces != missing {
		t.Fatalf("the cluster misses %d pods, its namespaces %d", missing, inNamespaces)
	}
	if measured := int64(table.Live.Count()); measured+missing != pods {
		t.Fatalf("%d pods are measured and %d missing, of %d", measured, missing, pods)
	}
}
