package process

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// cluster is 1000 nodes of 30 pods of 2 containers, and 3 system containers each.
func cluster(nodes, pods, containers int) *objects.View {
	var list []*objects.Pod
	var hosts []*objects.Node
	var namespaces []*objects.Namespace
	for i := range 50 {
		namespaces = append(namespaces, &objects.Namespace{Name: fmt.Sprint("namespace-", i), UID: fmt.Sprint("uid-", i)})
	}
	label := func(pairs ...string) (labels []metrics.Label) {
		for i := 0; i < len(pairs); i += 2 {
			labels = append(labels, metrics.Label{Key: pairs[i], Value: pairs[i+1]})
		}
		return labels
	}
	amounts := []objects.Quantity{{Resource: "cpu", Value: 4000}, {Resource: "ephemeral-storage", Value: 1 << 40}, {Resource: "memory", Value: 1 << 35}}
	for n := range nodes {
		name := fmt.Sprint("node-", n)
		hosts = append(hosts, &objects.Node{Name: name, UID: "uid-" + name, Labels: label("kubernetes.io/hostname", name, "zone", strconv.Itoa(n%3)), Capacity: amounts, Allocatable: amounts})
		for p := range pods {
			i := n*pods + p
			pod := &objects.Pod{
				Namespace: fmt.Sprint("namespace-", i%50), Name: fmt.Sprint("deployment-", i%700, "-5f4d8c7b9-", i), UID: fmt.Sprint("uid-", i), Node: name, Phase: "Running",
				Labels: label("app", fmt.Sprint("deployment-", i%700), "pod-template-hash", "5f4d8c7b9", "team", fmt.Sprint("team-", i%40)),
			}
			for c := range containers {
				pod.Containers = append(pod.Containers, objects.Container{
					Name: fmt.Sprint("container-", c), Image: fmt.Sprint("registry/image-", i%300), Restarts: int64(i % 3),
					Resources: objects.Resources{Requests: q("cpu", 100, "memory", 1<<26), Limits: q("cpu", 500, "memory", 1<<27)},
				})
			}
			list = append(list, pod)
		}
	}
	return objects.NewView(list, hosts, namespaces)
}

// fill puts what kubelets would have said of the view's cluster into the batch.
func (b *batches) fill(look *objects.View, containers int, round int64) {
	at := began + round*30*second
	values := func(table *metrics.Table, row metrics.Row, network bool) {
		table.Set(metrics.StartTime, row, began-3600*second)
		table.Set(metrics.CPUTime, row, at)
		table.Set(metrics.CPUUsage, row, (round+100)*int64(3000+row%900)*1e6)
		table.Set(metrics.MemoryTime, row, at)
		for _, id := range []metrics.ID{metrics.MemoryUsage, metrics.MemoryWorkingSet, metrics.MemoryRSS} {
			table.Set(id, row, 1<<26+4096*(int64(row)%999+round))
		}
		table.Set(metrics.MemoryPageFaults, row, (round+100)*1000)
		table.Set(metrics.MemoryMajorPageFaults, row, 7)
		table.Set(metrics.EphemeralStorageUsage, row, 1<<20)
		if network {
			table.Set(metrics.NetworkTime, row, at)
			for _, id := range []metrics.ID{metrics.NetworkRx, metrics.NetworkTx, metrics.NetworkRxErrors, metrics.NetworkTxErrors} {
				table.Set(id, row, (round+100)*int64(row%777))
			}
		}
	}
	for _, n := range look.Nodes() {
		node := b.node(n.Name)
		values(b.Tables[metrics.Node], node.Row, true)
		for _, name := range []string{"kubelet", "docker-daemon", "pods"} {
			values(b.Tables[metrics.SystemContainer], b.Row(metrics.SystemContainer, node, name), false)
		}
		for _, p := range look.PodsOn(n.Name) {
			pod := metrics.Ref{Kind: metrics.Pod, Row: b.Row(metrics.Pod, b.ns(p.Namespace), p.Name)}
			Reported(b.Batch, pod.Row, n.Name, p.UID)
			values(b.Tables[metrics.Pod], pod.Row, true)
			for i := range p.Containers[:containers] {
				values(b.Tables[metrics.Container], b.Row(metrics.Container, pod, p.Containers[i].Name), false)
			}
		}
	}
}

func BenchmarkComplete(b *testing.B) {
	const nodes, pods, containers = 1000, 30, 2
	look := cluster(nodes, pods, containers)
	batch := newBatches()
	round := int64(0)
	begin := func() (prev *metrics.Batch) {
		round++
		prev = batch.next(int(round) * 30)
		batch.fill(look, containers, round)
		return prev
	}
	options := LabelOptions{}
	Complete(begin(), batch.Batch, look, nil, options)
	b.ReportAllocs()
	step := func(name string, run func(prev *metrics.Batch)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				prev := begin()
				if name != "all" && name != "rates" {
					Rates(prev, batch.Batch)
				}
				if name == "aggregate" || name == "shares" {
					Enrich(batch.Batch, look, options)
				}
				b.StartTimer()
				run(prev)
				b.StopTimer()
				if name != "all" {
					Complete(prev, batch.Batch, look, nil, options)
				}
				b.StartTimer()
			}
		})
	}
	step("all", func(prev *metrics.Batch) { Complete(prev, batch.Batch, look, nil, options) })
	step("rates", func(prev *metrics.Batch) { Rates(prev, batch.Batch) })
	step("enrich", func(*metrics.Batch) { Enrich(batch.Batch, look, options) })
	step("aggregate", func(*metrics.Batch) { Aggregate(batch.Batch) })
	step("shares", func(*metrics.Batch) { Shares(batch.Batch, look) })
}

// BenchmarkFirst is the first batch of a collector, in which all labels are joined.
func BenchmarkFirst(b *testing.B) {
	look := cluster(1000, 30, 2)
	for b.Loop() {
		b.StopTimer()
		batch := newBatches()
		batch.next(0)
		batch.fill(look, 2, 1)
		b.StartTimer()
		from := time.Now()
		Complete(nil, batch.Batch, look, nil, LabelOptions{})
		b.ReportMetric(float64(time.Since(from).Milliseconds()), "ms")
	}
}
