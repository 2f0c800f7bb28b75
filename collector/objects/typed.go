package objects

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// fromPod cuts a pod down. It keeps no part of p.
func fromPod(p *corev1.Pod) *Pod {
	infeasible := p.Status.Resize == corev1.PodResizeStatusInfeasible
	for _, c := range p.Status.Conditions {
		infeasible = infeasible || c.Type == corev1.PodResizePending && c.Status == corev1.ConditionTrue && c.Reason == corev1.PodReasonInfeasible
	}
	pod := &Pod{
		Namespace: intern(p.Namespace), Name: p.Name, UID: string(p.UID),
		Node: intern(p.Spec.NodeName), Phase: string(p.Status.Phase), HostNetwork: p.Spec.HostNetwork,
		Labels: fromLabels(p.Labels), Overhead: fromList(p.Spec.Overhead),
	}
	if wanted := fromResources(p.Spec.Resources); wanted != nil {
		pod.Resources = podLevel(*wanted, fromResources(p.Status.Resources), fromList(p.Status.AllocatedResources), infeasible)
	}
	pod.Containers = make([]Container, 0, len(p.Spec.Containers))
	for i := range p.Spec.Containers {
		pod.Containers = append(pod.Containers, fromContainer(&p.Spec.Containers[i], p.Status.ContainerStatuses, infeasible))
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			sidecar := fromContainer(c, p.Status.InitContainerStatuses, infeasible)
			sidecar.Sidecar = true
			pod.Containers = append(pod.Containers, sidecar)
		}
	}
	return pod
}

func fromContainer(c *corev1.Container, statuses []corev1.ContainerStatus, infeasible bool) Container {
	own := Container{Name: intern(c.Name), Image: intern(c.Image), Resources: *fromResources(&c.Resources)}
	for i := range statuses {
		if s := &statuses[i]; s.Name == c.Name {
			own.Restarts = int64(s.RestartCount)
			own.Resources = inForce(own.Resources, fromResources(s.Resources), fromList(s.AllocatedResources), infeasible)
		}
	}
	return own
}

func fromResources(r *corev1.ResourceRequirements) *Resources {
	if r == nil {
		return nil
	}
	return &Resources{Requests: fromList(r.Requests), Limits: fromList(r.Limits)}
}

func fromList(list corev1.ResourceList) (all []Quantity) {
	for name, q := range list {
		all = append(all, Quantity{intern(string(name)), quantityValue(string(name), q)})
	}
	slices.SortFunc(all, byResource)
	return all
}

func fromLabels(labels map[string]string) (all []metrics.Label) {
	for key, value := range labels {
		all = append(all, metrics.Label{Key: intern(key), Value: intern(value)})
	}
	slices.SortFunc(all, func(a, b metrics.Label) int { return strings.Compare(a.Key, b.Key) })
	return all
}

// fromNode cuts a node down.
func fromNode(n *corev1.Node) *Node {
	node := &Node{
		Name: intern(n.Name), UID: string(n.UID), ProviderID: n.Spec.ProviderID, Unschedulable: n.Spec.Unschedulable,
		Labels: fromLabels(n.Labels), Annotations: fromLabels(n.Annotations),
		KubeletPort: int(n.Status.DaemonEndpoints.KubeletEndpoint.Port),
		Capacity:    fromList(n.Status.Capacity), Allocatable: fromList(n.Status.Allocatable),
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			node.Ready = string(c.Status)
		}
	}
	for _, a := range n.Status.Addresses {
		node.Addresses = append(node.Addresses, Address{Type: string(a.Type), Address: a.Address})
	}
	return node
}

// fromNamespace cuts a namespace down.
func fromNamespace(n *corev1.Namespace) *Namespace {
	return &Namespace{Name: intern(n.Name), UID: string(n.UID)}
}
