package lifetime

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

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

// pods is what is particular of pods. One without a node holds nothing yet.
var pods = kind{
	name: "pods", one: "pod",
	set: metricdb.RecordPrefix + "pod", days: metricdb.RecordPrefix + "pod.day", changes: metricdb.RecordPrefix + "pod.change",
	tagName: metricdb.TagPod, tagID: metricdb.TagPodID,
	fields: []field{
		timeField("created", func(l *Life) *time.Time { return &l.Created }),
		timeField("scheduled", func(l *Life) *time.Time { return &l.Scheduled }),
		timeField("started", func(l *Life) *time.Time { return &l.Started }),
		timeField("finished", func(l *Life) *time.Time { return &l.Finished }),
		timeField("deleted", func(l *Life) *time.Time { return &l.Deleted }),
		{"containers", func(l *Life) int64 { return l.Containers }, func(l *Life, n int64) { l.Containers = n }},
	},
	amounts: []amount{
		{"cpu.request", func(a *Amounts) *int64 { return &a.CPU }},
		{"memory.request", func(a *Amounts) *int64 { return &a.Memory }},
		{"storage.request", func(a *Amounts) *int64 { return &a.Storage }},
		{"gpu.request", func(a *Amounts) *int64 { return &a.GPU }},
	},
	settled: func(l *Life) bool { return l.Tags.Get(metricdb.TagNode) != "" },
	decode:  decodePod,
}

// pod is what of a pod its lifetime is made of.
type pod struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		NodeName       string         `json:"nodeName"`
		Containers     []podContainer `json:"containers"`
		InitContainers []podContainer `json:"initContainers"`
		Resources      resources      `json:"resources"`
		Overhead       quantities     `json:"overhead"`
	} `json:"spec"`
	Status struct {
		Phase      string `json:"phase"`
		Resize     string `json:"resize"`
		Conditions []struct {
			Type   string    `json:"type"`
			Status string    `json:"status"`
			Reason string    `json:"reason"`
			Since  time.Time `json:"lastTransitionTime"`
		} `json:"conditions"`
		Resources             resources         `json:"resources"`
		Allocated             quantities        `json:"allocatedResources"`
		ContainerStatuses     []containerStatus `json:"containerStatuses"`
		InitContainerStatuses []containerStatus `json:"initContainerStatuses"`
	} `json:"status"`
}

// decodePod reads a pod's lifetime out of its record; when it was seen stands for what
// its state does not tell.
func decodePod(o *Options, cluster string, r *object.Record, _ bool) (*Life, error) {
	var p pod
	if err := json.Unmarshal(r.Body, &p, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", object.ErrUnreadable, err)
	}
	m := &p.Metadata
	l, err := m.life(r)
	if err != nil {
		return nil, err
	}
	l.Tags = Tags(cluster, m.Namespace, m.Name, m.UID, p.Spec.NodeName, o.join(m.Labels))
	l.Containers = int64(len(p.Spec.Containers))
	p.times(l, l.seen(r))
	l.setAmounts(p.requests())
	return l, nil
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
		if l.Finished = over; over.IsZero() { // evicted before it ran, or the node is lost
			l.Finished = seen
		}
	}
}
