package objects

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unique"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// decode reads the members that v names. The API server's encoder made the text:
// names that stand twice or text that is no UTF-8 need not be looked for.
func decode(body []byte, v any) error {
	return json.Unmarshal(body, v, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// intern returns the one copy of text that all objects share.
func intern(text string) string { return unique.Make(text).Value() }

type jsonMeta struct {
	Name        string     `json:"name"`
	Namespace   string     `json:"namespace"`
	UID         string     `json:"uid"`
	Labels      jsonLabels `json:"labels"`
	Annotations jsonLabels `json:"annotations"`
}

// jsonPodMeta leaves annotations out.
type jsonPodMeta struct {
	Name      string     `json:"name"`
	Namespace string     `json:"namespace"`
	UID       string     `json:"uid"`
	Labels    jsonLabels `json:"labels"`
}

// jsonLabels is an object of strings, by key.
type jsonLabels []metrics.Label

// UnmarshalJSONFrom reads an object of strings, or null.
func (l *jsonLabels) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	var room [16]metrics.Label
	list := room[:0]
	err := members(from, func(key, value string) { list = append(list, metrics.Label{Key: intern(key), Value: intern(value)}) })
	slices.SortFunc(list, func(a, b metrics.Label) int { return strings.Compare(a.Key, b.Key) })
	if len(list) > 0 {
		*l = slices.Clone(list)
	}
	return err
}

// jsonQuantities is an object of quantities, by resource.
type jsonQuantities []Quantity

// UnmarshalJSONFrom reads an object of quantities, or null. What is no quantity is
// left out: no API server has one.
func (l *jsonQuantities) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	var room [8]Quantity
	list := room[:0]
	err := members(from, func(key, value string) {
		if amount, ok := parseQuantity(key, value); ok {
			list = append(list, Quantity{intern(key), amount})
		}
	})
	slices.SortFunc(list, byResource)
	if len(list) > 0 {
		*l = slices.Clone(list)
	}
	return err
}

// members calls each for all members of an object whose values are strings or
// numbers; null has none.
func members(from *jsontext.Decoder, each func(key, value string)) error {
	open, err := from.ReadToken()
	if err != nil || open.Kind() == 'n' {
		return err
	}
	if open.Kind() != '{' {
		return fmt.Errorf("%v where an object should be", open.Kind())
	}
	for from.PeekKind() != '}' {
		key, err := from.ReadToken()
		if err != nil {
			return err
		}
		name := key.String()
		value, err := from.ReadToken()
		switch {
		case err != nil:
			return err
		case value.Kind() == 'n':
		case value.Kind() != '"' && value.Kind() != '0':
			return fmt.Errorf("%v where a string should be", value.Kind())
		default:
			each(name, value.String())
		}
	}
	_, err = from.ReadToken()
	return err
}

type jsonResources struct {
	Requests jsonQuantities `json:"requests"`
	Limits   jsonQuantities `json:"limits"`
}

// resources is r as ours, nil if r is.
func (r *jsonResources) resources() *Resources {
	if r == nil {
		return nil
	}
	return &Resources{Requests: r.Requests, Limits: r.Limits}
}

type jsonContainer struct {
	Name          string        `json:"name"`
	Image         string        `json:"image"`
	RestartPolicy string        `json:"restartPolicy"`
	Resources     jsonResources `json:"resources"`
}

type jsonContainerStatus struct {
	Name         string         `json:"name"`
	RestartCount int64          `json:"restartCount"`
	Resources    *jsonResources `json:"resources"`
	Allocated    jsonQuantities `json:"allocatedResources"`
}

type jsonCondition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

type jsonPod struct {
	Metadata jsonPodMeta `json:"metadata"`
	Spec     struct {
		NodeName       string          `json:"nodeName"`
		HostNetwork    bool            `json:"hostNetwork"`
		Containers     []jsonContainer `json:"containers"`
		InitContainers []jsonContainer `json:"initContainers"`
		Resources      *jsonResources  `json:"resources"`
		Overhead       jsonQuantities  `json:"overhead"`
	} `json:"spec"`
	Status struct {
		Phase                 string                `json:"phase"`
		Resize                string                `json:"resize"`
		Conditions            []jsonCondition       `json:"conditions"`
		ContainerStatuses     []jsonContainerStatus `json:"containerStatuses"`
		InitContainerStatuses []jsonContainerStatus `json:"initContainerStatuses"`
		Resources             *jsonResources        `json:"resources"`
		Allocated             jsonQuantities        `json:"allocatedResources"`
	} `json:"status"`
}

