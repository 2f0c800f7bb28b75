package collector

import (
	"github.com/kubernetes-resource-monitor/krm/collector/process"
	"github.com/kubernetes-resource-monitor/krm/collector/source"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// assembly puts samples into the batch that is being built.
type assembly struct {
	batch  *metrics.Batch
	nodes  map[string]int // that have brought a sample, numbered from 1
	owners []owner        // by row of pod
	sets   int

	// The pod that was placed last: its containers follow it.
	lastNamespace, lastName string
	lastPod                 metrics.Ref
	lastNode                int
}

// owner is the node that a pod's values in this batch come from.
type owner struct {
	node  int // its number in nodes; 0: none
	start int64
}

func newAssembly(b *metrics.Batch) *assembly { return &assembly{batch: b, nodes: map[string]int{}} }

// add puts a sample in. Two nodes may report a pod of the same name: one that a
// StatefulSet made anew elsewhere while the old node still remembers it. The one that
// started later wins.
func (a *assembly) add(sample *source.Sample) {
	if a.nodes[sample.Node] == 0 {
		a.nodes[sample.Node] = len(a.nodes) + 1
	}
	for i := range sample.Sets {
		set := &sample.Sets[i]
		ref, ok := a.place(sample.Node, set)
		if !ok {
			continue
		}
		a.sets++
		put(a.batch.Tables[ref.Kind], ref.Row, set.Values)
		for _, l := range set.Labelled {
			row := a.batch.Row(l.Kind, ref, l.Name)
			put(a.batch.Tables[l.Kind], row, l.Values)
		}
	}
}

func put(t *metrics.Table, row metrics.Row, values []source.Value) {
	for _, v := range values {
		t.Set(v.ID, row, v.Bits)
	}
}

// place returns the row that a set of a node belongs to, false if it is of a pod that
// another node's sample has.
func (a *assembly) place(node string, set *source.Set) (metrics.Ref, bool) {
	switch set.Kind {
	case metrics.Node:
		return a.node(node), true
	case metrics.SystemContainer:
		return metrics.Ref{Kind: set.Kind, Row: a.batch.Row(set.Kind, a.node(node), set.Container)}, true
	case metrics.Pod:
		return a.pod(node, set)
	case metrics.Container:
		pod, ok := a.pod(node, set)
		if !ok {
			return metrics.Ref{}, false
		}
		return metrics.Ref{Kind: set.Kind, Row: a.batch.Row(set.Kind, pod, set.Container)}, true
	}
	return metrics.Ref{}, false
}

func (a *assembly) node(name string) metrics.Ref {
	return metrics.Ref{Kind: metrics.Node, Row: a.batch.Row(metrics.Node, metrics.Ref{}, name)}
}

// pod returns the row of the pod that set is about, or is a part of, unless another
// node has it.
func (a *assembly) pod(node string, set *source.Set) (metrics.Ref, bool) {
	if set.Kind == metrics.Container && set.Pod == a.lastName && set.Namespace == a.lastNamespace && a.lastNode == a.nodes[node] {
		return a.lastPod, true
	}
	namespace := metrics.Ref{Kind: metrics.Namespace, Row: a.batch.Row(metrics.Namespace, metrics.Ref{}, set.Namespace)}
	pod := metrics.Ref{Kind: metrics.Pod, Row: a.batch.Row(metrics.Pod, namespace, set.Pod)}
	for int(pod.Row) >= len(a.owners) {
		a.owners = append(a.owners, make([]owner, max(64, len(a.owners)))...)
	}
	own, me := &a.owners[pod.Row], a.nodes[node]
	switch {
	case own.node == me:
	case own.node == 0:
		*own = owner{me, 0}
	case set.Kind == metrics.Pod && start(set) > own.start:
		a.empty(pod)
		*own = owner{me, 0}
	default:
		return metrics.Ref{}, false
	}
	if set.Kind == metrics.Pod {
		own.start = max(own.start, start(set))
		process.Reported(a.batch, pod.Row, node, set.UID)
	}
	a.lastNamespace, a.lastName, a.lastPod, a.lastNode = set.Namespace, set.Pod, pod, me
	return pod, true
}

func start(set *source.Set) int64 {
	for _, v := range set.Values {
		if v.ID == metrics.StartTime {
			return v.Bits
		}
	}
	return 0
}

// empty takes out what the batch has of a pod but the pod itself: it is of another pod
// of the same name. This is rare, and reads whole tables.
func (a *assembly) empty(pod metrics.Ref) {
	gone := map[metrics.Ref]bool{pod: true}
	for kind := metrics.Container; kind < metrics.Kinds; kind++ {
		t := a.batch.Tables[kind]
		for row := range t.Rows {
			if !gone[t.Entities[row].Parent] {
				continue
			}
			ref := metrics.Ref{Kind: kind, Row: row}
			gone[ref] = true
			t.Live[row>>6] &^= 1 << (row & 63)
		}
	}
	for ref := range gone {
		for _, c := range a.batch.Tables[ref.Kind].Columns() {
			if c.Has.Has(ref.Row) {
				c.Has[ref.Row>>6] &^= 1 << (ref.Row & 63)
			}
		}
	}
}
