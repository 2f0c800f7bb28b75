package process

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The values of section 8 of the contract, of the second of two batches.
func TestFixtures(t *testing.T) {
	look := fixtures(t)
	b := newBatches()
	b.next(0)
	b.scrape(t, "node-a", 0)
	b.scrape(t, "node-b", 0)
	Complete(nil, b.Batch, look, []string{"node-c"}, LabelOptions{})
	prev := b.next(30)
	b.scrape(t, "node-a", 30*time.Second)
	b.scrape(t, "node-b", 30*time.Second)
	Complete(prev, b.Batch, look, []string{"node-c"}, LabelOptions{})

	cluster := metrics.Ref{}
	for id, want := range map[metrics.ID]int64{
		metrics.CPUUsageRate: 368, metrics.MemoryUsage: 119000000,
		metrics.CPURequest: 250, metrics.CPULimit: 500, metrics.MemoryRequest: 207618048, metrics.MemoryLimit: 312475648,
	} {
		has(t, b.Batch, cluster, id, want)
	}
	lacks(t, b.Batch, cluster, metrics.PodsMissing)
	lacks(t, b.Batch, cluster, metrics.CPUUsage)
	lacks(t, b.Batch, cluster, metrics.EphemeralStorageRequest)
	has(t, b.Batch, b.ns("default"), metrics.MemoryUsage, 99000000)
	has(t, b.Batch, b.ns("kube-system"), metrics.MemoryUsage, 20000000)

	node := b.node("node-a")
	has(t, b.Batch, node, metrics.CPUUsageRate, 1500)
	has(t, b.Batch, node, metrics.CPURequest, 150)
	has(t, b.Batch, node, metrics.MemoryRequest, 140509184)
	for id, want := range map[metrics.ID]float64{
		metrics.CPUNodeCapacity: 4000, metrics.CPUNodeAllocatable: 3800,
		metrics.CPUNodeReservation: 0.039473684210526314, metrics.CPUNodeUtilization: 0.39473684210526316,
		metrics.MemoryNodeReservation: 0.018694196428571428, metrics.MemoryNodeUtilization: 0.39913824626377653,
		metrics.EphemeralStorageNodeCapacity: 100 << 30, metrics.EphemeralStorageNodeAllocatable: 90 << 30,
		metrics.EphemeralStorageNodeReservation: 0, metrics.EphemeralStorageNodeUtilization: 4000. / (90 << 30),
		metrics.NetworkRxRate: 1000, metrics.NetworkTxRate: 2000, metrics.NetworkTxErrorsRate: 0,
	} {
		hasFloat(t, b.Batch, node, id, want)
	}
	has(t, b.Batch, b.sys("node-a", "runtime"), metrics.MemoryUsage, 4000)
	has(t, b.Batch, b.sys("node-a", "runtime"), metrics.CPUUsageRate, 40)
	lacks(t, b.Batch, b.sys("node-a", "runtime"), metrics.CPURequest)

	web := b.pod("default", "web-0")
	has(t, b.Batch, web, metrics.CPUUsageRate, 255)
	has(t, b.Batch, web, metrics.MemoryUsage, 58000000)
	has(t, b.Batch, web, metrics.RestartCount, 3)
	has(t, b.Batch, web, metrics.EphemeralStorageUsage, 222)
	if got := extended(b.Batch, web, "nvidia.com/gpu"); got != 1 {
		t.Errorf("nvidia.com/gpu/request of web-0 is %d, want 1", got)
	}
	dns := b.pod("kube-system", "dns")
	has(t, b.Batch, dns, metrics.CPUUsageRate, 10)
	has(t, b.Batch, dns, metrics.MemoryUsage, 20000000)
	lacks(t, b.Batch, dns, metrics.CPUUsage)
	hasFloat(t, b.Batch, dns, metrics.MemoryPageFaultsRate, 10)
	app := b.container("default", "web-0", "app")
	has(t, b.Batch, app, metrics.CPUUsageRate, 200)
	has(t, b.Batch, app, metrics.EphemeralStorageUsage, 111)
	if _, ok := b.Find(metrics.Namespace, metrics.Ref{}, "other"); ok {
		t.Error("the namespace of a pending pod is in the batch")
	}
	want := &metrics.Meta{
		UID: "uid-web-0", NamespaceID: "nsuid-default", Node: "node-a", Hostname: "host-a",
		Labels: []metrics.Label{{Key: "app", Value: "web"}, {Key: "tier", Value: "front"}}, Joined: "app:web,tier:front",
	}
	entity := b.Tables[metrics.Container].Entities[app.Row]
	if diff := cmp.Diff(want, entity.Meta); diff != "" || entity.Image != "nginx:1" {
		t.Errorf("app's image is %q, and its metadata (-want +got):\n%s", entity.Image, diff)
	}
	if entity.Meta != b.Tables[metrics.Pod].Entities[web.Row].Meta || entity.Meta != prev.Tables[metrics.Pod].Entities[web.Row].Meta {
		t.Error("metadata that did not change are made anew")
	}
}

// The first batch has the kubelet's own rates of CPU, and no others.
func TestFirstBatch(t *testing.T) {
	b := newBatches()
	b.next(0)
	b.scrape(t, "node-a", 0)
	Complete(nil, b.Batch, fixtures(t), nil, LabelOptions{})
	has(t, b.Batch, b.node("node-a"), metrics.CPUUsageRate, 1500)
	has(t, b.Batch, b.pod("default", "web-0"), metrics.CPUUsageRate, 255)
	has(t, b.Batch, b.pod("kube-system", "dns"), metrics.CPUUsageRate, 10)
	lacks(t, b.Batch, b.node("node-a"), metrics.NetworkRxRate)
}
