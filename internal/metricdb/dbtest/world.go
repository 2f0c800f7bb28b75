// Package dbtest is the suite that every metric database passes, and the world of
// pods that it and benchmarks write.
package dbtest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// T0 is when the world begins.
var T0 = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// Fact is one sample that was written: the suite's own memory of it.
type Fact struct {
	Metric string
	Level  metrics.Kind
	At     time.Time
	Every  time.Duration
	Value  metricdb.Value
	Tags   map[string]string
}

// World makes batches, and remembers what is in them.
type World struct {
	Cluster string
	Facts   []Fact
	ledger  *metrics.Ledger
	batch   *metrics.Batch
}

// NewWorld returns an empty world.
func NewWorld(cluster string) *World {
	return &World{Cluster: cluster, ledger: metrics.NewLedger(time.Hour)}
}

// Begin starts the batch of a window.
func (w *World) Begin(at time.Time, every time.Duration) {
	w.batch = w.ledger.Begin(w.Cluster, at, every)
	w.batch.Nodes = []metrics.NodeStatus{{Name: "n1"}, {Name: "n2", Reason: "timeout"}}
}

// Batch returns the batch that is being made.
func (w *World) Batch() *metrics.Batch { return w.batch }

// Pod is a pod of the world.
type Pod struct {
	Namespace, Name, UID, Node, Labels string
	Stored                             []metrics.Label
}

func (w *World) meta(p Pod) *metrics.Meta {
	return &metrics.Meta{UID: p.UID, Node: p.Node, Joined: p.Labels, NamespaceID: "id-" + p.Namespace, Hostname: "host-" + p.Node, Stored: p.Stored}
}

func (w *World) pod(p Pod) (metrics.Ref, map[string]string) {
	ns := w.batch.Row(metrics.Namespace, metrics.Ref{}, p.Namespace)
	ref := metrics.Ref{Kind: metrics.Pod, Row: w.batch.Row(metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: ns}, p.Name)}
	entity := &w.batch.Tables[metrics.Pod].Entities[ref.Row]
	if meta := w.meta(p); entity.Meta == nil || entity.Meta.UID != meta.UID || entity.Meta.Joined != meta.Joined {
		w.batch.Describe(ref, "", meta)
	}
	tags := map[string]string{
		"namespace_name": metricdb.Clean(p.Namespace), "pod_name": metricdb.Clean(p.Name), "pod_id": metricdb.Clean(p.UID),
		"nodename": metricdb.Clean(p.Node), "labels": metricdb.Clean(p.Labels),
	}
	for _, label := range p.Stored {
		tags[label.Key] = metricdb.Clean(label.Value)
	}
	return ref, tags
}

// Set writes a value of a pod.
func (w *World) Set(p Pod, id metrics.ID, value metricdb.Value) {
	ref, tags := w.pod(p)
	w.set(ref, metrics.Pod, id, value, tags)
}

// SetContainer writes a value of a container.
func (w *World) SetContainer(p Pod, name, image string, id metrics.ID, value metricdb.Value) {
	pod, tags := w.pod(p)
	ref := metrics.Ref{Kind: metrics.Container, Row: w.batch.Row(metrics.Container, pod, name)}
	w.batch.Describe(ref, image, w.batch.Tables[metrics.Pod].Entities[pod.Row].Meta)
	tags["container_name"], tags["container_base_image"] = metricdb.Clean(name), metricdb.Clean(image)
	w.set(ref, metrics.Container, id, value, tags)
}

// SetVolume writes a labelled value of a pod's volume.
func (w *World) SetVolume(p Pod, resource string, id metrics.ID, value metricdb.Value) {
	pod, tags := w.pod(p)
	row := w.batch.Row(metrics.Filesystem, pod, "resource_id:"+resource)
	tags["resource_id"] = metricdb.Clean(resource)
	w.set(metrics.Ref{Kind: metrics.Filesystem, Row: row}, metrics.Pod, id, value, tags)
}

// SetDevice writes the memory used of a GPU that a container of a pod holds.
func (w *World) SetDevice(p Pod, container, uuid string, used int64) {
	pod, tags := w.pod(p)
	ref := metrics.Ref{Kind: metrics.Container, Row: w.batch.Row(metrics.Container, pod, container)}
	w.batch.Describe(ref, "", w.batch.Tables[metrics.Pod].Entities[pod.Row].Meta)
	tags["container_name"] = container
	w.setDevice(ref, uuid, used, tags)
}

// SetIdle writes the memory used of a node's GPU that nobody holds.
func (w *World) SetIdle(node, uuid string, used int64) {
	ref := metrics.Ref{Kind: metrics.Node, Row: w.batch.Row(metrics.Node, metrics.Ref{}, node)}
	w.setDevice(ref, uuid, used, map[string]string{"nodename": metricdb.Clean(node)})
}

func (w *World) setDevice(of metrics.Ref, uuid string, used int64, tags map[string]string) {
	tags["gpu_index"], tags["gpu_name"], tags["gpu_uuid"] = "0", "T4", uuid
	row := w.batch.Row(metrics.GPU, of, "gpu_index:0,gpu_name:T4,gpu_uuid:"+uuid)
	w.set(metrics.Ref{Kind: metrics.GPU, Row: row}, of.Kind, metrics.GPUUsage, metricdb.Int(used), tags)
}

// SetNode writes a value of a node.
func (w *World) SetNode(name string, id metrics.ID, value metricdb.Value) {
	row := w.batch.Row(metrics.Node, metrics.Ref{}, name)
	w.set(metrics.Ref{Kind: metrics.Node, Row: row}, metrics.Node, id, value, map[string]string{"nodename": metricdb.Clean(name)})
}

