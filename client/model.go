package client

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const modelPath = "/api/v1/model"

// Model reads the metrics of a cluster, of about the last fifteen minutes: by itself
// those of the whole cluster, and further down those of nodes, namespaces, pods and
// containers. What does not exist, or not yet, has empty lists and series, and is no
// error.
type Model struct {
	ModelScope
	prefix string // of paths: "" for the cluster that KRM is for
}

// Model reads the metrics of the cluster that KRM is for.
func (c *Client) Model() Model { return Model{ModelScope{client: c, path: modelPath}, ""} }

// Of reads the metrics of another cluster, by the cluster_name of its collector's
// sources. [Model.Clusters] tells which there are; others are IsNotFound.
func (m Model) Of(cluster string) Model {
	prefix := "/clusters/" + url.PathEscape(cluster)
	return Model{ModelScope{client: m.client, path: prefix + modelPath, err: checkName("cluster", cluster)}, prefix}
}

// Clusters returns the names of the clusters of which there are metrics, sorted.
func (m Model) Clusters(ctx context.Context) ([]string, error) {
	names, _, err := ModelScope{client: m.client}.list(ctx, "/clusters")
	return names, err
}

// Nodes returns the names of the nodes in the newest batch, sorted.
func (m Model) Nodes(ctx context.Context) ([]string, MetricsFreshness, error) {
	return m.list(ctx, "/nodes")
}

// Namespaces returns the names of the namespaces that have pods in the newest batch,
// sorted.
func (m Model) Namespaces(ctx context.Context) ([]string, MetricsFreshness, error) {
	return m.list(ctx, "/namespaces")
}

// Keys returns the names of all that is in the newest batch, such as
// "namespace:default/pod:web-0/container:app", sorted.
func (m Model) Keys(ctx context.Context) ([]string, MetricsFreshness, error) {
	return m.list(ctx, "/debug/allkeys")
}

// Node reads the metrics of a node, by its name or hostname.
func (m Model) Node(name string) ModelNode { return ModelNode{m.below("nodes", "node", name)} }

// Namespace reads the sums over the pods of a namespace, and what is in it.
func (m Model) Namespace(name string) ModelNamespace {
	return ModelNamespace{m.below("namespaces", "namespace", name)}
}

// ModelNode reads the metrics of a node.
type ModelNode struct{ ModelScope }

// SystemContainers returns the names of the node's daemons that are measured, sorted.
func (n ModelNode) SystemContainers(ctx context.Context) ([]string, MetricsFreshness, error) {
	return n.list(ctx, "/freecontainers")
}

// SystemContainer reads the metrics of one of the node's daemons, such as kubelet.
func (n ModelNode) SystemContainer(name string) ModelScope {
	return n.below("freecontainers", "container", name)
}

// ModelNamespace reads the metrics of a namespace.
type ModelNamespace struct{ ModelScope }

// Pods returns the names of the namespace's pods in the newest batch, sorted.
func (n ModelNamespace) Pods(ctx context.Context) ([]string, MetricsFreshness, error) {
	return n.list(ctx, "/pods")
}

// Pod reads the metrics of a pod, and of its containers.
func (n ModelNamespace) Pod(name string) ModelPod { return ModelPod{n.below("pods", "pod", name)} }

// PodList returns a metric of several pods at once, in the order of the names.
func (n ModelNamespace) PodList(ctx context.Context, pods []string, metric string, start, end time.Time, labels ...MetricLabel) ([]Series, MetricsFreshness, error) {
	for _, pod := range pods {
		if err := checkName("pod", pod); err != nil {
			return nil, MetricsFreshness{}, err
		}
	}
	if len(pods) == 0 {
		return []Series{}, MetricsFreshness{}, nil
	}
	var answer struct {
		Items []Series `json:"items"`
	}
	query, err := spanQuery(start, end, labels)
	if err != nil {
		return nil, MetricsFreshness{}, err
	}
	fresh, err := n.ask(ctx, "/pod-list/"+url.PathEscape(strings.Join(pods, ",")), metric, query, &answer)
	if err == nil && len(answer.Items) != len(pods) {
		err = fmt.Errorf("metric %s of %d pods: the answer has %d series", metric, len(pods), len(answer.Items))
	}
	return answer.Items, fresh, err
}

