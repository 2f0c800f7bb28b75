package lifetime

import (
	"slices"
	"strings"
)

// requests are what the scheduler counts: the containers and sidecars together or
// the pod's own request (KEP-2837), whichever is more, and the runtime class's overhead (KEP-688) on
// top; of what is resized in place (KEP-1287), the most of what is wanted and what is in force, and
// only the latter if the node cannot ever give what is wanted.
func (p *pod) requests() Amounts {
	infeasible := p.infeasible()
	inForce := func(wanted, actual, allocated quantities) map[string]int64 {
		most := amounts(wanted)
		if infeasible && (actual != nil || allocated != nil) {
			clear(most)
		}
		raise(most, amounts(actual))
		raise(most, amounts(allocated))
		return most
	}
	total := map[string]int64{}
	for _, c := range slices.Concat(p.Spec.Containers, p.sidecars()) {
		var s containerStatus
		for _, one := range slices.Concat(p.Status.ContainerStatuses, p.Status.InitContainerStatuses) {
			if one.Name == c.Name {
				s = one
			}
		}
		for name, v := range inForce(c.Resources.Requests, s.Resources.Requests, s.Allocated) {
			total[name] += v
		}
	}
	own := inForce(p.Spec.Resources.Requests, p.Status.Resources.Requests, p.Status.Allocated)
	for name := range p.Spec.Resources.Requests { // the status tells the containers' sums, too
		total[name] = max(total[name], own[name])
	}
	for name, v := range amounts(p.Spec.Overhead) {
		total[name] += v
	}
	all := Amounts{CPU: total["cpu"], Memory: total["memory"], Storage: total["ephemeral-storage"]}
	for name, v := range total {
		if strings.HasSuffix(name, "/gpu") {
			all.GPU += v
		}
	}
	return all
}

// infeasible says that a resize that is wanted will never be.
func (p *pod) infeasible() bool {
	for _, c := range p.Status.Conditions {
		if c.Type == "PodResizePending" && c.Status == "True" && c.Reason == "Infeasible" {
			return true
		}
	}
	return p.Status.Resize == "Infeasible" // until Kubernetes 1.32
}

func (p *pod) sidecars() (some []podContainer) {
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy == "Always" {
			some = append(some, c)
		}
	}
	return some
}
