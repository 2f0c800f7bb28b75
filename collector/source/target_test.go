package source

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func opened(t *testing.T, flag string, access Access) *Source {
	t.Helper()
	config, err := Parse(flag)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(config, access, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// nodeWith makes a node with addresses given as type and address in turn.
func nodeWith(addresses ...string) *objects.Node {
	n := &objects.Node{Name: "testNode"}
	for i := 0; i < len(addresses); i += 2 {
		n.Addresses = append(n.Addresses, objects.Address{Type: addresses[i], Address: addresses[i+1]})
	}
	return n
}

func TestAddress(t *testing.T) {
	f := func(options, want string, addresses ...string) {
		t.Helper()
		target, err := opened(t, "kubernetes:"+options, Access{}).Target(nodeWith(addresses...))
		if err != nil {
			t.Error(err)
		} else if target.URL != want+"/stats/summary" || target.cadvisor != want+"/metrics/cadvisor" {
			t.Errorf("%v: got %s and %s, want %s", addresses, target.URL, target.cadvisor, want)
		}
	}
	// The specification's.
	f("", "https://127.0.0.1:10250", "Hostname", "testNode", "InternalIP", "127.0.0.1")
	f("", "https://127.0.0.1:10250", "InternalIP", "2001:db8::1", "InternalIP", "127.0.0.1")
	f("", "https://127.0.0.1:10250", "ExternalIP", "127.0.0.1")
	// The order of types does not matter, and the last counts.
	f("", "https://10.0.0.2:10250", "ExternalIP", "1.2.3.4", "InternalIP", "10.0.0.1", "InternalIP", "10.0.0.2", "InternalIP", "2001:db8::1", "InternalIP", "10.0.0.300")
	f("", "https://[2001:db8::1]:10250", "InternalIP", "2001:db8::1")
	// Other preferences.
	f("?kubeletPreferredAddressTypes=ExternalIP,InternalIP", "https://1.2.3.4:10250", "InternalIP", "10.0.0.1", "ExternalIP", "1.2.3.4")
	f("?kubeletPreferredAddressTypes=InternalDNS,Hostname", "https://testNode:10250", "InternalIP", "10.0.0.1", "Hostname", "testNode", "Hostname", "other")
	// Ports.
	f("?kubeletPort=4194", "https://10.0.0.1:4194", "InternalIP", "10.0.0.1")
	f("?kubeletHttps=false", "http://10.0.0.1:10255", "InternalIP", "10.0.0.1")
}

func TestPortOfTheNode(t *testing.T) {
	node := nodeWith("InternalIP", "10.0.0.1")
	node.KubeletPort = 16450
	f := func(flag, want string) {
		t.Helper()
		if target, err := opened(t, flag, Access{}).Target(node); err != nil || target.URL != want {
			t.Errorf("%s: %s, %v, want %s", flag, target.URL, err, want)
		}
	}
	f("kubernetes", "https://10.0.0.1:16450/stats/summary")
	f("kubernetes:?kubeletPort=1", "https://10.0.0.1:1/stats/summary")
	f("kubernetes.summary_api:?kubeletHttps=0", "http://10.0.0.1:16450/stats/summary")
}

func TestNoTarget(t *testing.T) {
	f := func(flag string, node *objects.Node, reason string) {
		t.Helper()
		_, err := opened(t, flag, Access{}).Target(node)
		var why *Error
		if !errors.As(err, &why) || why.Reason() != reason {
			t.Errorf("%s: %v, want an error %q", flag, err, reason)
		}
	}
	f("kubernetes", nodeWith(), NoAddress)
	f("kubernetes", nodeWith("Hostname", "a", "InternalIP", "no IP"), NoAddress)
	for _, ready := range []string{"False", "Unknown"} {
		node := nodeWith("InternalIP", "10.0.0.1")
		node.Ready = ready
		f("kubernetes", node, NotReady)
	}
	ready := nodeWith("InternalIP", "10.0.0.1")
	ready.Ready = "True"
	if _, err := opened(t, "kubernetes", Access{}).Target(ready); err != nil {
		t.Error(err)
	}
}

func TestTargetsOfExporters(t *testing.T) {
	plain, gpu := nodeWith("InternalIP", "10.0.0.1"), nodeWith("InternalIP", "10.0.0.2")
	gpu.Capacity = []objects.Quantity{{Resource: "cpu", Value: 4000}, {Resource: "nvidia.com/gpu", Value: 1}}
	plain.Labels = []metrics.Label{{Key: "gpu", Value: "yes"}}
	f := func(flag string, node *objects.Node, want string) {
		t.Helper()
		target, err := opened(t, flag, Access{}).Target(node)
		if want == "" {
			if !errors.Is(err, ErrNothing) {
				t.Errorf("%s: %v, %v, want nothing", flag, target.URL, err)
			}
		} else if err != nil || target.URL != want || target.cadvisor != "" {
			t.Errorf("%s: %v, %v, want %s", flag, target, err, want)
		}
	}
	f("dcgm", gpu, "http://10.0.0.2:9400/metrics")
	f("dcgm", plain, "")
	f("dcgm:?port=9500", gpu, "http://10.0.0.2:9500/metrics")
	f("dcgm:?nodeSelector=gpu%3Dyes", plain, "http://10.0.0.1:9400/metrics")
	f("dcgm:?nodeSelector=gpu%3Dyes", gpu, "")
	f("dcgm:http://exporter:9400/path", gpu, "http://exporter:9400/metrics")
}
