package billing

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The values of the field agg; any other is no aggregation.
const (
	podByNamespace = "pod-by-namespace"
	allNamespace   = "all-namespace"
	allPod         = "all-pod"
)

// query is what POST /api/{metric} is asked.
type query struct {
	metric    *metrics.Descriptor
	family    family
	namespace string
	limit     int
	agg       string // "" is none
	from, to  time.Time
	level     metrics.Kind
	levelSet  bool // by the client
	exclude   []string
	cluster   string
}

// metric answers for one metric, whose name path begins with.
func (a *API) metric(q request, path string) error {
	d, ok := longestMetric(path)
	if !ok {
		return unknownMetric(path)
	}
	fields, err := readBody(q, "namespace", "limit", "agg", beginField, endField, "level", "excludeNamespaces", "cluster")
	if err != nil {
		return err
	}
	asked, err := parseQuery(fields, d, q.now)
	if err != nil {
		return err
	}
	if !a.running.TryAcquire(1) {
		return unavailable("busy", "%d questions are being answered already: try again", a.options.Parallel)
	}
	defer a.running.Release(1)
	ctx, patience := within(q.Request.Context(), a.options.Timeout)
	defer patience.end()
	extendDeadline(q, a.options.Timeout)
	if err := a.known(ctx, asked, path); err != nil {
		return causeOf(ctx, err)
	}
	if asked.agg != "" {
		err = a.groups(ctx, q, asked)
	} else {
		err = a.points(ctx, q, asked, patience)
	}
	return causeOf(ctx, err)
}

func unknownMetric(name string) error {
	return faultf(http.StatusNotFound, "metric %s: there is none of this name; the nearest are %s", quoted(name), strings.Join(nearest(name), ", "))
}

// known fails if no such extended resource was requested in the interval.
func (a *API) known(ctx context.Context, asked query, path string) error {
	if asked.metric.ID != metrics.NumIDs {
		return nil
	}
	names, err := a.db.Metrics(ctx, metricdb.Query{Level: metrics.Pod, From: asked.from, To: asked.to})
	if err == nil && !slices.Contains(names, asked.metric.Name) {
		err = unknownMetric(path)
	}
	return err
}

func parseQuery(fields body, d *metrics.Descriptor, now time.Time) (asked query, err error) {
	asked.metric, asked.family = d, familyOf(d)
	if asked.namespace, err = fields.text("namespace", "default", "the name of a namespace"); err != nil {
		return asked, err
	}
	if asked.limit, err = fields.limit("limit", 100); err != nil {
		return asked, err
	}
	if asked.agg, err = fields.text("agg", "", podByNamespace+", "+allNamespace+" or "+allPod+"; any other string is no aggregation"); err != nil {
		return asked, err
	}
	if asked.agg != podByNamespace && asked.agg != allNamespace && asked.agg != allPod {
		asked.agg = ""
	}
	if asked.exclude, err = fields.texts("excludeNamespaces", "a list of the names of namespaces"); err != nil {
		return asked, err
	}
	if asked.cluster, err = fields.text("cluster", "", "the cluster_name of a cluster"); err != nil {
		return asked, err
	}
	if asked.from, asked.to, err = fields.interval(now, time.UTC); err != nil {
		return asked, err
	}
	return asked, asked.readLevel(fields)
}

// readLevel reads the level: one of those that the metric has and that can be grouped
// as is asked for.
func (asked *query) readLevel(fields body) error {
	can := slices.DeleteFunc(slices.Clone(asked.family.levels), func(level metrics.Kind) bool {
		switch asked.agg {
		case "":
			return false
		case allNamespace:
			return level == metrics.Node || level == metrics.Cluster
		}
		return level != metrics.Pod && level != metrics.Container
	})
	if len(can) == 0 {
		return badField("agg", []byte(quoted(asked.agg)), "no aggregation: "+asked.metric.Name+" is about nodes, which have no pods")
	}
	asked.level = asked.family.levels[0]
	if asked.agg != "" && asked.family.rows == "" || asked.family.gpu && asked.agg != "" {
		asked.level = metrics.Pod
	}
	name, err := fields.text("level", "", "the name of a level")
	if err != nil || name == "" {
		return err
	}
	names := make([]string, len(can))
	for i, level := range can {
		if names[i] = levelName(level); names[i] == name {
			asked.level, asked.levelSet = level, true
			return nil
		}
	}
	of := asked.metric.Name
	if asked.agg != "" {
		of += " with agg " + asked.agg
	}
	return badField("level", fields["level"], "one that "+of+" has: "+strings.Join(names, ", "))
}

// where are the conditions on samples.
func (asked *query) where() []metricdb.Match {
	where := asked.ofCluster()
	switch {
	case asked.agg == podByNamespace, asked.agg == "" && asked.level != metrics.Node && asked.level != metrics.Cluster:
		where = append(where, metricdb.Is(metricdb.TagNamespace, asked.namespace))
	case asked.agg != "" && len(asked.exclude) > 0:
		where = append(where, metricdb.IsNot(metricdb.TagNamespace, asked.exclude...))
	case asked.level == metrics.Node:
		where = append(where, metricdb.SumsOnly(asked.metric.Name)...)
	}
	return where
}

// ofCluster is the condition on clusters alone.
func (asked *query) ofCluster() []metricdb.Match { return onlyOf(asked.cluster) }

func onlyOf(cluster string) []metricdb.Match {
	if cluster == "" {
		return nil
	}
	return []metricdb.Match{metricdb.Is(metricdb.TagCluster, cluster)}
}
