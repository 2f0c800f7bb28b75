package lifetime

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// quantities are amounts by resource name.
type quantities map[string]string

type resources struct {
	Requests quantities `json:"requests"`
}

type podContainer struct {
	RestartPolicy string    `json:"restartPolicy"`
	Name          string    `json:"name"`
	Resources     resources `json:"resources"`
}

type ran struct {
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt"`
}

type containerState struct {
	Running    ran `json:"running"`
	Terminated ran `json:"terminated"`
}

type containerStatus struct {
	Name      string         `json:"name"`
	State     containerState `json:"state"`
	LastState containerState `json:"lastState"`
	Resources resources      `json:"resources"`
	Allocated quantities     `json:"allocatedResources"`
}

// pod is what of a pod its lifetime is made of.
type pod struct {
	Metadata struct {
		Name      string            `json:"name"`
		Namespace string            `json:"namespace"`
		UID       string            `json:"uid"`
		Created   time.Time         `json:"creationTimestamp"`
		Labels    map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		NodeName       string         `json:"nodeName"`
		Containers     []podContainer `json:"containers"`
		InitContainers []podContainer `json:"initContainers"`
		Resources      resources      `json:"resources"`
		Overhead       quantities     `json:"overhead"`
	} `json:"spec"`
	Status struct {
		Phase      string `json:"phase"`
		Conditions []struct {
			Type   string    `json:"type"`
			Status string    `json:"status"`
			Since  time.Time `json:"lastTransitionTime"`
		} `json:"conditions"`
		ContainerStatuses     []containerStatus `json:"containerStatuses"`
		InitContainerStatuses []containerStatus `json:"initContainerStatuses"`
	} `json:"status"`
}

// decode reads a pod's lifetime out of its record; SeenAt stands for what its last state does not tell.
func (o *Options) decode(cluster string, r *object.Record) (*Life, error) {
	var p pod
	if err := json.Unmarshal(r.Body, &p, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", object.ErrUnreadable, err)
	}
	if p.Metadata.UID == "" || p.Metadata.Created.IsZero() {
		return nil, fmt.Errorf("%w: a pod without uid or creationTimestamp", object.ErrUnreadable)
	}
	m := &p.Metadata
	l := &Life{
		Tags:    Tags(cluster, m.Namespace, m.Name, m.UID, p.Spec.NodeName, o.join(m.Labels)),
		Created: m.Created.UTC(), Containers: int64(len(p.Spec.Containers)),
	}
	p.times(l, r.SeenAt)
	l.CPU, l.Memory, l.Storage, l.GPU = p.requests()
	if r.Deleted {
		l.Deleted = r.SeenAt.UTC().Truncate(time.Millisecond)
	}
	return l, nil
}

// join is the tag labels, as the collector makes it.
func (o *Options) join(labels map[string]string) string {
	all := make([]string, 0, len(labels))
	for key, value := range labels {
		if !slices.Contains(o.Ignore, key) {
			all = append(all, key+":"+value)
		}
	}
	slices.Sort(all)
	return strings.Join(all, o.Separator)
}

func (p *pod) times(l *Life, seen time.Time) {
	for _, c := range p.Status.Conditions {
		if c.Type == "PodScheduled" && c.Status == "True" {
			l.Scheduled = c.Since.UTC()
		}
	}
	if p.Spec.NodeName != "" && l.Scheduled.IsZero() { // static pods, and whoever sets the node by himself
		l.Scheduled = l.Created
	}
	over := time.Time{}
	for i := range p.Status.ContainerStatuses {
		c := &p.Status.ContainerStatuses[i]
		for _, at := range []time.Time{c.State.Running.StartedAt, c.State.Terminated.StartedAt, c.LastState.Terminated.StartedAt} {
			if !at.IsZero() && (l.Started.IsZero() || at.Before(l.Started)) {
				l.Started = at.UTC()
			}
		}
		if at := c.State.Terminated.FinishedAt; at.After(over) {
			over = at.UTC()
		}
	}
	if p.Status.Phase == "Succeeded" || p.Status.Phase == "Failed" {
		if l.Finished = over; over.IsZero() {
			l.Finished = seen.UTC().Truncate(time.Millisecond)
		}
	}
}

// requests are what the scheduler counts: the containers and sidecars together or
// the pod's own request (KEP-2837), whichever is more, and the runtime class's overhead (KEP-688) on
// top; of a container that is resized in place (KEP-1287), the most of what is wanted
// and what is in force.
func (p *pod) requests() (cpu, memory, storage, gpu int64) {
	total := map[string]int64{}
	for _, c := range slices.Concat(p.Spec.Containers, p.sidecars()) {
		most := amounts(c.Resources.Requests)
		for _, s := range slices.Concat(p.Status.ContainerStatuses, p.Status.InitContainerStatuses) {
			if s.Name == c.Name {
				raise(most, amounts(s.Resources.Requests))
				raise(most, amounts(s.Allocated))
			}
		}
		for name, v := range most {
			total[name] += v
		}
	}
	raise(total, amounts(p.Spec.Resources.Requests))
	for name, v := range amounts(p.Spec.Overhead) {
		total[name] += v
	}
	for name, v := range total {
		if strings.HasSuffix(name, "/gpu") {
			gpu += v
		}
	}
	return total["cpu"], total["memory"], total["ephemeral-storage"], gpu
}

func (p *pod) sidecars() (some []podContainer) {
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy == "Always" {
			some = append(some, c)
		}
	}
	return some
}

func raise(to, from map[string]int64) {
	for name, v := range from {
		to[name] = max(to[name], v)
	}
}

// amounts are quantities in millicores of cpu, in their own unit of all else.
func amounts(q quantities) map[string]int64 {
	all := make(map[string]int64, len(q))
	for name, text := range q {
		amount, err := resource.ParseQuantity(text)
		switch {
		case err != nil: // no API server has one
		case name == "cpu":
			all[name] = amount.MilliValue()
		default:
			all[name] = amount.Value()
		}
	}
	return all
}
