package model

import (
	"strings"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// what is asked for of the model.
type what int

const (
	askMetrics what = iota // names of the metrics of an entity
	askSeries
	askPodSeries // of several pods of a namespace
	askNodes
	askNamespaces
	askPods
	askContainers
	askSystemContainers
	askKeys
)

// question is what a path of the model names.
type question struct {
	what   what
	key    metrics.Key
	metric string   // of askSeries and askPodSeries: what follows "metrics", which may have slashes
	pods   []string // of askPodSeries
}

// parsePath reads a path below the model's root; ok is false if nothing is there.
func parsePath(path string) (q question, ok bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch parts[0] {
	case "metrics":
		return metricsOf(metrics.Key{Kind: metrics.Cluster}, parts)
	case "nodes":
		return parseNode(parts)
	case "namespaces":
		return parseNamespace(parts)
	case "debug":
		return question{what: askKeys}, len(parts) == 2 && parts[1] == "allkeys"
	}
	return q, false
}

// metricsOf reads metrics[/METRIC].
func metricsOf(key metrics.Key, parts []string) (question, bool) {
	switch {
	case len(parts) == 0 || parts[0] != "metrics":
		return question{}, false
	case len(parts) == 1:
		return question{what: askMetrics, key: key}, true
	}
	return question{what: askSeries, key: key, metric: metrics.Canonical(strings.Join(parts[1:], "/"))}, true
}

// named reads PLURAL[/NAME/…] : the name, and what follows it.
func named(parts []string) (name string, rest []string, ok bool) {
	if len(parts) < 3 || parts[1] == "" {
		return "", nil, false
	}
	return parts[1], parts[2:], true
}

func parseNode(parts []string) (question, bool) {
	if len(parts) == 1 {
		return question{what: askNodes}, true
	}
	name, rest, ok := named(parts)
	if !ok {
		return question{}, false
	}
	key := metrics.Key{Kind: metrics.Node, Node: name}
	if rest[0] != "freecontainers" {
		return metricsOf(key, rest)
	}
	if len(rest) == 1 {
		return question{what: askSystemContainers, key: key}, true
	}
	container, rest, ok := named(rest)
	if !ok {
		return question{}, false
	}
	return metricsOf(metrics.Key{Kind: metrics.SystemContainer, Node: name, Container: container}, rest)
}

func parseNamespace(parts []string) (question, bool) {
	if len(parts) == 1 {
		return question{what: askNamespaces}, true
	}
	name, rest, ok := named(parts)
	if !ok {
		return question{}, false
	}
	key := metrics.Key{Kind: metrics.Namespace, Namespace: name}
	switch rest[0] {
	case "pods":
		return parsePod(key, rest)
	case "pod-list":
		names, rest, ok := named(rest)
		if !ok {
			return question{}, false
		}
		q, ok := metricsOf(key, rest)
		if q.what != askSeries {
			return question{}, false
		}
		q.what, q.pods = askPodSeries, strings.Split(names, ",")
		return q, ok
	}
	return metricsOf(key, rest)
}

func parsePod(key metrics.Key, parts []string) (question, bool) {
	if len(parts) == 1 {
		return question{what: askPods, key: key}, true
	}
	name, rest, ok := named(parts)
	if !ok {
		return question{}, false
	}
	key.Kind, key.Pod = metrics.Pod, name
	if rest[0] != "containers" {
		return metricsOf(key, rest)
	}
	if len(rest) == 1 {
		return question{what: askContainers, key: key}, true
	}
	container, rest, ok := named(rest)
	if !ok {
		return question{}, false
	}
	key.Kind, key.Container = metrics.Container, container
	return metricsOf(key, rest)
}

// access is the right that the question takes, as if it were asked of the resource
// metrics API: namespaces' sums are known to those who may list their pods' metrics. What
// is of the whole cluster takes a right to the path.
func (q question) access(path string) kubeapi.Access {
	switch q.what {
	case askNodes:
		return kubeapi.Access{Verb: "list", Resource: nodesResource("v1beta1")}
	case askNamespaces:
		return kubeapi.Access{Verb: "list", Resource: podsResource("v1beta1")}
	case askKeys:
		return kubeapi.Access{Verb: "get", Path: path}
	}
	switch q.key.Kind {
	case metrics.Node, metrics.SystemContainer:
		return kubeapi.Access{Verb: "get", Resource: nodesResource("v1beta1"), Name: q.key.Node}
	case metrics.Namespace:
		return kubeapi.Access{Verb: "list", Resource: podsResource("v1beta1"), Namespace: q.key.Namespace}
	case metrics.Pod, metrics.Container:
		return kubeapi.Access{Verb: "get", Resource: podsResource("v1beta1"), Namespace: q.key.Namespace, Name: q.key.Pod}
	}
	return kubeapi.Access{Verb: "get", Path: path}
}