// ModelPod reads the metrics of a pod.
type ModelPod struct{ ModelScope }

// Containers returns the names of the pod's containers in the newest batch, sorted.
func (p ModelPod) Containers(ctx context.Context) ([]string, MetricsFreshness, error) {
	return p.list(ctx, "/containers")
}

// Container reads the metrics of one of the pod's containers.
func (p ModelPod) Container(name string) ModelScope { return p.below("containers", "container", name) }

// ModelScope reads the metrics of something: a cluster, a node, a namespace, a pod, a
// container.
type ModelScope struct {
	client *Client
	path   string // escaped
	err    error  // what is wrong with a name on the way here
}

func (s ModelScope) below(plural, what, name string) ModelScope {
	child := ModelScope{client: s.client, path: s.path + "/" + plural + "/" + url.PathEscape(name), err: s.err}
	if child.err == nil {
		child.err = checkName(what, name)
	}
	return child
}

// Metrics returns the names of the metrics that there are of it, sorted.
func (s ModelScope) Metrics(ctx context.Context) ([]string, MetricsFreshness, error) {
	return s.list(ctx, "/metrics")
}

// Metric returns the values of a metric, such as "cpu/usage_rate", from start to end,
// both included; the zero time is no bound. Metrics that have labels of their own, such
// as "filesystem/usage", take the labels: all of them.
func (s ModelScope) Metric(ctx context.Context, metric string, start, end time.Time, labels ...MetricLabel) (*Series, MetricsFreshness, error) {
	query, err := spanQuery(start, end, labels)
	if err != nil {
		return nil, MetricsFreshness{}, err
	}
	series := new(Series)
	fresh, err := s.ask(ctx, "", metric, query, series)
	if err != nil {
		return nil, fresh, err
	}
	return series, fresh, nil
}

// LabelSets returns the labels with which there are values of a metric that has
// labels of its own; none of another.
func (s ModelScope) LabelSets(ctx context.Context, metric string) ([][]MetricLabel, MetricsFreshness, error) {
	var texts []string
	fresh, err := s.ask(ctx, "", metric, url.Values{"list": {"labels"}}, &texts)
	sets := make([][]MetricLabel, 0, len(texts))
	for _, text := range texts {
		var set []MetricLabel
		for pair := range strings.SplitSeq(text, ",") {
			key, value, _ := strings.Cut(pair, ":")
			set = append(set, MetricLabel{key, value})
		}
		sets = append(sets, set)
	}
	return sets, fresh, err
}

// list asks for names.
func (s ModelScope) list(ctx context.Context, path string) (names []string, fresh MetricsFreshness, err error) {
	fresh, err = s.get(ctx, s.path+path, nil, &names)
	if err == nil && names == nil {
		err = fmt.Errorf("GET %s: the answer is no list (is this KRM's address?)", path)
	}
	return names, fresh, err
}

// ask asks for a metric.
func (s ModelScope) ask(ctx context.Context, path, metric string, query url.Values, into any) (MetricsFreshness, error) {
	segments := strings.Split(metric, "/")
	if slices.Contains(segments, "") {
		return MetricsFreshness{}, fmt.Errorf("metric %q: want a name such as cpu/usage_rate", metric)
	}
	for i, segment := range segments {
		segments[i] = url.PathEscape(segment)
	}
	return s.get(ctx, s.path+path+"/metrics/"+strings.Join(segments, "/"), query, into)
}

func (s ModelScope) get(ctx context.Context, path string, query url.Values, into any) (MetricsFreshness, error) {
	if s.err != nil {
		return MetricsFreshness{}, s.err
	}
	got, err := s.client.get(ctx, question{Request: Request{Path: path, Query: query, Accept: mediaJSON}})
	if err != nil {
		return MetricsFreshness{}, err
	}
	if err := utiljson.Unmarshal(got.payload.body, into); err != nil {
		return MetricsFreshness{}, fmt.Errorf("GET %s: decode: %w: %s", got.url, err, excerpt(got.payload.body))
	}
	return metricsFreshness(got.header), nil
}
