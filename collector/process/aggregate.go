package process

import (
	"math/bits"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// summed are the metrics that namespaces and the cluster have: sums of their pods'.
func summed() []metrics.ID {
	return []metrics.ID{
		metrics.CPUUsageRate, metrics.MemoryUsage,
		metrics.CPURequest, metrics.CPULimit, metrics.MemoryRequest, metrics.MemoryLimit,
		metrics.GPUUsage,
	}
}

// requested are the metrics that nodes have as sums of their pods; all others of a
// node are measured.
func requested() []metrics.ID {
	return []metrics.ID{
		metrics.CPURequest, metrics.CPULimit, metrics.MemoryRequest, metrics.MemoryLimit,
		metrics.EphemeralStorageRequest, metrics.EphemeralStorageLimit,
	}
}

// Aggregate sums containers into pods, and pods into namespaces, nodes and the
// cluster. What a pod already has (measured by the kubelet for the pod as a whole, or
// told by Enrich) stays; of containers' counters there are no sums, only of their
// rates. A sum is there if anything that it sums is. Of labelled metrics only the memory of
// GPUs has some: it stands at the levels, without labels.
func Aggregate(b *metrics.Batch) {
	aggregatePods(b)
	aggregateGPUs(b)
	pods, namespaces := b.Tables[metrics.Pod], b.Tables[metrics.Namespace]
	for _, id := range summed() {
		d := metrics.Describe(id)
		sum(pods, namespaces, d, byParent(pods))
		sum(namespaces, b.Tables[metrics.Cluster], d, byParent(namespaces))
	}
	aggregateNodes(b)
}

// byParent sums rows into the rows of their parents.
func byParent(t *metrics.Table) func(metrics.Row) metrics.Row {
	return func(row metrics.Row) metrics.Row { return t.Entities[row].Parent.Row }
}

// aggregatePods gives pods what their containers have and they have not.
func aggregatePods(b *metrics.Batch) {
	containers, pods := b.Tables[metrics.Container], b.Tables[metrics.Pod]
	for _, column := range containers.Columns() {
		d := column.Metric
		if d.Type == metrics.Gauge && !d.Labelled && !d.Hidden() {
			sum(containers, pods, d, byParent(containers))
		}
	}
}

// aggregateGPUs sums devices: of pods those that their containers hold, of nodes all.
// A device that several containers share is the node's, and no pod's.
func aggregateGPUs(b *metrics.Batch) {
	devices, d := b.Tables[metrics.GPU], metrics.Describe(metrics.GPUUsage)
	holder := func(device metrics.Row) metrics.Ref {
		parent := devices.Entities[device].Parent
		if parent.Kind == metrics.Container {
			parent = b.Tables[metrics.Container].Entities[parent.Row].Parent
		}
		return parent // a pod or a node
	}
	sum(devices, b.Tables[metrics.Pod], d, func(device metrics.Row) metrics.Row {
		if of := holder(device); of.Kind == metrics.Pod {
			return of.Row
		}
		return -1
	})
	sum(devices, b.Tables[metrics.Node], d, func(device metrics.Row) metrics.Row {
		of := holder(device)
		if of.Kind == metrics.Pod {
			return nodeOf(b, of.Row)
		}
		return of.Row
	})
}

// nodeOf returns the node that a pod is on, -1 if that is not in the batch.
func nodeOf(b *metrics.Batch, pod metrics.Row) metrics.Row {
	if meta := b.Tables[metrics.Pod].Entities[pod].Meta; meta != nil {
		if node, ok := b.Find(metrics.Node, metrics.Ref{}, meta.Node); ok {
			return node
		}
	}
	return -1
}

// aggregateNodes sums what pods request by the node that they are on. Once anything
// is known of requests, a node without pods has 0 of them.
func aggregateNodes(b *metrics.Batch) {
	pods, nodes := b.Tables[metrics.Pod], b.Tables[metrics.Node]
	rows := make([]metrics.Row, len(pods.Entities))
	for row := range pods.Rows {
		rows[row] = nodeOf(b, row)
	}
	for _, id := range requested() {
		d := metrics.Describe(id)
		sum(pods, nodes, d, func(row metrics.Row) metrics.Row { return rows[row] })
		if column := pods.Column(id); column != nil && column.Has.Count() > 0 {
			to := nodes.Make(d)
			for node := range nodes.Rows {
				if !to.Has.Has(node) {
					to.Set(node, 0)
				}
			}
		}
	}
}

// sum adds up column d of from into the rows of to that into names, -1 for none. A
// row that already had a value keeps it.
func sum(from, to *metrics.Table, d *metrics.Descriptor, into func(metrics.Row) metrics.Row) {
	column := columnOf(from, d)
	if column == nil || column.Has.Count() == 0 {
		return
	}
	total := to.Make(d)
	had := append(metrics.Bitmap(nil), total.Has...)
	for i, word := range column.Has {
		for ; word != 0; word &= word - 1 {
			row := metrics.Row(i<<6 + bits.TrailingZeros64(word))
			at := into(row)
			if at < 0 || had.Has(at) {
				continue
			}
			value := column.Values[row]
			if before, ok := total.Get(at); ok {
				value = plus(d, before, value)
			}
			total.Set(at, value)
		}
	}
}

func plus(d *metrics.Descriptor, a, b int64) int64 {
	if d.Float {
		return metrics.FloatBits(metrics.BitsFloat(a) + metrics.BitsFloat(b))
	}
	return add(a, b)
}

// columnOf finds t's column of d, nil if it has none.
func columnOf(t *metrics.Table, d *metrics.Descriptor) *metrics.Column {
	if d.ID < metrics.NumIDs {
		return t.Column(d.ID)
	}
	for _, column := range t.Columns() {
		if column.Metric.Name == d.Name {
			return column
		}
	}
	return nil
}

// Missing counts the pods of nodes that have no metrics in the batch as PodsMissing
// of their namespaces, which it puts into the batch if they are not in it, and of the
// cluster. failed are those nodes' names. Pods that have not begun or have finished do
// not count: a kubelet would not have reported them.
func Missing(b *metrics.Batch, look *objects.View, failed []string) {
	missing := map[string]int64{}
	for _, node := range failed {
		for _, pod := range look.PodsOn(node) {
			if pod.Phase != "Pending" && pod.Phase != "Succeeded" && pod.Phase != "Failed" && !measured(b, pod) {
				missing[pod.Namespace]++
			}
		}
	}
	if len(missing) == 0 {
		return
	}
	var all int64
	for namespace, count := range missing {
		b.Tables[metrics.Namespace].Set(metrics.PodsMissing, b.Row(metrics.Namespace, metrics.Ref{}, namespace), count)
		all += count
	}
	b.Tables[metrics.Cluster].Set(metrics.PodsMissing, b.Row(metrics.Cluster, metrics.Ref{}, ""), all)
}

// measured says whether the pod is in the batch all the same.
func measured(b *metrics.Batch, pod *objects.Pod) bool {
	namespace, ok := b.Find(metrics.Namespace, metrics.Ref{}, pod.Namespace)
	if ok {
		_, ok = b.Find(metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: namespace}, pod.Name)
	}
	return ok
}
