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
		if err := db.Write(t.Context(), world.Batch()); err != nil {
			t.Fatal(err)
		}
	}
	pass(t, engineAt(db, now, Default()...))
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
		if p, err := makePlan(t.Context(), db, q); err != nil || len(p.parts) != 4 {
			t.Errorf("%s: %+v %v", metric, p, err)
		}
	}
}
