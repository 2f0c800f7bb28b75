package dbtest

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// settle forgets facts that were written again later: a set has one sample at a time.
func (w *World) settle() {
	last := map[string]int{}
	for i, f := range w.Facts {
		last[f.Metric+identity(f)+f.At.String()] = i
	}
	kept := w.Facts[:0]
	for i, f := range w.Facts {
		if last[f.Metric+identity(f)+f.At.String()] == i {
			kept = append(kept, f)
		}
	}
	w.Facts = kept
}

// clockBack is a clock that is set back twice and forth again: minutes are measured a
// second time, others never.
func clockBack(t *testing.T, db metricdb.DB) {
	w := NewWorld("default")
	round := int64(0)
	minutes := func(from, to int) {
		round++
		for i := from; i <= to; i++ {
			w.Begin(T0.Add(time.Duration(i)*time.Minute), time.Minute)
			w.Set(pod1, metrics.CPUUsageRate, metricdb.Int(1000*round+int64(i)))
			w.Set(pod1, metrics.CPUUsage, metricdb.Int(60e9*(1000*round+int64(i))))
			write(t, db, w)
		}
	}
	minutes(1, 95)
	minutes(35, 70)   // an hour back
	minutes(131, 150) // forth, with a gap
	minutes(96, 100)  // back again, into the gap
	w.settle()
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: T0, To: T0.Add(3 * time.Hour)}
	check(t, db, w, q, metricdb.Grouping{Span: true})
	check(t, db, w, q, metricdb.Grouping{Bucket: 10 * time.Minute, Span: true})
	q.Metric = "cpu/usage"
	check(t, db, w, q, metricdb.Grouping{Increase: true, Span: true})
	check(t, db, w, q, metricdb.Grouping{Increase: true, Bucket: 30 * time.Minute})
	got, err := db.Resolutions(t.Context(), "", T0, T0.Add(3*time.Hour))
	if err != nil || len(got) != 1 || got[0].Batches != 120 || got[0].Every != time.Minute {
		t.Errorf("batches: %v, %v; want 120, each minute once", got, err)
	}
}

// changingTags groups increases by a tag that changes, and changes back, within an hour.
func changingTags(t *testing.T, db metricdb.DB) {
	w := NewWorld("default")
	for i := range 150 {
		w.Begin(T0.Add(time.Duration(i+1)*time.Minute), time.Minute)
		for p := range 3 {
			pod := Pod{Namespace: "ns", Name: "p" + string(rune('0'+p)), UID: "u" + string(rune('0'+p)), Node: "n1"}
			pod.Labels = []string{"app:x", "app:y", "app:z"}[(i/(5+p)+p)%3]
			used := int64(i+1) * 60e9
			if p == 1 && i >= 75 {
				used = int64(i-74) * 60e9 // restarted
			}
			w.Set(pod, metrics.CPUUsage, metricdb.Int(used+int64(i*p)))
		}
		write(t, db, w)
	}
	q := metricdb.Query{Metric: "cpu/usage", Level: metrics.Pod, From: T0, To: T0.Add(3 * time.Hour)}
	f := func(g metricdb.Grouping) {
		t.Helper()
		for _, group := range check(t, db, w, q, g) {
			if group.Sets != 0 && group.Sets != w.sets(q, g, &group) {
				t.Errorf("%v %v: %d sets, want %d", group.Tags, group.Time, group.Sets, w.sets(q, g, &group))
			}
		}
	}
	for range 2 {
		f(metricdb.Grouping{By: []string{"labels"}, Increase: true})
		f(metricdb.Grouping{By: []string{"labels", "pod_name"}, Increase: true, Bucket: 30 * time.Minute})
		f(metricdb.Grouping{By: []string{"namespace_name"}, Increase: true})
		f(metricdb.Grouping{By: []string{"labels"}, Bucket: time.Hour})
		q.From, q.To = T0.Add(47*time.Minute), T0.Add(113*time.Minute)
	}
}

// sets counts the sets of a group.
func (w *World) sets(q metricdb.Query, g metricdb.Grouping, group *metricdb.Group) int {
	sets := map[string]struct{}{}
	for _, f := range w.Select(q, q.From) {
		in := g.Bucket == 0 || !f.At.Before(group.Time) && f.At.Before(group.Time.Add(g.Bucket))
		for _, key := range g.By {
			in = in && f.Tags[key] == group.Tags.Get(key)
		}
		if in {
			sets[identity(f)] = struct{}{}
		}
	}
	return len(sets)
}

