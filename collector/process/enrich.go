package process

import (
	"cmp"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Reported notes that a node's kubelet reported a pod, under uid. Call it for each
// pod when samples are put into a batch: of pods that the API does not know (yet,
// or any more) nothing else is known, and requests are summed by node.
func Reported(b *metrics.Batch, pod metrics.Row, node, uid string) {
	e := &b.Tables[metrics.Pod].Entities[pod]
	if e.Meta == nil || e.Meta.Node != node {
		e.Meta = &metrics.Meta{UID: uid, Node: node}
	}
}

// Enrich tells the batch's nodes, namespaces, pods and containers what the API knows
// of them: UIDs, host names, labels, images, requests, limits and restarts. Containers
// of a pod that the kubelet said nothing of are added, with no more than that, so
// that they count in sums; pods that no kubelet reports are not.
//
// What the API does not know keeps what earlier batches knew of it, and has no requests.
func Enrich(b *metrics.Batch, look *objects.View, options LabelOptions) {
	e := enricher{batch: b, look: look, options: options, podColumns: newPodColumns(b)}
	for row := range b.Tables[metrics.Namespace].Rows {
		e.namespace(row)
	}
	for row := range b.Tables[metrics.Node].Rows {
		e.node(row)
	}
	// Containers are added on the way, but no pods.
	for row := range b.Tables[metrics.Pod].Rows {
		e.pod(row)
	}
	e.inherit()
}

type enricher struct {
	batch   *metrics.Batch
	look    *objects.View
	options LabelOptions
	*podColumns
}

func (e *enricher) namespace(row metrics.Row) {
	entity := &e.batch.Tables[metrics.Namespace].Entities[row]
	if n := e.look.Namespace(entity.Name); n != nil {
		entity.Meta = e.options.describe(entity.Meta, metrics.Meta{UID: n.UID, NamespaceID: n.UID})
	}
}

func (e *enricher) node(row metrics.Row) {
	entity := &e.batch.Tables[metrics.Node].Entities[row]
	if n := e.look.Node(entity.Name); n != nil {
		entity.Meta = e.options.describe(entity.Meta, metrics.Meta{
			UID: n.UID, Node: n.Name, Hostname: hostname(n), HostID: e.options.hostID(n), Labels: n.Labels,
		})
	}
}

// hostname is the node's address of that type, else its name.
func hostname(n *objects.Node) string {
	for _, address := range n.Addresses {
		if address.Type == "Hostname" && address.Address != "" {
			return address.Address
		}
	}
	return n.Name
}

func (o LabelOptions) hostID(n *objects.Node) string {
	if o.HostIDAnnotation == "" {
		return n.ProviderID
	}
	for _, annotation := range n.Annotations {
		if annotation.Key == o.HostIDAnnotation {
			return annotation.Value
		}
	}
	return ""
}

func (e *enricher) pod(row metrics.Row) {
	entity := &e.batch.Tables[metrics.Pod].Entities[row]
	namespace := &e.batch.Tables[metrics.Namespace].Entities[entity.Parent.Row]
	var fresh metrics.Meta
	if known := entity.Meta; known != nil {
		fresh.UID, fresh.Node, fresh.Labels = known.UID, known.Node, known.Labels
	}
	pod := e.look.Pod(namespace.Name, entity.Name)
	if pod != nil && pod.Node != "" && fresh.Node != "" && pod.Node != fresh.Node {
		// A name that is used again: the API knows the new pod, on another node, and
		// what was measured is the old one's.
		pod = nil
	}
	if pod != nil {
		fresh.UID, fresh.Node, fresh.Labels = pod.UID, cmp.Or(pod.Node, fresh.Node), pod.Labels
	}
	if namespace.Meta != nil {
		fresh.NamespaceID = namespace.Meta.NamespaceID
	}
	if node := e.metaOfNode(fresh.Node); node != nil {
		fresh.Hostname, fresh.HostID = node.Hostname, node.HostID
	}
	entity.Meta = e.options.describe(entity.Meta, fresh)
	if pod != nil {
		e.resources(row, pod)
		if pod.HostNetwork {
			e.leaveNetwork(row)
		}
	}
}

// leaveNetwork takes a pod's network metrics away: the network of a pod with
// hostNetwork is the node's, and kubelets give each such pod all that the node sent.
func (e *enricher) leaveNetwork(row metrics.Row) {
	t := e.batch.Tables[metrics.Pod]
	for id := metrics.NetworkRx; id <= metrics.NetworkTxErrorsRate; id++ {
		t.Column(id).Clear(row)
	}
	t.Column(metrics.NetworkTime).Clear(row)
}

func (e *enricher) metaOfNode(name string) *metrics.Meta {
	row, ok := e.batch.Find(metrics.Node, metrics.Ref{}, name)
	if !ok {
		return nil
	}
	return e.batch.Tables[metrics.Node].Entities[row].Meta
}

// resources sets requests, limits and restarts of a pod and its containers. A pod
// that has finished holds nothing any more.
func (e *enricher) resources(row metrics.Row, pod *objects.Pod) {
	finished := pod.Phase == "Succeeded" || pod.Phase == "Failed"
	for i := range pod.Containers {
		c := &pod.Containers[i]
		parent := metrics.Ref{Kind: metrics.Pod, Row: row}
		at, ok := e.batch.Find(metrics.Container, parent, c.Name)
		if !ok {
			if finished {
				continue
			}
			at = e.batch.Row(metrics.Container, parent, c.Name)
		}
		e.batch.Tables[metrics.Container].Entities[at].Image = c.Image
		e.restarts.Set(at, c.Restarts)
		if finished {
			e.containers.set(at, objects.Resources{})
		} else {
			e.containers.set(at, c.Resources)
		}
	}
	if finished {
		e.pods.set(row, objects.Resources{})
	} else {
		e.setPod(row, pod)
	}
}

// inherit gives containers their pod's metadata.
func (e *enricher) inherit() {
	pods, containers := e.batch.Tables[metrics.Pod], e.batch.Tables[metrics.Container]
	for row := range containers.Rows {
		entity := &containers.Entities[row]
		entity.Meta = pods.Entities[entity.Parent.Row].Meta
	}
}
