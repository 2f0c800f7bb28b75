package collector

import (
	"fmt"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/collector/source"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// madeUp is what a node of so many pods with two containers says.
func madeUp(node string, pods int) *source.Sample {
	values := func(n int) (all []source.Value) {
		for i := range n {
			all = append(all, source.Value{ID: []metrics.ID{
				metrics.StartTime, metrics.Uptime, metrics.CPUTime, metrics.CPUUsage, metrics.CPUNanoCores, metrics.MemoryTime, metrics.MemoryUsage,
				metrics.MemoryWorkingSet, metrics.MemoryRSS, metrics.MemoryPageFaults, metrics.MemoryMajorPageFaults, metrics.EphemeralStorageUsage,
				metrics.NetworkTime, metrics.NetworkRx, metrics.NetworkTx, metrics.NetworkRxErrors, metrics.NetworkTxErrors,
			}[i], Bits: int64(i)})
		}
		return all
	}
	filesystems := func(s source.Set) source.Set {
		for _, name := range []string{"resource_id:/", "resource_id:logs"} {
			s.Labelled = append(s.Labelled, source.Labelled{Kind: metrics.Filesystem, Name: name, Values: []source.Value{
				{ID: metrics.FilesystemUsage}, {ID: metrics.FilesystemLimit}, {ID: metrics.FilesystemAvailable}, {ID: metrics.FilesystemInodes}, {ID: metrics.FilesystemInodesFree},
			}})
		}
		return s
	}
	s := sampleOf(node, filesystems(set(metrics.Node, "", "", "", values(17)...)))
	for _, name := range []string{"kubelet", "docker-daemon", "pods"} {
		s.Sets = append(s.Sets, set(metrics.SystemContainer, "", "", name, values(11)...))
	}
	for p := range pods {
		namespace, pod := fmt.Sprintf("ns-%d", p%20), fmt.Sprintf("pod-%s-%d", node, p)
		s.Sets = append(s.Sets, set(metrics.Pod, namespace, pod, "", values(17)...))
		for _, name := range []string{"app", "side"} {
			s.Sets = append(s.Sets, filesystems(set(metrics.Container, namespace, pod, name, values(12)...)))
		}
	}
	return s
}

// BenchmarkAssembly is one batch of 1000 nodes of 30 pods with two containers.
func BenchmarkAssembly(b *testing.B) {
	var samples []*source.Sample
	for _, name := range many(1000) {
		samples = append(samples, madeUp(name, 30))
	}
	ledger, at := metrics.NewLedger(time.Hour), time.Unix(1800000000, 0)
	for b.Loop() {
		at = at.Add(30 * time.Second)
		a := newAssembly(ledger.Begin("default", at, 30*time.Second))
		for _, s := range samples {
			a.add(s)
		}
	}
}
