// Package figures compares what KRM says of a node with what the node's kubelet says
// in /metrics/resource and /metrics/cadvisor.
package figures

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Kind is what a figure is of.
type Kind string

// The kinds, by KRM's names in paths.
const (
	Node      Kind = "node"
	System    Kind = "system container"
	Pod       Kind = "pod"
	Container Kind = "container"

	// These the kubelet does not know.
	Namespace Kind = "namespace"
	Cluster   Kind = "cluster"
)

// Key names one series: an entity, and a metric by its name in KRM's model.
type Key struct {
	Kind      Kind
	Namespace string
	Pod       string
	Container string
	Metric    string
	Resource  string // the label resource_id, of disk/…
}

// Entity is the key without its metric.
func (k Key) Entity() Key {
	k.Metric, k.Resource = "", ""
	return k
}

func (k Key) String() string {
	var parts []string
	for _, part := range []string{k.Namespace, k.Pod, k.Container} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	metric := k.Metric
	if k.Resource != "" {
		metric += "{" + k.Resource + "}"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s", k.Kind, strings.Join(parts, "/"))) + " " + metric
}

// Compare orders keys for people.
func (k Key) Compare(other Key) int { return cmp.Compare(k.String(), other.String()) }

// Sample is one value of the kubelet's.
type Sample struct {
	At    time.Time // when the kubelet measured it, by its own account
	Seen  time.Time // when we first saw it
	Value float64
}

// History is what the kubelet said of one series, oldest first: only changes.
type History []Sample

// add appends a sample that was seen now, unless it is the last one again.
func (h History) add(s Sample) History {
	if n := len(h); n > 0 && !s.At.After(h[n-1].At) {
		return h
	}
	return append(h, s)
}

// visible returns the samples that the kubelet may have shown between two times: those
// measured before the second, but for what was surely replaced before the first.
func (h History) visible(from, to time.Time) History {
	first, last := 0, len(h)
	for first+1 < len(h) && !h[first+1].Seen.After(from) {
		first++
	}
	for last > 0 && h[last-1].At.After(to) {
		last--
	}
	if first >= last {
		return nil
	}
	return h[first:last]
}

// Point is one value of KRM's model. Its time is the end of a window.
type Point struct {
	At    time.Time
	Value float64
}

// rates maps each counter to its rate in KRM's model, and to the number by which a
// change of the counter per second must be multiplied.
func rateOf(metric string) (name string, factor float64, ok bool) {
	switch metric {
	case "cpu/usage":
		return "cpu/usage_rate", 1e-6, true // ns per second to millicores
	case "memory/page_faults", "network/rx", "network/tx", "disk/io_read_bytes", "disk/io_write_bytes":
		return metric + "_rate", 1, true
	default:
		return "", 0, false
	}
}

// WithRate returns key, and after it the key of its rate if it is a counter.
func WithRate(key Key) []Key {
	name, _, ok := rateOf(key.Metric)
	if !ok {
		return []Key{key}
	}
	rate := key
	rate.Metric = name
	return []Key{key, rate}
}

// counted says that a metric is a counter.
func counted(metric string) bool {
	_, _, ok := rateOf(metric)
	return ok
}

// least is the smallest rate that is worth comparing: below it whole numbers and
// single packets are all there is.
func least(metric string) float64 {
	switch metric {
	case "cpu/usage_rate":
		return 5
	case "memory/page_faults_rate":
		return 10
	default:
		return 1000
	}
}
