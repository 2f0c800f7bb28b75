package model

import (
	"slices"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// exported says whether the export has a metric: what is measured, and the two limits.
// What is computed of others the reader can compute.
func exported(d *metrics.Descriptor) bool {
	switch d.ID {
	case metrics.Uptime, metrics.CPUUsage, metrics.CPULimit, metrics.MemoryLimit, metrics.EphemeralStorageUsage,
		metrics.MemoryUsage, metrics.MemoryWorkingSet, metrics.MemoryRSS, metrics.MemoryCache,
		metrics.MemoryPageFaults, metrics.MemoryMajorPageFaults,
		metrics.NetworkRx, metrics.NetworkRxErrors, metrics.NetworkTx, metrics.NetworkTxErrors:
		return true
	}
	return d.Labelled
}

// labelSchema describes a label.
type labelSchema struct {
	Key         string `json:"key"`
	Description string `json:"description"`
}

type metricSchema struct {
	Name        string        `json:"name"`
	Description string        `json:"description"`
	Labels      []labelSchema `json:"labels,omitempty"`
	Type        string        `json:"type"`
	ValueType   string        `json:"value_type"`
	Units       string        `json:"units,omitempty"`
}

type schemaAnswer struct {
	Metrics      []metricSchema `json:"metrics"`
	CommonLabels []labelSchema  `json:"common_labels"`
	PodLabels    []labelSchema  `json:"pod_labels"`
}

// schema answers with what the export consists of.
func (a *API) schema(q request) error {
	if err := checkForm(q.Request); err != nil {
		return err
	}
	if err := a.authorize(q, kubeapi.Access{Path: q.path}); err != nil {
		return err
	}
	a.send(q, prettyValue(exportSchema()))
	return nil
}

func exportSchema() schemaAnswer {
	answer := schemaAnswer{
		CommonLabels: []labelSchema{
			{"nodename", "The name of the node"},
			{"hostname", "The node's address of type Hostname, or its name"},
			{"host_id", "What the infrastructure calls the node"},
			{"container_name", "The name of the container; machine for a node, /pod for a pod"},
			{"container_base_image", "The image of the container, as the pod's spec has it"},
		},
		PodLabels: []labelSchema{
			{"pod_name", "The name of the pod"},
			{"pod_id", "The UID of the pod"},
			{"namespace_id", "The UID of the pod's namespace"},
			{"labels", "The labels of the pod or node, joined"},
		},
	}
	for id := range metrics.NumIDs {
		d := metrics.Describe(id)
		if !exported(d) {
			continue
		}
		m := metricSchema{Name: d.Name, Description: d.Description, Type: d.Type.String(), ValueType: "int64", Units: units(d.Unit)}
		if d.Float {
			m.ValueType = "double"
		}
		if d.Labelled {
			m.Labels = labelsOf(id)
		}
		answer.Metrics = append(answer.Metrics, m)
	}
	return answer
}

// units are the words that the schema has for units; everything else is a count.
func units(unit string) string {
	if slices.Contains([]string{"bytes", "ms", "ns", "millicores"}, unit) {
		return unit
	}
	return ""
}

// labelsOf are the labels of a labelled metric.
func labelsOf(id metrics.ID) []labelSchema {
	family, _ := metrics.Family(id)
	switch family {
	case metrics.Filesystem:
		return []labelSchema{{"resource_id", "/, logs, or Volume:NAME"}}
	case metrics.Disk:
		return []labelSchema{{"resource_id", "The device"}}
	case metrics.Accelerator:
		return []labelSchema{{"accelerator_id", "The accelerator's ID"}, {"make", "Who makes it"}, {"model", "What it is called"}}
	default:
		return []labelSchema{{"gpu_index", "The GPU's number on the node"}, {"gpu_name", "What it is called"}, {"gpu_uuid", "The GPU's ID"}}
	}
}
