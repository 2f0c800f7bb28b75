package dbtest

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// order sorts points newest first, equal times by their tags.
func order(points []metricdb.Point) {
	slices.SortFunc(points, func(a, b metricdb.Point) int {
		if c := b.Time.Compare(a.Time); c != 0 {
			return c
		}
		return a.Tags.Compare(b.Tags)
	})
}

var pod1 = Pod{Namespace: "ns", Name: "p", UID: "u", Node: "n1", Labels: "app:x"}

func resolutions(t *testing.T, db metricdb.DB) {
	w := NewWorld("default")
	other := NewWorld("other")
	at := T0
	for i := range 60 {
		every := time.Minute
		if i >= 20 && i < 50 {
			every = 30 * time.Second // changed, and changed back
		}
		at = at.Add(every)
		w.Begin(at, every)
		w.Set(pod1, metrics.CPUUsageRate, metricdb.Int(100+int64(i)))
		write(t, db, w)
		if i%5 == 0 {
			other.Begin(at, 5*time.Minute)
			other.Set(pod1, metrics.CPUUsageRate, metricdb.Int(7))
			write(t, db, other)
		}
	}
	got, err := db.Resolutions(t.Context(), "default", T0, T0.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	minutes := func(n float64) time.Time { return T0.Add(time.Duration(n * float64(time.Minute))) }
	want := []metricdb.Resolution{
		{Cluster: "default", Every: time.Minute, First: minutes(1), Last: minutes(20), Batches: 20},
		{Cluster: "default", Every: 30 * time.Second, First: minutes(20.5), Last: minutes(35), Batches: 30},
		{Cluster: "default", Every: time.Minute, First: minutes(36), Last: minutes(45), Batches: 10},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%.3000s", diff)
	}
	all, err := db.Resolutions(t.Context(), "", T0, T0.Add(24*time.Hour))
	if err != nil || len(all) != 4 || all[3].Cluster != "other" || all[3].Every != 5*time.Minute {
		t.Errorf("of all clusters: %v, %v", all, err)
	}
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: T0, To: T0.Add(24 * time.Hour)}
	w.Facts = append(w.Facts, other.Facts...)
	check(t, db, w, q, metricdb.Grouping{By: []string{"cluster_name"}})
	check(t, db, w, q, metricdb.Grouping{By: []string{"cluster_name"}, Bucket: 15 * time.Minute})
	q.Where = []metricdb.Match{metricdb.Is("cluster_name", "other")}
	check(t, db, w, q, metricdb.Grouping{})
}

func greatIntegers(t *testing.T, db metricdb.DB) {
	w := NewWorld("default")
	great := []int64{1<<53 + 1, math.MaxInt64 - 2, math.MaxInt64, 1<<60 + 7, -(1<<53 + 1)}
	for i, v := range great {
		w.Begin(T0.Add(time.Duration(i+1)*time.Minute), time.Minute)
		w.Set(pod1, metrics.CPUUsage, metricdb.Int(v))
		write(t, db, w)
	}
	q := metricdb.Query{Metric: "cpu/usage", Level: metrics.Pod, From: T0, To: T0.Add(time.Hour)}
	var got []int64
	for p, err := range db.Points(t.Context(), q, 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.Value.Bits)
	}
	slices.Reverse(got)
	if diff := cmp.Diff(great, got); diff != "" {
		t.Errorf("(-want +got):\n%.3000s", diff)
	}
	groups, err := db.Aggregate(t.Context(), q, metricdb.Grouping{})
	if err != nil || len(groups) != 1 {
		t.Fatal(groups, err)
	}
	sum := 0.0
	for _, v := range great {
		sum += float64(v)
	}
	if g := groups[0]; g.Sum.Exact || !close(g.Sum.Number(), sum) || g.Max.Bits != math.MaxInt64 || g.Min.Bits != -(1<<53+1) {
		t.Errorf("%+v; want a sum of about %v that says that it is not exact", g, sum)
	}
	q.To = T0.Add(2 * time.Minute)
	groups, err = db.Aggregate(t.Context(), q, metricdb.Grouping{})
	if err != nil || len(groups) != 1 || groups[0].Sum != (metricdb.Total{Int: 1<<53 + 1, Exact: true}) {
		t.Errorf("%+v, %v; want the sum exactly", groups, err)
	}
}