// SetNamespace writes a value of a namespace.
func (w *World) SetNamespace(name string, id metrics.ID, value metricdb.Value) {
	row := w.batch.Row(metrics.Namespace, metrics.Ref{}, name)
	w.set(metrics.Ref{Kind: metrics.Namespace, Row: row}, metrics.Namespace, id, value, map[string]string{"namespace_name": metricdb.Clean(name)})
}

func (w *World) set(ref metrics.Ref, level metrics.Kind, id metrics.ID, value metricdb.Value, tags map[string]string) {
	w.batch.Tables[ref.Kind].Set(id, ref.Row, value.Bits)
	tags["type"], tags["cluster_name"] = level.String(), w.Cluster
	for key, text := range tags {
		if text == "" {
			delete(tags, key)
		}
	}
	d := metrics.Describe(id)
	if value.Float != d.Float {
		panic(fmt.Sprintf("BUG: %s with a value of the wrong type", d.Name))
	}
	w.Facts = append(w.Facts, Fact{Metric: d.Name, Level: level, At: w.batch.Time, Every: w.batch.Resolution, Value: value, Tags: tags})
}

// Select returns the facts that a query selects, by time and set.
func (w *World) Select(q metricdb.Query, from time.Time) (facts []Fact) {
	for _, f := range w.Facts {
		ok := f.Metric == q.Metric && f.Level == q.Level && !f.At.Before(from) && f.At.Before(q.To)
		for _, m := range q.Where {
			holds := slices.ContainsFunc(m.Values, func(value string) bool { return metricdb.Clean(value) == f.Tags[m.Tag] })
			ok = ok && holds != m.Not
		}
		if ok {
			facts = append(facts, f)
		}
	}
	slices.SortStableFunc(facts, func(a, b Fact) int { return a.At.Compare(b.At) })
	return facts
}

// Aggregate computes what a database should answer, as plainly as possible.
func (w *World) Aggregate(q metricdb.Query, g metricdb.Grouping) []metricdb.Group {
	type key struct {
		by     string
		bucket time.Time
	}
	groups := map[key]*metricdb.Group{}
	values := map[key][]metricdb.Value{}
	last := map[string]metricdb.Value{}
	integral := map[key]float64{}
	for _, f := range w.Select(q, q.From.Add(-metricdb.Lookback)) {
		var by []string
		var labels []metrics.Label
		for _, name := range g.By {
			by = append(by, f.Tags[name])
			if f.Tags[name] != "" {
				labels = append(labels, metrics.Label{Key: name, Value: f.Tags[name]})
			}
		}
		bucket := q.From
		if g.Bucket > 0 {
			bucket = f.At.Add(-time.Duration(f.At.UnixNano() % int64(g.Bucket)))
		}
		k := key{strings.Join(by, "\x00"), bucket}
		set := identity(f)
		before, known := last[set]
		last[set] = f.Value
		if f.At.Before(q.From) {
			continue
		}
		group := groups[k]
		if group == nil {
			group = &metricdb.Group{Tags: metricdb.MakeTags(labels...), Time: bucket, Min: f.Value, Max: f.Value, First: f.At}
			groups[k] = group
		}
		group.Count++
		group.Last = f.At
		values[k] = append(values[k], f.Value)
		integral[k] += f.Value.Number() * f.Every.Seconds()
		if f.Value.Number() < group.Min.Number() {
			group.Min = f.Value
		}
		if f.Value.Number() > group.Max.Number() {
			group.Max = f.Value
		}
		if g.Increase && known {
			rise := f.Value.Number() - before.Number()
			if rise < 0 {
				rise = f.Value.Number()
			}
			group.Increase.Float += rise
		}
	}
	out := make([]metricdb.Group, 0, len(groups))
	for k, group := range groups {
		finish(group, values[k], &g, integral[k])
		out = append(out, *group)
	}
	slices.SortFunc(out, func(a, b metricdb.Group) int {
		for _, name := range g.By {
			if c := cmp.Compare(a.Tags.Get(name), b.Tags.Get(name)); c != 0 {
				return c
			}
		}
		return a.Time.Compare(b.Time)
	})
	return out
}

func finish(group *metricdb.Group, values []metricdb.Value, g *metricdb.Grouping, integral float64) {
	sorted := make([]float64, len(values))
	for i, v := range values {
		group.Sum.Float += v.Number()
		sorted[i] = v.Number()
	}
	slices.Sort(sorted)
	if g.Median {
		group.Median = (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
	}
	for _, p := range g.Percentiles {
		rank := max(int(math.Ceil(p*float64(len(sorted))/100)), 1)
		group.Percentiles = append(group.Percentiles, metricdb.Float(sorted[rank-1]))
	}
	if g.SkipMin {
		group.Min = metricdb.Value{}
	}
	if !g.Span {
		group.First, group.Last = time.Time{}, time.Time{}
	}
	group.Steps = []metricdb.Step{{Every: time.Second, Sum: metricdb.Total{Float: integral}}} // only its integral is looked at
}

func identity(f Fact) string {
	var b strings.Builder
	for _, name := range []string{"type", "cluster_name", "namespace_name", "pod_name", "pod_id", "container_name", "resource_id"} {
		b.WriteString(f.Tags[name] + "\x00")
	}
	if f.Level == metrics.Node {
		b.WriteString(f.Tags["nodename"])
	}
	return b.String()
}
