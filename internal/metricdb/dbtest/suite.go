package dbtest

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Open opens an empty database that lasts as long as the test.
type Open func(t *testing.T) metricdb.DB

// Suite checks the contract.
func Suite(t *testing.T, open Open) {
	t.Run("aggregates", func(t *testing.T) { aggregates(t, open(t)) })
	t.Run("points", func(t *testing.T) { points(t, open(t)) })
	t.Run("runs", func(t *testing.T) { runs(t, open(t)) })
	t.Run("reused names", func(t *testing.T) { reusedNames(t, open(t)) })
	t.Run("resolutions", func(t *testing.T) { resolutions(t, open(t)) })
	t.Run("great integers", func(t *testing.T) { greatIntegers(t, open(t)) })
	t.Run("again and late", func(t *testing.T) { againAndLate(t, open(t)) })
	t.Run("clock set back", func(t *testing.T) { clockBack(t, open(t)) })
	t.Run("changing tags", func(t *testing.T) { changingTags(t, open(t)) })
	t.Run("zones", func(t *testing.T) { zones(t, open(t)) })
	t.Run("no numbers", func(t *testing.T) { noNumbers(t, open(t)) })
	t.Run("listings", func(t *testing.T) { listings(t, open(t)) })
	t.Run("sums and rows", func(t *testing.T) { sumsAndRows(t, open(t)) })
	t.Run("records", func(t *testing.T) { records(t, open(t)) })
	t.Run("injection", func(t *testing.T) { injection(t, open(t)) })
	t.Run("long values", func(t *testing.T) { longValues(t, open(t)) })
	t.Run("nothing there", func(t *testing.T) { nothing(t, open(t)) })
	t.Run("invalid", func(t *testing.T) { invalid(t, open(t)) })
}

// small writes three hours of minutes: pods in three namespaces, a restart, a gap, a
// label that changes, values that vary.
func small(t *testing.T, db metricdb.DB) *World {
	t.Helper()
	w := NewWorld("default")
	for i := range 180 {
		at := T0.Add(time.Duration(i+1) * time.Minute)
		w.Begin(at, time.Minute)
		for p := range 9 {
			pod := Pod{Namespace: "ns-" + string(rune('a'+p%3)), Name: "pod-" + string(rune('0'+p)), UID: "uid-" + string(rune('0'+p)), Node: "n1", Labels: "app:x"}
			if i >= 90 && p == 4 {
				pod.Labels = "app:y" // changes while it lives
			}
			if p == 5 && i > 40 && i < 80 {
				continue // a gap
			}
			noise := int64((i*7919 + p*104729) % 997)
			w.Set(pod, metrics.CPUUsageRate, metricdb.Int(noise))
			usage := int64(i+1)*60e9 + noise
			if p == 2 && i >= 100 {
				usage = int64(i-99) * 60e9 // restarted
			}
			w.Set(pod, metrics.CPUUsage, metricdb.Int(usage))
			w.Set(pod, metrics.NetworkRxRate, metricdb.Float(float64(noise)/7))
			w.Set(pod, metrics.Uptime, metricdb.Int(int64(i)*60000))
			w.SetVolume(pod, "Volume:data", metrics.FilesystemUsage, metricdb.Int(4096*noise))
			w.SetVolume(pod, "Volume:a,b=c d", metrics.FilesystemUsage, metricdb.Int(1))
			w.SetContainer(pod, "app", "registry/app:1.2@sha256:ab", metrics.CPUUsageRate, metricdb.Int(noise/2))
		}
		w.SetNamespace("ns-a", metrics.CPUUsageRate, metricdb.Int(int64(i)))
		w.SetNode("n1", metrics.CPUNodeUtilization, metricdb.Float(float64(i)/180))
		w.SetNode("n1", metrics.CPUNodeCapacity, metricdb.Float(4000)) // a float without a fraction
		write(t, db, w)
	}
	return w
}

