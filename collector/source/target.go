package source

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The ports of kubelets.
const (
	kubeletPort   = 10250
	readOnlyPort  = 10255 // over plain HTTP, and closed on all but old clusters
	nvidiaVendor  = "nvidia.com/"
	summaryPath   = "/stats/summary"
	cadvisorPath  = "/metrics/cadvisor"
	exporterPath  = "/metrics"
	defaultScheme = "https"
)

// Target is where a node is asked.
type Target struct {
	Node *objects.Node
	URL  string // https://10.0.0.1:10250/stats/summary

	cadvisor string // "" if it is not asked
}

// Target says where node is asked. It returns ErrNothing if this source has nothing
// of such a node, which is no failure, and else an *Error whose reason is "not ready"
// or "no address".
func (s *Source) Target(node *objects.Node) (Target, error) {
	if s.config.Prefix == DCGM && !s.hasExporter(node) {
		return Target{}, ErrNothing
	}
	if node.Ready != "" && node.Ready != "True" {
		return Target{}, &Error{NotReady, fmt.Errorf("node %s is not ready: its condition Ready is %s, and it is not asked until that is True", node.Name, node.Ready)}
	}
	if s.config.Prefix == DCGM && s.config.Server != "" {
		return Target{Node: node, URL: s.config.Server + exporterPath}, nil
	}
	host, err := address(node, s.config.AddressTypes)
	if err != nil {
		return Target{}, &Error{NoAddress, err}
	}
	if s.config.Prefix == DCGM {
		return Target{Node: node, URL: "http://" + net.JoinHostPort(host, strconv.Itoa(s.config.Port)) + exporterPath}, nil
	}
	base := s.kubelet(node, host)
	t := Target{Node: node, URL: base + summaryPath}
	if s.config.Cadvisor {
		t.cadvisor = base + cadvisorPath
	}
	return t, nil
}

// kubelet returns scheme, host and port of the node's kubelet.
func (s *Source) kubelet(node *objects.Node, host string) string {
	scheme, port := defaultScheme, kubeletPort
	if !s.config.KubeletHTTPS {
		scheme, port = "http", readOnlyPort
	}
	if node.KubeletPort != 0 {
		port = node.KubeletPort
	}
	if s.config.KubeletPort != 0 {
		port = s.config.KubeletPort
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// address returns where a node is reached. By default that is its InternalIP, and an
// ExternalIP only if there is none: of several the last of IPv4, else the last. If
// types are given, they are taken in their order, and names as they are.
func address(node *objects.Node, types []string) (string, error) {
	wanted := types
	if len(wanted) == 0 {
		wanted = []string{"InternalIP", "ExternalIP"}
	}
	for _, kind := range wanted {
		best := ""
		for _, a := range node.Addresses {
			if a.Type == kind && better(a, best) {
				best = a.Address
			}
		}
		if best != "" {
			return best, nil
		}
	}
	return "", fmt.Errorf("node %s has no address of type %s: choose others by the option kubeletPreferredAddressTypes; it has %s",
		node.Name, strings.Join(wanted, ", "), describe(node.Addresses))
}

func better(a objects.Address, than string) bool {
	if !strings.HasSuffix(a.Type, "IP") {
		return than == "" && a.Address != ""
	}
	ip := net.ParseIP(a.Address)
	if ip == nil {
		return false
	}
	return ip.To4() != nil || than == "" || net.ParseIP(than).To4() == nil
}

func describe(addresses []objects.Address) string {
	if len(addresses) == 0 {
		return "none at all"
	}
	var all []string
	for _, a := range addresses {
		all = append(all, a.Type+" "+a.Address)
	}
	return strings.Join(all, ", ")
}

// hasExporter says whether a DCGM exporter is to be expected on a node.
func (s *Source) hasExporter(node *objects.Node) bool {
	if s.selector != nil {
		return s.selector.Matches(nodeLabels(node.Labels))
	}
	return slices.ContainsFunc(node.Capacity, func(q objects.Quantity) bool {
		return strings.HasPrefix(q.Resource, nvidiaVendor) && q.Value > 0
	})
}

// nodeLabels are a node's labels, as selectors want them.
type nodeLabels []metrics.Label

// Lookup returns the label's value.
func (l nodeLabels) Lookup(key string) (value string, exists bool) {
	i := slices.IndexFunc(l, func(one metrics.Label) bool { return one.Key == key })
	if i < 0 {
		return "", false
	}
	return l[i].Value, true
}

// Has says whether there is such a label.
func (l nodeLabels) Has(key string) bool {
	_, ok := l.Lookup(key)
	return ok
}

// Get returns the label's value, "" if there is none.
func (l nodeLabels) Get(key string) string {
	value, _ := l.Lookup(key)
	return value
}

// hostsOf are the names by which a DCGM exporter may call a node.
func hostsOf(node *objects.Node) []string {
	hosts := []string{node.Name}
	for _, a := range node.Addresses {
		hosts = append(hosts, a.Address)
	}
	return hosts
}

// selectorOf reads the option nodeSelector; nil if it was not given.
func selectorOf(text string) (labels.Selector, error) {
	if text == "" {
		return nil, nil
	}
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, errors.Join(errors.New("write nodeSelector as a label selector, such as gpu=yes"), err)
	}
	return selector, nil
}
