package rollup

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/embedded"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// TestOnTheEmbeddedDatabase rolls up what real batches brought.
func TestOnTheEmbeddedDatabase(t *testing.T) {
	now := dbtest.T0.Add(4 * time.Hour)
	db, err := embedded.Open(embedded.Options{Dir: t.TempDir(), Now: func() time.Time { return now }}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	onDatabase(t, db, now)
}

// onDatabase rolls up what batches bring, and compares answers.
func onDatabase(t *testing.T, db metricdb.DB, now time.Time) {
	t.Helper()
	begin := dbtest.T0
	world := dbtest.NewWorld("one")
	pod := dbtest.Pod{Namespace: "ns", Name: "web", UID: "u1", Node: "n1", Labels: "app:web"}
	for i := range 200 {
		if i == 90 { // the name is used again
			pod.UID = "u2"
		}
		world.Begin(begin.Add(time.Duration(i)*time.Minute), time.Minute)
		world.Set(pod, metrics.CPUUsageRate, metricdb.Int(int64(i)))
		world.Set(pod, metrics.NetworkRx, metricdb.Int(int64(100*(i%50))))
		world.SetVolume(pod, "Volume:data", metrics.FilesystemUsage, metricdb.Int(5))
		world.SetGPUs(pod, int64(i), 20, 3)
		if err := db.Write(t.Context(), world.Batch()); err != nil {
			t.Fatal(err)
		}
	}
	pass(t, engineAt(db, now, Default()...))
	node := metricdb.Query{
		Metric: "gpu/usage", Level: metrics.Node, From: begin, To: begin.Add(3 * time.Hour), Where: metricdb.SumsOnly("gpu/usage"),
	}
	if p := planOf(t, db, node, metricdb.Grouping{}); len(p.parts) != 1 || p.parts[0].span == 0 {
		t.Errorf("a node's sums are not read from roll-ups: %+v", p)
	}
	if got, _, err := Answer(t.Context(), db, node, metricdb.Grouping{}); err != nil || len(got) != 1 || got[0].Count != 180 || got[0].Sum.Int != 180*23+179*180/2 {
		t.Errorf("a node's sums, without the rows of its devices: %+v, %v", got, err)
	}
	for _, metric := range []string{"cpu/usage_rate", "network/rx", "filesystem/usage"} {
		q := metricdb.Query{Metric: metric, Level: metrics.Pod, From: begin.Add(7 * time.Minute), To: begin.Add(3*time.Hour + 5*time.Minute)}
		for _, g := range []metricdb.Grouping{
			{By: []string{"pod_id"}, Increase: metric == "network/rx", Span: true},
			{By: []string{"namespace_name", "resource_id"}, Bucket: time.Hour},
		} {
			want, err := db.Aggregate(t.Context(), q, g)
			if err != nil {
				t.Fatal(err)
			}
			got, cover, err := Answer(t.Context(), db, q, g)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(want, got, cmpopts.IgnoreFields(metricdb.Group{}, "Sets"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s %+v (-samples +answer):\n%s", metric, g, diff)
			}
			if cover.Samples != 178 || cover.Expected != 178 {
				t.Errorf("%s: coverage %+v", metric, cover)
			}
		}
		if p := planOf(t, db, q, metricdb.Grouping{}); len(p.parts) != 3 {
			t.Errorf("%s: %+v", metric, p)
		}
	}
}

// TestDaysOnTheEmbeddedDatabase rolls up days of what real batches brought.
func TestDaysOnTheEmbeddedDatabase(t *testing.T) {
	now := floorDay(dbtest.T0).Add(3 * day)
	db, err := embedded.Open(embedded.Options{Dir: t.TempDir(), Now: func() time.Time { return now }}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	daysOnDatabase(t, db, now)
}

// daysOnDatabase rolls up two days, of which the second gets a late batch, and compares answers.
func daysOnDatabase(t *testing.T, db metricdb.DB, now time.Time) {
	t.Helper()
	begin := floorDay(dbtest.T0)
	world := dbtest.NewWorld("one")
	pods := []dbtest.Pod{{Namespace: "ns", Name: "web", UID: "u1", Node: "n1", Labels: "app:web"}, {Namespace: "ns", Name: "db", UID: "u2", Node: "n1"}}
	write := func(i int) {
		world.Begin(begin.Add(time.Duration(i)*30*time.Minute), 30*time.Minute)
		if i >= 60 { // labels are changed
			pods[0].Labels = "app:web,tier:front"
		}
		for k, pod := range pods {
			world.Set(pod, metrics.CPUUsageRate, metricdb.Int(int64(i*(k+1))))
			world.Set(pod, metrics.CPURequest, metricdb.Int(70))
			world.Set(pod, metrics.NetworkRx, metricdb.Int(int64(100*(i%37))))
		}
		if err := db.Write(t.Context(), world.Batch()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		if i != 71 {
			write(i)
		}
	}
	pass(t, engineAt(db, now, rolledInTests()...))
	late := false
	compare := func(want ...time.Duration) {
		t.Helper()
		for _, metric := range []string{"cpu/usage_rate", "network/rx"} {
			q := metricdb.Query{Metric: metric, Level: metrics.Pod, From: begin.Add(-hour), To: begin.Add(49*hour + 40*time.Minute)}
			for _, by := range [][]string{{"pod_id", "namespace_name"}, {"labels"}} {
				g := metricdb.Grouping{By: by, Increase: metric == "network/rx", Span: true}
				samples, err := db.Aggregate(t.Context(), q, g)
				if err != nil {
					t.Fatal(err)
				}
				got, _, err := Answer(t.Context(), db, q, g)
				if err != nil {
					t.Fatal(err)
				}
				if diff := gocmp.Diff(samples, got, cmpopts.IgnoreFields(metricdb.Group{}, "Sets"), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s %+v (-samples +answer):\n%s", metric, g, diff)
				}
				wantSpans(t, planOf(t, db, q, g).parts, want...)
			}
		}
		q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: begin, To: begin.Add(48 * hour)}
		billed, err := Billed(t.Context(), db, q, "pod_name")
		if err != nil {
			t.Fatal(err)
		}
		sums := map[string]int64{}
		for i := range 96 {
			if i != 71 || late {
				sums["web"] += max(70, int64(i))
				sums["db"] += max(70, int64(2*i))
			}
		}
		for _, g := range billed {
			if name := g.Tags.Get("pod_name"); sums[name] != g.Sum.Int {
				t.Errorf("billed of %s: %d, want %d", name, g.Sum.Int, sums[name])
			}
		}
	}
	compare(0, day, hour, 0)
	write(71)
	late = true
	compare(0, day, hour, 0, hour, 0)
	pass(t, engineAt(db, now, rolledInTests()...))
	compare(0, day, hour, 0)
}