func write(t *testing.T, db metricdb.DB, w *World) {
	t.Helper()
	if err := db.Write(t.Context(), w.Batch()); err != nil {
		t.Fatal(err)
	}
}

var same = cmp.Options{
	cmp.Transformer("value", func(v metricdb.Value) float64 { return v.Number() }),
	cmp.Transformer("total", func(v metricdb.Total) float64 { return v.Number() }),
	cmpopts.EquateApprox(1e-12, 1e-9), cmpopts.EquateEmpty(),
}

// groups compares groups as far as was asked for; integrals instead of steps.
var groups = append(cmp.Options{
	cmpopts.IgnoreFields(metricdb.Group{}, "Steps", "Sets"),
}, same...)

func check(t *testing.T, db metricdb.DB, w *World, q metricdb.Query, g metricdb.Grouping) []metricdb.Group {
	t.Helper()
	got, err := db.Aggregate(t.Context(), q, g)
	if err != nil {
		t.Fatalf("%+v %+v: %v", q, g, err)
	}
	want := w.Aggregate(q, g)
	if len(want) == 0 {
		t.Fatalf("%+v %+v: checks nothing", q, g)
	}
	if diff := cmp.Diff(want, got, groups); diff != "" {
		t.Fatalf("%+v %+v (-want +got):\n%.3000s", q, g, diff)
	}
	for i := range got {
		if !close(got[i].Integral(), want[i].Integral()) {
			t.Errorf("%v %+v: integral %v, want %v", got[i].Tags, q, got[i].Integral(), want[i].Integral())
		}
	}
	return got
}

func close(a, b float64) bool { return math.Abs(a-b) <= 1e-12*math.Max(math.Abs(a), math.Abs(b)) }

func aggregates(t *testing.T, db metricdb.DB) {
	w := small(t, db)
	pods := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: T0, To: T0.Add(4 * time.Hour)}
	f := func(q metricdb.Query, g metricdb.Grouping) { t.Helper(); check(t, db, w, q, g) }
	byPod := []string{"namespace_name", "pod_name", "pod_id"}

	f(pods, metricdb.Grouping{SkipMin: true})
	f(pods, metricdb.Grouping{By: []string{"namespace_name"}, Span: true})
	f(pods, metricdb.Grouping{By: byPod, Span: true})
	f(pods, metricdb.Grouping{By: []string{"pod_name", "namespace_name"}, Bucket: 15 * time.Minute})
	f(pods, metricdb.Grouping{By: byPod, Bucket: 7 * time.Minute, Span: true})
	f(pods, metricdb.Grouping{By: []string{"labels"}, Median: true, Percentiles: []float64{50, 95, 99, 100, .1}})
	f(pods, metricdb.Grouping{Bucket: time.Hour, Median: true, Percentiles: []float64{95}})

	hour := pods
	hour.From, hour.To = T0.Add(time.Hour), T0.Add(2*time.Hour)
	f(hour, metricdb.Grouping{By: []string{"namespace_name"}})
	hour.Where = []metricdb.Match{metricdb.Is("namespace_name", "ns-b", "ns-c"), metricdb.IsNot("pod_name", "pod-1")}
	f(hour, metricdb.Grouping{By: byPod})
	hour.Where = []metricdb.Match{metricdb.Is("pod_id", "uid-3", "uid-4")}
	f(hour, metricdb.Grouping{By: byPod, Span: true})
	hour.Where = []metricdb.Match{metricdb.IsNot("namespace_name")}
	f(hour, metricdb.Grouping{By: []string{"nodename"}})

	for _, metric := range []string{"network/rx_rate", "filesystem/usage"} {
		q := pods
		q.Metric = metric
		f(q, metricdb.Grouping{By: []string{"namespace_name", "pod_name", "resource_id"}})
	}
	containers := pods
	containers.Level = metrics.Container
	f(containers, metricdb.Grouping{By: append(byPod, "container_name")})
	node := metricdb.Query{Metric: "cpu/node_utilization", Level: metrics.Node, From: T0, To: T0.Add(4 * time.Hour)}
	f(node, metricdb.Grouping{By: []string{"nodename"}, Median: true, Bucket: time.Hour})

	counter := pods
	counter.Metric = "cpu/usage"
	f(counter, metricdb.Grouping{By: byPod, Increase: true})
	counter.From, counter.To = T0.Add(61*time.Minute), T0.Add(130*time.Minute)
	f(counter, metricdb.Grouping{By: []string{"namespace_name"}, Increase: true})
	f(counter, metricdb.Grouping{By: byPod, Increase: true, Bucket: 10 * time.Minute})
	additive(t, db, counter)

	alias := pods
	alias.Metric = "cpu-usage"
	if got, err := db.Aggregate(t.Context(), alias, metricdb.Grouping{}); err != nil || len(got) != 1 {
		t.Errorf("an old name: %v, %v", got, err)
	}
}