// decodePod reads a pod as the API server writes it. It keeps no part of body.
func decodePod(body []byte) (*Pod, error) {
	var p jsonPod
	if err := decode(body, &p); err != nil {
		return nil, fmt.Errorf("decode pod: %w", err)
	}
	infeasible := p.Status.Resize == "Infeasible"
	for _, c := range p.Status.Conditions {
		infeasible = infeasible || c.Type == "PodResizePending" && c.Status == "True" && c.Reason == "Infeasible"
	}
	pod := &Pod{
		Namespace: intern(p.Metadata.Namespace), Name: p.Metadata.Name, UID: p.Metadata.UID,
		Node: intern(p.Spec.NodeName), Phase: intern(p.Status.Phase), HostNetwork: p.Spec.HostNetwork,
		Labels: p.Metadata.Labels, Overhead: p.Spec.Overhead,
	}
	if wanted := p.Spec.Resources.resources(); wanted != nil {
		pod.Resources = podLevel(*wanted, p.Status.Resources.resources(), p.Status.Allocated, infeasible)
	}
	pod.Containers = make([]Container, 0, len(p.Spec.Containers))
	for _, c := range p.Spec.Containers {
		pod.Containers = append(pod.Containers, c.container(p.Status.ContainerStatuses, infeasible))
	}
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy == "Always" {
			sidecar := c.container(p.Status.InitContainerStatuses, infeasible)
			sidecar.Sidecar = true
			pod.Containers = append(pod.Containers, sidecar)
		}
	}
	return pod, nil
}

func (c *jsonContainer) container(statuses []jsonContainerStatus, infeasible bool) Container {
	own := Container{Name: intern(c.Name), Image: intern(c.Image), Resources: *c.Resources.resources()}
	for i := range statuses {
		if s := &statuses[i]; s.Name == c.Name {
			own.Restarts = s.RestartCount
			own.Resources = inForce(own.Resources, s.Resources.resources(), s.Allocated, infeasible)
		}
	}
	return own
}

type jsonNode struct {
	Metadata jsonMeta `json:"metadata"`
	Spec     struct {
		ProviderID    string `json:"providerID"`
		Unschedulable bool   `json:"unschedulable"`
	} `json:"spec"`
	Status struct {
		Capacity        jsonQuantities  `json:"capacity"`
		Allocatable     jsonQuantities  `json:"allocatable"`
		Conditions      []jsonCondition `json:"conditions"`
		Addresses       []jsonAddress   `json:"addresses"`
		DaemonEndpoints struct {
			KubeletEndpoint struct {
				Port int `json:"Port"` // so it is written
			} `json:"kubeletEndpoint"`
		} `json:"daemonEndpoints"`
	} `json:"status"`
}

type jsonAddress struct {
	Type    string `json:"type"`
	Address string `json:"address"`
}

// decodeNode reads a node as the API server writes it. It keeps no part of body.
func decodeNode(body []byte) (*Node, error) {
	var n jsonNode
	if err := decode(body, &n); err != nil {
		return nil, fmt.Errorf("decode node: %w", err)
	}
	node := &Node{
		Name: intern(n.Metadata.Name), UID: n.Metadata.UID, ProviderID: n.Spec.ProviderID, Unschedulable: n.Spec.Unschedulable,
		Labels: n.Metadata.Labels, Annotations: n.Metadata.Annotations,
		KubeletPort: n.Status.DaemonEndpoints.KubeletEndpoint.Port,
		Capacity:    n.Status.Capacity, Allocatable: n.Status.Allocatable,
	}
	for _, c := range n.Status.Conditions {
		if c.Type == "Ready" {
			node.Ready = cmp.Or(intern(c.Status), node.Ready)
		}
	}
	for _, a := range n.Status.Addresses {
		node.Addresses = append(node.Addresses, Address(a))
	}
	return node, nil
}

// decodeNamespace reads a namespace as the API server writes it.
func decodeNamespace(body []byte) (*Namespace, error) {
	var n struct {
		Metadata struct {
			Name string `json:"name"`
			UID  string `json:"uid"`
		} `json:"metadata"`
	}
	if err := decode(body, &n); err != nil {
		return nil, fmt.Errorf("decode namespace: %w", err)
	}
	return &Namespace{Name: intern(n.Metadata.Name), UID: n.Metadata.UID}, nil
}
