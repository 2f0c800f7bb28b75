package source

import "github.com/kubernetes-resource-monitor/krm/internal/metrics"

// Value is one metric of the catalog and its value: an integer, or the bits of a
// float as the metric says.
type Value struct {
	ID   metrics.ID
	Bits int64
}

// Labelled is a row of a family of labelled metrics, of the set it stands in. A Disk
// row has its own StartTime and DiskTime.
type Labelled struct {
	Kind   metrics.Kind // Filesystem, Disk, Accelerator or GPU
	Name   string       // its labels as metrics.Kind wants them: "resource_id:/"
	Values []Value
}

// Set is what a node says of itself (Kind Node), of a Pod, a Container or a
// SystemContainer. StartTime, CPUTime, MemoryTime, NetworkTime and CPUNanoCores stand
// among the values.
type Set struct {
	Kind                      metrics.Kind
	Namespace, Pod, Container string // Container also of a SystemContainer, by its old name: docker-daemon, system
	UID                       string // of a Pod, as the kubelet knows it; "" if that does not say
	Values                    []Value
	Labelled                  []Labelled
}

// Sample is what one node said. A set may come in several parts, which have no metric
// in common: what /metrics/cadvisor says stands behind what the summary says. Parts
// of families, too, may stand in a set of their own, such as a GPU's below its
// container.
//
// The slices belong to the sample until Release; the strings stay good.
type Sample struct {
	Node string // the node's name, as its object has it
	Sets []Set
	// Missing says what could not be had although the rest could, such as
	// /metrics/cadvisor; nil if all is here.
	Missing error

	values   slab[Value]
	labelled slab[Labelled]
}

// Release gives the sample's memory back, to be used by a later scrape. Its sets must
// not be used any more. It is right to leave it out.
func (s *Sample) Release() {
	if s == nil || cap(s.Sets) > maxPooledSets {
		return
	}
	clear(s.Sets[:cap(s.Sets)])
	s.Node, s.Sets, s.Missing = "", s.Sets[:0], nil
	s.values.reset()
	s.labelled.reset()
	samples.Put(s)
}