// additive checks that increases of adjacent intervals are that of both, exactly.
func additive(t *testing.T, db metricdb.DB, q metricdb.Query) {
	t.Helper()
	total := func(from, to time.Time) int64 {
		q.From, q.To = from, to
		got, err := db.Aggregate(t.Context(), q, metricdb.Grouping{Increase: true})
		if err != nil || len(got) != 1 || !got[0].Increase.Exact {
			t.Fatalf("%v to %v: %+v, %v", from, to, got, err)
		}
		return got[0].Increase.Int
	}
	from, middle, to := T0.Add(30*time.Minute), T0.Add(101*time.Minute), T0.Add(150*time.Minute)
	if parts, whole := total(from, middle)+total(middle, to), total(from, to); parts != whole {
		t.Errorf("the parts increase by %d, the whole by %d", parts, whole)
	}
}

func points(t *testing.T, db metricdb.DB) {
	w := small(t, db)
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: T0.Add(time.Minute), To: T0.Add(150 * time.Minute)}
	read := func(q metricdb.Query, limit int) (all []metricdb.Point) {
		t.Helper()
		for p, err := range db.Points(t.Context(), q, limit) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		return all
	}
	f := func(q metricdb.Query, limit int) {
		t.Helper()
		var want []metricdb.Point
		for _, f := range w.Select(q, q.From) {
			var labels []metrics.Label
			for key, value := range f.Tags {
				labels = append(labels, metrics.Label{Key: key, Value: value})
			}
			want = append(want, metricdb.Point{Time: f.At, Value: f.Value, Tags: metricdb.MakeTags(labels...)})
		}
		order(want)
		if limit > 0 {
			want = want[:min(limit, len(want))]
		}
		if len(want) == 0 {
			t.Fatal("checks nothing")
		}
		if diff := cmp.Diff(want, read(q, limit)); diff != "" {
			t.Errorf("%+v limit %d (-want +got):\n%.3000s", q, limit, diff)
		}
	}
	f(q, 0)
	f(q, 1)
	f(q, 100) // in the middle of equal times
	f(q, 9)
	f(q, 1<<20)
	q.Where = []metricdb.Match{metricdb.Is("namespace_name", "ns-b")}
	f(q, 50)
	q.Where = []metricdb.Match{metricdb.Is("pod_id", "uid-4")} // its label changes
	f(q, 70)
	q.Where, q.Metric = nil, "filesystem/usage"
	f(q, 33)
	q.Metric = "network/rx_rate"
	f(q, 33)
	q.Metric, q.Level = "cpu/node_capacity", metrics.Node
	f(q, 10)
	for _, err := range db.Points(t.Context(), q, 0) {
		if err != nil {
			t.Fatal(err)
		}
		break // and nothing hangs
	}
}

