package dbtest

import (
	"slices"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// SetGPUs writes what a collector makes of two GPUs that a container of p holds and an
// idle one of its node: the rows, and the sums of the levels.
func (w *World) SetGPUs(p Pod, first, second, idle int64) {
	w.SetDevice(p, "app", "GPU-1", first)
	w.SetDevice(p, "app", "GPU-2", second)
	w.SetIdle(p.Node, "GPU-3", idle)
	w.Set(p, metrics.GPUUsage, metricdb.Int(first+second))
	w.SetNamespace(p.Namespace, metrics.GPUUsage, metricdb.Int(first+second))
	w.SetNode(p.Node, metrics.GPUUsage, metricdb.Int(first+second+idle))
	w.set(metrics.Ref{}, metrics.Cluster, metrics.GPUUsage, metricdb.Int(first+second), map[string]string{})
}

// sumsAndRows checks that the sums of a labelled metric and its rows stay apart.
func sumsAndRows(t *testing.T, db metricdb.DB) {
	w := NewWorld("default")
	for i := range int64(60) {
		w.Begin(T0.Add(time.Duration(i)*time.Minute), time.Minute)
		w.SetGPUs(pod1, 100+i, 20, 3)
		write(t, db, w)
	}
	sums := metricdb.SumsOnly("gpu/usage")
	f := func(level metrics.Kind, where []metricdb.Match, sum int64) {
		t.Helper()
		q := metricdb.Query{Metric: "gpu/usage", Level: level, From: T0, To: T0.Add(time.Hour), Where: where}
		got := check(t, db, w, q, metricdb.Grouping{})
		if len(got) != 1 || got[0].Sum.Int != sum {
			t.Errorf("%v where %v: %v, want %d", level, where, got, sum)
		}
		check(t, db, w, q, metricdb.Grouping{By: []string{"nodename", "namespace_name", "pod_name", "container_name", "gpu_uuid"}, Bucket: 15 * time.Minute})
	}
	const varying, held, idle = 59 * 60 / 2, 60 * 120, 60 * 3
	f(metrics.Container, nil, held+varying)
	f(metrics.Container, []metricdb.Match{metricdb.Is("gpu_uuid", "GPU-2")}, 60*20)
	for _, level := range []metrics.Kind{metrics.Pod, metrics.Namespace, metrics.Cluster} {
		f(level, nil, held+varying)
		f(level, sums, held+varying)
	}
	f(metrics.Node, sums, held+varying+idle)
	f(metrics.Node, []metricdb.Match{metricdb.Is("gpu_uuid", "GPU-3")}, idle)

	q := metricdb.Query{Metric: "gpu/usage", Level: metrics.Node, From: T0, To: T0.Add(time.Hour), Where: sums}
	points := 0
	for point, err := range db.Points(t.Context(), q, 0) {
		if points++; err != nil || point.Tags.Get("gpu_uuid") != "" || point.Value.Bits < held/60+idle/60 {
			t.Fatalf("%+v, %v", point, err)
		}
	}
	runs := 0
	for run, err := range db.Runs(t.Context(), q) {
		if runs += len(run.Times); err != nil {
			t.Fatal(err)
		}
	}
	if points != 60 || runs != 60 {
		t.Errorf("%d points and %d samples, want 60", points, runs)
	}
	q.Where = nil
	devices, err := db.Tags(t.Context(), q, "gpu_uuid")
	if err != nil || len(devices) != 1 {
		t.Errorf("devices of the node: %v, %v", devices, err)
	}
	q.Level = metrics.Pod
	if names, err := db.Metrics(t.Context(), q); err != nil || !slices.Equal(names, []string{"gpu/usage"}) {
		t.Errorf("metrics of pods: %v, %v", names, err)
	}
}
