package process

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

var t0 = time.Date(2026, 11, 21, 16, 0, 0, 0, time.UTC)

// batches is a ledger and the batch that is being built.
type batches struct {
	ledger *metrics.Ledger
	*metrics.Batch
}

func newBatches() *batches { return &batches{ledger: metrics.NewLedger(time.Hour)} }

// next begins the batch of the window that ends at t0 + seconds.
func (b *batches) next(seconds int) (before *metrics.Batch) {
	before = b.Batch
	b.Batch = b.ledger.Begin("default", t0.Add(time.Duration(seconds)*time.Second), 30*time.Second)
	return before
}

func (b *batches) ns(name string) metrics.Ref {
	return metrics.Ref{Kind: metrics.Namespace, Row: b.Row(metrics.Namespace, metrics.Ref{}, name)}
}

func (b *batches) node(name string) metrics.Ref {
	return metrics.Ref{Kind: metrics.Node, Row: b.Row(metrics.Node, metrics.Ref{}, name)}
}

func (b *batches) pod(namespace, name string) metrics.Ref {
	return metrics.Ref{Kind: metrics.Pod, Row: b.Row(metrics.Pod, b.ns(namespace), name)}
}

func (b *batches) container(namespace, pod, name string) metrics.Ref {
	return metrics.Ref{Kind: metrics.Container, Row: b.Row(metrics.Container, b.pod(namespace, pod), name)}
}

func (b *batches) sys(node, name string) metrics.Ref {
	return metrics.Ref{Kind: metrics.SystemContainer, Row: b.Row(metrics.SystemContainer, b.node(node), name)}
}

// set sets values of ref: id, value, id, value …
func (b *batches) set(ref metrics.Ref, pairs ...int64) {
	for i := 0; i < len(pairs); i += 2 {
		b.Tables[ref.Kind].Set(metrics.ID(pairs[i]), ref.Row, pairs[i+1])
	}
}

// has checks that ref has that value of the metric.
func has(t *testing.T, b *metrics.Batch, ref metrics.Ref, id metrics.ID, want int64) {
	t.Helper()
	if got, ok := b.Tables[ref.Kind].Get(id, ref.Row); !ok || got != want {
		t.Errorf("%v %q: %s = %d (%v), want %d", ref.Kind, b.Tables[ref.Kind].Entities[ref.Row].Name, metrics.Describe(id).Name, got, ok, want)
	}
}

// hasFloat is has for metrics that are floats.
func hasFloat(t *testing.T, b *metrics.Batch, ref metrics.Ref, id metrics.ID, want float64) {
	t.Helper()
	if got, ok := b.Tables[ref.Kind].Column(id).Number(ref.Row); !ok || got != want {
		t.Errorf("%v %q: %s = %v (%v), want %v", ref.Kind, b.Tables[ref.Kind].Entities[ref.Row].Name, metrics.Describe(id).Name, got, ok, want)
	}
}

// lacks checks that ref has no value of the metric.
func lacks(t *testing.T, b *metrics.Batch, ref metrics.Ref, id metrics.ID) {
	t.Helper()
	if got, ok := b.Tables[ref.Kind].Get(id, ref.Row); ok {
		t.Errorf("%v %q: %s = %d, want none", ref.Kind, b.Tables[ref.Kind].Entities[ref.Row].Name, metrics.Describe(id).Name, got)
	}
}

// extended is ref's value of RESOURCE/request, -1 if it has none.
func extended(b *metrics.Batch, ref metrics.Ref, resource string) int64 {
	for _, column := range b.Tables[ref.Kind].Columns() {
		if column.Metric.Name == resource+"/request" {
			if v, ok := column.Get(ref.Row); ok {
				return v
			}
		}
	}
	return -1
}

// fixtures returns what the API knows in testdata.
func fixtures(t testing.TB) *objects.View {
	t.Helper()
	var pods corev1.PodList
	var nodes corev1.NodeList
	var namespaces corev1.NamespaceList
	read(t, "pods.json", &pods)
	read(t, "nodes.json", &nodes)
	read(t, "namespaces.json", &namespaces)
	return objects.Of(pods.Items, nodes.Items, namespaces.Items)
}