func runs(t *testing.T, db metricdb.DB) {
	w := small(t, db)
	q := metricdb.Query{Metric: "cpu/usage", Level: metrics.Pod, From: T0, To: T0.Add(4 * time.Hour)}
	got := map[string]map[int64]int64{}
	last := map[string]int64{}
	for run, err := range db.Runs(t.Context(), q, "nodename") {
		if err != nil {
			t.Fatal(err)
		}
		if run.Tags.Get("nodename") != "n1" || run.Tags.Get("labels") != "" || run.Tags.Get("pod_id") == "" {
			t.Fatalf("tags %v: want those that identify, and nodename", run.Tags)
		}
		key := run.Tags.Get("pod_id")
		if got[key] == nil {
			got[key] = map[int64]int64{}
		}
		for i, at := range run.Times {
			if at <= last[key] {
				t.Fatalf("%v does not ascend", run.Tags)
			}
			last[key] = at
			got[key][at] = run.Values[i]
		}
	}
	want := map[string]map[int64]int64{}
	for _, f := range w.Select(q, q.From) {
		if want[f.Tags["pod_id"]] == nil {
			want[f.Tags["pod_id"]] = map[int64]int64{}
		}
		want[f.Tags["pod_id"]][f.At.UnixNano()] = f.Value.Bits
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func reusedNames(t *testing.T, db metricdb.DB) {
	w := NewWorld("default")
	for i := range 150 {
		at := T0.Add(time.Duration(i+1) * time.Minute)
		w.Begin(at, time.Minute)
		uid := "first"
		if i >= 70 {
			uid = "second"
		}
		w.Set(Pod{Namespace: "ns", Name: "web-0", UID: uid, Node: "n1"}, metrics.CPUUsageRate, metricdb.Int(int64(i)))
		w.Set(Pod{Namespace: "ns", Name: "web-0", UID: uid, Node: "n1"}, metrics.CPUUsage, metricdb.Int(int64(i%70)*1000))
		w.SetContainer(Pod{Namespace: "ns", Name: "web-0", UID: uid, Node: "n1"}, "c", "i", metrics.CPUUsageRate, metricdb.Int(int64(i)))
		w.Set(Pod{Namespace: "ns", Name: "other", UID: "third", Node: "n1"}, metrics.CPUUsageRate, metricdb.Int(1))
		write(t, db, w)
	}
	by := []string{"namespace_name", "pod_name", "pod_id"}
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: T0, To: T0.Add(3 * time.Hour)}
	if got := check(t, db, w, q, metricdb.Grouping{By: by, Span: true}); len(got) != 3 {
		t.Errorf("%d pods, want 3", len(got))
	}
	check(t, db, w, q, metricdb.Grouping{By: []string{"namespace_name"}})
	check(t, db, w, q, metricdb.Grouping{By: by, Bucket: 20 * time.Minute})
	q.Where = []metricdb.Match{metricdb.Is("pod_id", "second")}
	check(t, db, w, q, metricdb.Grouping{By: by})
	q.From = T0.Add(131 * time.Minute) // well after it was first seen
	check(t, db, w, q, metricdb.Grouping{By: by, Span: true})
	q.Where, q.From, q.Level = nil, T0, metrics.Container
	check(t, db, w, q, metricdb.Grouping{By: append(by, "container_name")})
	q.Metric, q.Level = "cpu/usage", metrics.Pod
	check(t, db, w, q, metricdb.Grouping{By: by, Increase: true}) // not across pods
	tags, err := db.Tags(t.Context(), metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: T0, To: T0.Add(3 * time.Hour)}, "pod_id")
	if err != nil || len(tags) != 3 {
		t.Errorf("UIDs %v, %v", tags, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Aggregate(ctx, q, metricdb.Grouping{}); !errors.Is(err, context.Canceled) && !errors.Is(err, metricdb.ErrUnavailable) {
		t.Errorf("after the end: %v", err)
	}
}
