package main

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Node is a machine whose kubelet is played here. Its workload may be replaced while
// it answers.
type Node struct {
	Name string

	load atomic.Pointer[Workload]
}

// Workload is what runs on a node. It is never changed.
type Workload struct {
	Booted time.Time
	Pods   []*Pod // by namespace and name
	Memory int64  // bytes of the node
	source source
	gone   reading // what pods had counted that run no longer; no gauges
}

// Pod is what a kubelet knows of a pod that runs. It is never changed.
type Pod struct {
	Namespace, Name, UID string
	Started              time.Time // whole seconds, UTC
	HostNetwork          bool      // then there is no network section
	Volumes              []string
	Containers           []*Container
	source               source
}

// Container is one of a pod's, or of the system's.
type Container struct {
	Name    string
	Image   string
	Started time.Time
	CPU     float64 // millicores on average
	Memory  int64   // bytes, about
	source  source
}

// NewNode returns a node with so many bytes of memory, on which nothing runs.
func NewNode(name string, booted time.Time, memory int64) *Node {
	n := &Node{Name: name}
	n.load.Store(&Workload{Booted: booted.UTC().Truncate(time.Second), Memory: memory, source: seeded(name)})
	return n
}

// Put replaces what runs on n. What pods counted that are gone stays in the node's
// own counters. It is for one goroutine at a time.
func (n *Node) Put(pods []*Pod) {
	before := n.load.Load()
	next := *before
	next.Pods = slices.SortedFunc(slices.Values(pods), func(a, b *Pod) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	stays := map[string]bool{}
	for _, p := range pods {
		stays[p.UID] = true
	}
	for _, p := range before.Pods {
		if !stays[p.UID] {
			last := p.read(clock{now: time.Now(), housekeeping: 1})
			next.gone.add(reading{
				cpu: last.cpu, faults: last.faults, majors: last.majors,
				read: last.read, written: last.written, rx: last.rx, tx: last.tx,
			})
		}
	}
	n.load.Store(&next)
}

// seeded is the source that belongs to a name.
func seeded(name string) source {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return source(h).child(0)
}