// zones asks in zones with daylight saving and half hours: days and hours are UTC's.
func zones(t *testing.T, db metricdb.DB) {
	w := NewWorld("default")
	begin := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC) // in Zurich clocks go forward on the 29th
	for i := range 4 * 24 {
		w.Begin(begin.Add(time.Duration(i)*time.Hour), time.Hour)
		w.Set(pod1, metrics.CPUUsageRate, metricdb.Int(int64(i)))
		write(t, db, w)
	}
	r := metricdb.Record{Set: "krm/day", Tags: metricdb.MakeTags(metrics.Label{Key: "x", Value: "y"}), Fields: []metricdb.Field{{Name: "v", Value: metricdb.Int(1)}}}
	for _, zone := range []*time.Location{time.FixedZone("CET", 3600), time.FixedZone("CEST", 7200), time.FixedZone("IST", 5*3600+1800), time.FixedZone("MST", -7*3600)} {
		q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: begin.Add(5 * time.Hour).In(zone), To: begin.Add(80 * time.Hour).In(zone)}
		for _, g := range check(t, db, w, q, metricdb.Grouping{Bucket: 24 * time.Hour, Span: true}) {
			if g.Time.Location() != time.UTC || !g.Time.Equal(g.Time.Truncate(24*time.Hour)) || g.First.Location() != time.UTC {
				t.Errorf("asked in %v, a day begins at %v, its first sample is at %v", zone, g.Time, g.First)
			}
		}
		check(t, db, w, q, metricdb.Grouping{Bucket: time.Hour})
		r.Time = begin.Add(time.Hour).In(zone) // the same record each time
		if err := db.WriteRecords(t.Context(), []metricdb.Record{r}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for r, err := range db.Records(t.Context(), metricdb.RecordQuery{Set: "krm/day", Fields: []string{"v"}, From: begin, To: begin.Add(24 * time.Hour)}) {
		if n++; err != nil || n > 1 || r.Time.Location() != time.UTC || !r.Time.Equal(begin.Add(time.Hour)) {
			t.Errorf("record %d is at %v, %v", n, r.Time, err)
		}
	}
}

// noNumbers writes floats that are none: they are no samples, and those beside them are.
func noNumbers(t *testing.T, db metricdb.DB) {
	w := NewWorld("default")
	pods := []Pod{pod1, {Namespace: "ns", Name: "q", UID: "v", Node: "n1"}}
	bad := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1.5}
	for i, v := range bad {
		w.Begin(T0.Add(time.Duration(i+1)*time.Minute), time.Minute)
		w.Set(pods[0], metrics.NetworkRxRate, metricdb.Float(v))
		w.Set(pods[1], metrics.NetworkRxRate, metricdb.Float(float64(i)))
		w.Set(pods[0], metrics.CPUUsageRate, metricdb.Int(7))
		write(t, db, w)
	}
	w.Facts = slices.DeleteFunc(w.Facts, func(f Fact) bool { n := f.Value.Number(); return math.IsNaN(n) || math.IsInf(n, 0) })
	for _, metric := range []string{"network/rx_rate", "cpu/usage_rate"} {
		q := metricdb.Query{Metric: metric, Level: metrics.Pod, From: T0, To: T0.Add(time.Hour)}
		check(t, db, w, q, metricdb.Grouping{By: []string{"pod_name"}})
		check(t, db, w, q, metricdb.Grouping{})
	}
}

// longValues writes values beyond what a tag may have, and finds them by what they were.
func longValues(t *testing.T, db metricdb.DB) {
	w := NewWorld("default")
	w.Begin(T0.Add(time.Minute), time.Minute)
	names := []string{strings.Repeat(`\`, 10<<10), strings.Repeat("é", 9<<10) + "x", strings.Repeat("x", 16<<10-1) + `\`, strings.Repeat("\n", 5<<10) + "y"}
	for i, name := range names {
		p := Pod{Namespace: "ns", Name: name, UID: "u" + string(rune('0'+i)), Node: "n1", Labels: name}
		w.Set(p, metrics.CPUUsageRate, metricdb.Int(int64(i)+1))
	}
	write(t, db, w)
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: T0, To: T0.Add(time.Hour)}
	for i, name := range names {
		for _, asked := range []string{name, metricdb.Clean(name)} {
			q.Where = []metricdb.Match{metricdb.Is("pod_name", asked), metricdb.Is("labels", asked)}
			if got := check(t, db, w, q, metricdb.Grouping{By: []string{"pod_name"}}); len(got) != 1 || got[0].Max.Bits != int64(i)+1 {
				t.Errorf("%d bytes of %q: %d groups", len(asked), short(asked), len(got))
			}
		}
	}
}