func againAndLate(t *testing.T, db metricdb.DB) {
	w := NewWorld("default")
	for i := range 90 {
		if i == 30 {
			continue // comes late
		}
		w.Begin(T0.Add(time.Duration(i+1)*time.Minute), time.Minute)
		w.Set(pod1, metrics.CPUUsageRate, metricdb.Int(int64(i)))
		write(t, db, w)
		if i%10 == 0 {
			write(t, db, w)
		}
	}
	late := NewWorld("default")
	late.Begin(T0.Add(31*time.Minute), time.Minute)
	late.Set(pod1, metrics.CPUUsageRate, metricdb.Int(30))
	write(t, db, late)
	w.Facts = append(w.Facts, late.Facts...)
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: T0, To: T0.Add(3 * time.Hour)}
	check(t, db, w, q, metricdb.Grouping{Increase: true, Span: true})
	check(t, db, w, q, metricdb.Grouping{Bucket: 10 * time.Minute})
}

func listings(t *testing.T, db metricdb.DB) {
	small(t, db)
	q := metricdb.Query{Metric: "uptime", Level: metrics.Pod, From: T0.Add(30 * time.Minute), To: T0.Add(90 * time.Minute)}
	f := func(want string, q metricdb.Query, by ...string) {
		t.Helper()
		all, err := db.Tags(t.Context(), q, by...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, tags := range all {
			var values []string
			for _, name := range by {
				values = append(values, tags.Get(name))
			}
			got = append(got, strings.Join(values, "/"))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%v: %q, want %q", by, text, want)
		}
	}
	f("ns-a ns-b ns-c", q, "namespace_name")
	q.Where = []metricdb.Match{metricdb.Is("namespace_name", "ns-b")}
	f("pod-1 pod-4 pod-7", q, "pod_name")
	f("uid-1/pod-1 uid-4/pod-4 uid-7/pod-7", q, "pod_id", "pod_name")
	q.Where = nil
	f("n1", q, "nodename")
	f("", q, "container_name")
	f("", q, "no_such_tag")
	q.From, q.To = T0.Add(41*time.Minute+time.Second), T0.Add(75*time.Minute)
	q.Where = []metricdb.Match{metricdb.Is("namespace_name", "ns-c")}
	f("pod-2 pod-8", q, "pod_name") // pod-5 has its gap
	q.Metric, q.Where = "filesystem/usage", []metricdb.Match{metricdb.Is("pod_name", "pod-1")}
	f("Volume:a,b=c d Volume:data", q, "resource_id")

	names, err := db.Metrics(t.Context(), metricdb.Query{Level: metrics.Pod, From: T0, To: T0.Add(time.Hour)})
	if want := []string{"cpu/usage", "cpu/usage_rate", "filesystem/usage", "network/rx_rate", "uptime"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("metrics of pods: %v, %v; want %v", names, err, want)
	}
	names, err = db.Metrics(t.Context(), metricdb.Query{Level: metrics.Container, From: T0, To: T0.Add(time.Hour), Where: []metricdb.Match{metricdb.Is("pod_name", "pod-3")}})
	if err != nil || !slices.Equal(names, []string{"cpu/usage_rate"}) {
		t.Errorf("metrics of a container: %v, %v", names, err)
	}
	names, err = db.Metrics(t.Context(), metricdb.Query{Level: metrics.Pod, From: T0.Add(-2 * time.Hour), To: T0})
	if err != nil || len(names) != 0 {
		t.Errorf("metrics before the world began: %v, %v", names, err)
	}
}

func records(t *testing.T, db metricdb.DB) {
	tags := func(ns, pod string) metricdb.Tags {
		return metricdb.MakeTags(metrics.Label{Key: "namespace_name", Value: ns}, metrics.Label{Key: "pod_name", Value: pod})
	}
	var all []metricdb.Record
	for hour := range 50 {
		for p := range 6 {
			all = append(all, metricdb.Record{
				Set: "krm/hours", Time: T0.Add(time.Duration(hour) * time.Hour), Tags: tags("ns-"+string(rune('a'+p%2)), "p"+string(rune('0'+p))),
				Fields: []metricdb.Field{{Name: "max", Value: metricdb.Float(float64(hour))}, {Name: "sum", Value: metricdb.Int(int64(hour * p))}},
			})
		}
	}
	if err := db.WriteRecords(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	// One field of one record is replaced.
	fresh := all[7]
	fresh.Fields = []metricdb.Field{{Name: "sum", Value: metricdb.Int(1000)}}
	if err := db.WriteRecords(t.Context(), []metricdb.Record{fresh}); err != nil {
		t.Fatal(err)
	}
	all[7].Fields = []metricdb.Field{all[7].Fields[0], fresh.Fields[0]}
	q := metricdb.RecordQuery{Set: "krm/hours", Fields: []string{"max", "sum"}, From: T0, To: T0.Add(49 * time.Hour)}
	want := all[:len(all)-6]
	slices.SortFunc(want, func(a, b metricdb.Record) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return a.Tags.Compare(b.Tags)
	})
	read := func(q metricdb.RecordQuery) (got []metricdb.Record) {
		t.Helper()
		for r, err := range db.Records(t.Context(), q) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
		}
		return got
	}
	if diff := cmp.Diff(want, read(q)); diff != "" {
		t.Errorf("(-want +got):\n%.3000s", diff)
	}
	groups, err := db.RecordTotals(t.Context(), q, "namespace_name")
	if err != nil {
		t.Fatal(err)
	}
	totals := []metricdb.RecordGroup{{Tags: tags("ns-a", "")}, {Tags: tags("ns-b", "")}}
	for i := range totals {
		max, sum := metricdb.FieldTotals{Name: "max"}, metricdb.FieldTotals{Name: "sum", Sum: metricdb.Total{Exact: true}}
		max.Min, max.Max = metricdb.Float(0), metricdb.Float(48)
		for _, r := range want {
			if r.Tags.Get("namespace_name") == totals[i].Tags.Get("namespace_name") {
				max.Count++
				max.Sum.Float += r.Fields[0].Value.Number()
				sum.Count++
				sum.Sum.Int += r.Fields[1].Value.Bits
				sum.Max.Bits = maxInt(sum.Max.Bits, r.Fields[1].Value.Bits)
			}
		}
		totals[i].Fields = []metricdb.FieldTotals{max, sum}
	}
	if diff := cmp.Diff(totals, groups); diff != "" {
		t.Errorf("totals (-want +got):\n%s", diff)
	}
	q.Want = metricdb.WantSum
	for i := range totals {
		for k := range totals[i].Fields {
			totals[i].Fields[k] = metricdb.FieldTotals{Name: totals[i].Fields[k].Name, Sum: totals[i].Fields[k].Sum}
		}
	}
	if groups, err := db.RecordTotals(t.Context(), q, "namespace_name"); err != nil || cmp.Diff(totals, groups) != "" {
		t.Errorf("only sums: %v\n%s", err, cmp.Diff(totals, groups))
	}
	q.Where = []metricdb.Match{metricdb.Is("pod_name", "p3")}
	if got := read(q); len(got) != 49 {
		t.Errorf("%d records of p3, want 49", len(got))
	}
	q.Set = "krm/nothing"
	if got := read(q); len(got) != 0 {
		t.Errorf("%d records of no set", len(got))
	}
}