func read(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
}

// summary is what we put into batches of the kubelet's answer.
type summary struct {
	Node struct {
		entity
		NodeName         string
		FS               used
		SystemContainers []entity
	}
	Pods []struct {
		entity
		PodRef           struct{ Name, Namespace, UID string }
		Containers       []entity
		EphemeralStorage *used `json:"ephemeral-storage"`
	}
}

type used struct{ UsedBytes int64 }

type entity struct {
	Name      string
	StartTime time.Time
	CPU       *struct {
		Time                 time.Time
		UsageCoreNanoSeconds int64
		UsageNanoCores       int64
	}
	Memory *struct {
		Time                                                               time.Time
		UsageBytes, WorkingSetBytes, RSSBytes, PageFaults, MajorPageFaults int64
	}
	Network *struct {
		Time                                 time.Time
		RxBytes, TxBytes, RxErrors, TxErrors int64
	}
	RootFS, Logs *used
}

// scrape puts a node's fixture into the batch as the kubelet would answer so much
// later than the fixture was taken.
func (b *batches) scrape(t testing.TB, node string, later time.Duration) {
	t.Helper()
	var s summary
	read(t, "summary-"+node+".json", &s)
	ref := b.node(s.Node.NodeName)
	b.put(ref, &s.Node.entity, later)
	b.set(ref, int64(metrics.EphemeralStorageUsage), s.Node.FS.UsedBytes)
	for i := range s.Node.SystemContainers {
		c := &s.Node.SystemContainers[i]
		b.put(b.sys(s.Node.NodeName, c.Name), c, later)
	}
	for i := range s.Pods {
		p := &s.Pods[i]
		ref := b.pod(p.PodRef.Namespace, p.PodRef.Name)
		Reported(b.Batch, ref.Row, s.Node.NodeName, p.PodRef.UID)
		b.put(ref, &p.entity, later)
		if p.EphemeralStorage != nil {
			b.set(ref, int64(metrics.EphemeralStorageUsage), p.EphemeralStorage.UsedBytes)
		}
		for i := range p.Containers {
			c := &p.Containers[i]
			b.put(b.container(p.PodRef.Namespace, p.PodRef.Name, c.Name), c, later)
		}
	}
}

// put sets what the entity measured; its counters go on as they did on average since
// it started.
func (b *batches) put(ref metrics.Ref, e *entity, later time.Duration) {
	set := func(id metrics.ID, v int64) { b.set(ref, int64(id), v) }
	counter := func(id metrics.ID, v int64, at time.Time) {
		age := int64(at.Sub(e.StartTime) / time.Second)
		set(id, v/age*(age+int64(later/time.Second)))
	}
	set(metrics.StartTime, e.StartTime.UnixNano())
	if c := e.CPU; c != nil {
		set(metrics.CPUTime, c.Time.Add(later).UnixNano())
		set(metrics.CPUNanoCores, c.UsageNanoCores)
		counter(metrics.CPUUsage, c.UsageCoreNanoSeconds, c.Time)
	}
	if m := e.Memory; m != nil {
		set(metrics.MemoryTime, m.Time.Add(later).UnixNano())
		set(metrics.MemoryUsage, m.UsageBytes)
		set(metrics.MemoryWorkingSet, m.WorkingSetBytes)
		set(metrics.MemoryRSS, m.RSSBytes)
		counter(metrics.MemoryPageFaults, m.PageFaults, m.Time)
		counter(metrics.MemoryMajorPageFaults, m.MajorPageFaults, m.Time)
	}
	if n := e.Network; n != nil {
		set(metrics.NetworkTime, n.Time.Add(later).UnixNano())
		counter(metrics.NetworkRx, n.RxBytes, n.Time)
		counter(metrics.NetworkTx, n.TxBytes, n.Time)
		counter(metrics.NetworkRxErrors, n.RxErrors, n.Time)
		counter(metrics.NetworkTxErrors, n.TxErrors, n.Time)
	}
	if e.RootFS != nil && e.Logs != nil {
		set(metrics.EphemeralStorageUsage, e.RootFS.UsedBytes+e.Logs.UsedBytes)
	}
}
