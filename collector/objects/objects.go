// Package objects holds what the collector needs of pods, nodes and namespaces, cut
// down to that, and follows the snapshots they come from.
package objects

import "github.com/kubernetes-resource-monitor/krm/internal/metrics"

// Quantity is an amount of a resource: of "cpu" in millicores, of everything else in
// its own unit, rounded up as Quantity.MilliValue and Quantity.Value do.
type Quantity struct {
	Resource string
	Value    int64
}

// Resources are requests and limits, each by resource name.
type Resources struct {
	Requests, Limits []Quantity
}

// Container is a container of a pod that can run beside the others: of
// spec.containers, or an init container with restartPolicy Always.
type Container struct {
	Name     string
	Image    string // as the spec says it
	Restarts int64  // from the status; 0 if that does not say
	Sidecar  bool   // it stands among the init containers
	// Resources are the spec's, or what the status says is in force after a resize in
	// place.
	Resources Resources
}

// Pod is what is known of a pod. It is never changed.
type Pod struct {
	Namespace, Name, UID string
	Node                 string // "" while it is not scheduled
	Phase                string
	HostNetwork          bool
	Labels               []metrics.Label // by key
	Containers           []Container     // in the spec's order, sidecars last
	// Resources are the pod's own (spec.resources), or what the status says is in force;
	// empty if it has none. Overhead is the runtime class's.
	Resources Resources
	Overhead  []Quantity
}

// Address is one of a node's addresses.
type Address struct{ Type, Address string }

// Node is what is known of a node. It is never changed.
type Node struct {
	Name, UID             string
	ProviderID            string
	Unschedulable         bool
	Ready                 string // the status of condition Ready: "True", "False", "Unknown"; "" if there is none
	Labels                []metrics.Label
	Annotations           []metrics.Label
	Addresses             []Address
	KubeletPort           int // status.daemonEndpoints.kubeletEndpoint.Port; 0 if it does not say
	Capacity, Allocatable []Quantity
}

// Namespace is what is known of a namespace. It is never changed.
type Namespace struct {
	Name, UID string
}