func maxInt(a, b int64) int64 { return max(a, b) }

func injection(t *testing.T, db metricdb.DB) {
	w := NewWorld("default")
	var names []string
	taken := map[string]bool{} // some are the same once they are clean
	for _, name := range append(slices.Clone(Hostile), strings.Repeat("x", 10<<10), strings.Repeat(`'"\`, 100)+"x") {
		if clean := metricdb.Clean(name); !taken[clean] {
			taken[clean] = true
			names = append(names, name)
		}
	}
	w.Begin(T0.Add(time.Minute), time.Minute)
	for i, name := range names {
		p := Pod{Namespace: name, Name: name, UID: "uid-" + name, Node: "n1", Labels: "app:" + name}
		w.Set(p, metrics.CPUUsageRate, metricdb.Int(int64(i)+1))
		w.SetVolume(p, "Volume:"+name, metrics.FilesystemUsage, metricdb.Int(int64(i)))
	}
	write(t, db, w)
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: T0, To: T0.Add(time.Hour)}
	for _, name := range names {
		q.Where = []metricdb.Match{metricdb.Is("namespace_name", name), metricdb.Is("pod_name", name)}
		var want []int64
		for _, f := range w.Facts {
			if f.Metric == q.Metric && f.Tags["namespace_name"] == metricdb.Clean(name) {
				want = append(want, f.Value.Bits)
			}
		}
		var got []int64
		for p, err := range db.Points(t.Context(), q, 0) {
			if err != nil {
				t.Fatalf("%q: %v", short(name), err)
			}
			if p.Tags.Get("pod_name") != metricdb.Clean(name) || p.Tags.Get("labels") != metricdb.Clean("app:"+name) {
				t.Errorf("%q came back as %q with %q", short(name), short(p.Tags.Get("pod_name")), short(p.Tags.Get("labels")))
			}
			got = append(got, p.Value.Bits)
		}
		slices.Sort(got)
		slices.Sort(want)
		if len(want) == 0 || !slices.Equal(got, want) {
			t.Errorf("%q has values %v, want %v", short(name), got, want)
		}
		check(t, db, w, q, metricdb.Grouping{By: []string{"namespace_name", "pod_name", "pod_id"}})
	}
	q.Where = nil
	check(t, db, w, q, metricdb.Grouping{By: []string{"namespace_name"}})
	q.Metric = "filesystem/usage"
	check(t, db, w, q, metricdb.Grouping{By: []string{"resource_id"}})
	for _, name := range Hostile {
		if metricdb.ValidName(name) {
			continue
		}
		for what, bad := range map[string]metricdb.Query{
			"metric": {Metric: name, Level: metrics.Pod, From: T0, To: T0.Add(time.Hour)},
			"tag":    {Metric: "uptime", Level: metrics.Pod, From: T0, To: T0.Add(time.Hour), Where: []metricdb.Match{metricdb.Is(name, "x")}},
		} {
			if _, err := db.Aggregate(t.Context(), bad, metricdb.Grouping{}); !errors.Is(err, metricdb.ErrInvalid) {
				t.Errorf("%q as the name of a %s: %v", name, what, err)
			}
		}
		q := metricdb.Query{Metric: "uptime", Level: metrics.Pod, From: T0, To: T0.Add(time.Hour)}
		if _, err := db.Aggregate(t.Context(), q, metricdb.Grouping{By: []string{name}}); !errors.Is(err, metricdb.ErrInvalid) {
			t.Errorf("groups by %q: %v", name, err)
		}
	}
}

func short(text string) string { return text[:min(len(text), 40)] }

func nothing(t *testing.T, db metricdb.DB) {
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: T0, To: T0.Add(time.Hour)}
	if got, err := db.Aggregate(t.Context(), q, metricdb.Grouping{By: []string{"pod_id"}, Increase: true}); err != nil || len(got) != 0 {
		t.Errorf("groups %v, %v", got, err)
	}
	if got, err := db.Aggregate(t.Context(), q, metricdb.Grouping{By: []string{"pod_id"}, Span: true}); err != nil || len(got) != 0 {
		t.Errorf("groups %v, %v", got, err)
	}
	for p, err := range db.Points(t.Context(), q, 10) {
		t.Errorf("point %v, %v", p, err)
	}
	for run, err := range db.Runs(t.Context(), q) {
		t.Errorf("run %v, %v", run, err)
	}
	if got, err := db.Tags(t.Context(), q, "pod_name"); err != nil || len(got) != 0 {
		t.Errorf("tags %v, %v", got, err)
	}
	if got, err := db.Metrics(t.Context(), q); err != nil || len(got) != 0 {
		t.Errorf("metrics %v, %v", got, err)
	}
	if got, err := db.Resolutions(t.Context(), "", T0, T0.Add(time.Hour)); err != nil || len(got) != 0 {
		t.Errorf("resolutions %v, %v", got, err)
	}
	if err := db.Health(t.Context()); err != nil {
		t.Errorf("health: %v", err)
	}
}

func invalid(t *testing.T, db metricdb.DB) {
	good := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: T0, To: T0.Add(time.Hour)}
	f := func(change func(*metricdb.Query, *metricdb.Grouping)) {
		t.Helper()
		q, g := good, metricdb.Grouping{}
		change(&q, &g)
		if _, err := db.Aggregate(t.Context(), q, g); !errors.Is(err, metricdb.ErrInvalid) {
			t.Errorf("%+v %+v: %v", q, g, err)
		}
	}
	f(func(q *metricdb.Query, _ *metricdb.Grouping) { q.Metric = "" })
	f(func(q *metricdb.Query, _ *metricdb.Grouping) { q.To = q.From })
	f(func(q *metricdb.Query, _ *metricdb.Grouping) { q.Level = metrics.Filesystem })
	f(func(_ *metricdb.Query, g *metricdb.Grouping) { g.Percentiles = []float64{101} })
	f(func(_ *metricdb.Query, g *metricdb.Grouping) { g.Percentiles = []float64{math.NaN()} })
	f(func(_ *metricdb.Query, g *metricdb.Grouping) { g.Bucket = -1 })
	f(func(q *metricdb.Query, _ *metricdb.Grouping) {
		q.From, q.To = time.Time{}, time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC)
	})
	f(func(q *metricdb.Query, _ *metricdb.Grouping) {
		q.From, q.To = time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2600, 1, 1, 0, 0, 0, 0, time.UTC)
	})
	long := good
	long.From, long.To = time.Time{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := db.Aggregate(t.Context(), long, metricdb.Grouping{}); err != nil {
		t.Errorf("all of time: %v", err)
	}
	for _, r := range []metricdb.Record{
		{Set: "mine", Time: T0, Fields: []metricdb.Field{{Name: "x"}}},
		{Set: "krm/x", Time: T0},
		{Set: "krm/x", Time: T0, Fields: []metricdb.Field{{Name: `a"b`}}},
		{Set: "krm/x", Fields: []metricdb.Field{{Name: "x"}}},
	} {
		if err := db.WriteRecords(t.Context(), []metricdb.Record{r}); !errors.Is(err, metricdb.ErrInvalid) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
