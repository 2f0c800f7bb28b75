package rollup

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

var cpuOfPods = Rolled{"cpu/usage_rate", []metrics.Kind{metrics.Pod}}

// fill writes batches of one pod for [from, to), all values v.
func fill(db *dbtest.Memory, from, to time.Time, v int64) {
	for at := from; at.Before(to); at = at.Add(time.Minute) {
		db.Batch("one", at, time.Minute, 0)
		db.Put("cpu/usage_rate", metrics.Pod, at, v, podTags("one", "ns", "a", "uid", ""))
	}
}

// of returns the records of a set as text: hour and fields.
func of(db *dbtest.Memory, set string, fields ...string) (lines []string) {
	for r := range db.Records(context.Background(), metricdb.RecordQuery{Set: set, Fields: fields, From: time.Unix(0, 0), To: t0.Add(24000 * hour)}) {
		line := r.Time.Format("15:04")
		for _, field := range r.Fields {
			line += " " + field.Name + "=" + field.Value.String()
		}
		lines = append(lines, line)
	}
	return lines
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHoursAreClosedAfterTheirGrace(t *testing.T) {
	db := dbtest.NewMemory()
	fill(db, t0, t0.Add(90*time.Minute), 10)
	pass(t, engineAt(db, t0.Add(62*time.Minute), cpuOfPods))
	equal(t, of(db, HourSet, "sum.60"))
	pass(t, engineAt(db, t0.Add(63*time.Minute), cpuOfPods))
	equal(t, of(db, HourSet, "sum.60", "count.60", "max", "min", "billed.60", "late"), "00:00 sum.60=600 count.60=60 max=10 min=10 billed.60=600")
	equal(t, of(db, HoursSet, "windows", "expected", "late"), "00:00 windows=60 expected=60 late=0")
	fill(db, t0.Add(3*time.Hour), t0.Add(200*time.Minute), 10) // 30 minutes and an hour without batches
	e := engineAt(db, t0.Add(5*time.Hour), cpuOfPods)
	pass(t, e)
	equal(t, of(db, HoursSet, "windows", "expected"), "00:00 windows=60 expected=60", "01:00 windows=30 expected=60",
		"02:00 windows=0 expected=60", "03:00 windows=20 expected=60")
	writes := db.Writes
	pass(t, e)
	pass(t, engineAt(db, t0.Add(5*time.Hour), cpuOfPods)) // another one
	if db.Writes != writes {
		t.Errorf("%d records were written though nothing changed", db.Writes-writes)
	}
}

func TestLateBatchesAreFoldedIn(t *testing.T) {
	db := dbtest.NewMemory()
	fill(db, t0, t0.Add(50*time.Minute), 10)
	db.Put("cpu/usage_rate", metrics.Pod, t0, 3, podTags("one", "ns", "b", "other", ""))
	e := engineAt(db, t0.Add(2*time.Hour), cpuOfPods)
	pass(t, e)
	fill(db, t0.Add(50*time.Minute), t0.Add(time.Hour), 20)
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: t0, To: t0.Add(time.Hour)}
	ask := func(complete bool, late int64) {
		t.Helper()
		groups, cover, err := Answer(t.Context(), db, q, metricdb.Grouping{})
		if err != nil || groups[0].Sum.Int != 703 || cover.Complete != complete || cover.Late != late || cover.Samples != 61 {
			t.Errorf("%+v %+v %v", groups, cover, err)
		}
	}
	ask(false, 1) // not folded in yet, and right
	pass(t, e)
	equal(t, of(db, HourSet, "count.60", "late"), "00:00 count.60=1", "00:00 count.60=60 late=1")
	equal(t, of(db, HoursSet, "windows", "late"), "00:00 windows=60 late=1")
	ask(true, 1)
}

// TestStoppedEngine: whatever write is the last one before the end, what is answered is
// right, and the next engine goes on.
func TestStoppedEngine(t *testing.T) {
	stop := errors.New("stop")
	for last := range 40 {
		db := dbtest.NewMemory()
		fill(db, t0, t0.Add(110*time.Minute), 10)
		pass(t, engineAt(db, t0.Add(63*time.Minute), cpuOfPods))
		fill(db, t0.Add(110*time.Minute), t0.Add(3*time.Hour), 7)
		db.Batch("one", t0.Add(30*time.Minute), time.Minute, 1) // late, of another shard
		db.Put("cpu/usage_rate", metrics.Pod, t0.Add(30*time.Minute), 5, podTags("one", "ns", "b", "other", ""))
		n := 0
		db.Fail = func([]metricdb.Record) error {
			if n++; n > last {
				return stop
			}
			return nil
		}
		err := engineAt(db, t0.Add(4*time.Hour), cpuOfPods).Pass(t.Context())
		db.Fail = nil
		for range 2 {
			groups, _, fault := Answer(t.Context(), db, metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: t0, To: t0.Add(3 * time.Hour)}, metricdb.Grouping{})
			if fault != nil || groups[0].Sum.Int != 110*10+70*7+5 {
				t.Fatalf("after %d writes: %+v %v", last, groups, fault)
			}
			pass(t, engineAt(db, t0.Add(4*time.Hour), cpuOfPods))
		}
		if err == nil {
			return
		}
	}
	t.Error("the engine never came to its end")
}

func TestCoverage(t *testing.T) {
	db := dbtest.NewMemory()
	fill(db, t0, t0.Add(40*time.Minute), 10)
	for at := t0.Add(50 * time.Minute); at.Before(t0.Add(2 * time.Hour)); at = at.Add(time.Minute) { // a gap of 10
		db.Batch("one", at, time.Minute, 0)
	}
	life := lifetime.Life{
		Tags: lifetime.Tags("one", "ns", "a", "uid", "n", ""), Created: t0.Add(-time.Hour), Scheduled: t0.Add(-time.Hour),
		Started: t0.Add(-time.Hour), Finished: t0.Add(90 * time.Minute), Deleted: t0.Add(100 * time.Minute), CPU: 100,
	}
	short := lifetime.Life{
		Tags: lifetime.Tags("one", "ns", "short", "short", "n", ""), Created: t0.Add(61 * time.Minute), Scheduled: t0.Add(61 * time.Minute),
		Started: t0.Add(62 * time.Minute), Deleted: t0.Add(65 * time.Minute),
	}
	if err := db.WriteRecords(t.Context(), append(life.Records(), short.Records()...)); err != nil {
		t.Fatal(err)
	}
	pass(t, engineAt(db, t0.Add(3*time.Hour), cpuOfPods))
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: t0.Add(10 * time.Minute), To: t0.Add(2 * time.Hour)}
	_, cover, err := Answer(t.Context(), db, q, metricdb.Grouping{By: []string{"pod_name"}})
	if err != nil {
		t.Fatal(err)
	}
	want := Coverage{
		Cover: Cover{30, 80 + 3}, Each: []Cover{{30, 80}}, Every: []time.Duration{time.Minute}, Complete: true,
	}
	if diff := cmp.Diff(want, cover); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	lives, err := lifetime.Pods(t.Context(), db, t0.Add(62*time.Minute), t0.Add(95*time.Minute))
	if err != nil || len(lives) != 2 || lives[0].Held(t0, t0.Add(2*time.Hour), t0) != 90*time.Minute || lives[1].Held(t0, t0.Add(64*time.Minute), t0) != 3*time.Minute {
		t.Errorf("%+v %v", lives, err)
	}
}

func TestRefusals(t *testing.T) {
	db := dbtest.NewMemory()
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Namespace, From: t0, To: t0.Add(time.Hour)}
	if _, err := Billed(t.Context(), db, q); !errors.Is(err, metricdb.ErrInvalid) {
		t.Errorf("billed of namespaces: %v", err)
	}
	q.Metric = "a'b"
	if _, _, err := Answer(t.Context(), db, q, metricdb.Grouping{}); !errors.Is(err, metricdb.ErrInvalid) || !strings.Contains(err.Error(), "a'b") {
		t.Errorf("a metric that cannot be: %v", err)
	}
}

// BenchmarkHour rolls up an hour of 1000 pods, 2 metrics, 120 samples each.
func BenchmarkHour(b *testing.B) {
	db := dbtest.NewMemory()
	for i := range 120 {
		at := t0.Add(time.Duration(i) * 30 * time.Second)
		db.Batch("one", at, 30*time.Second, 0)
	}
	runs := &manyRuns{Memory: db}
	line, err := db.Resolutions(b.Context(), "one", t0, t0.Add(hour))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, metric := range []string{"cpu/usage_rate", "network/rx"} {
			cells, err := roll(b.Context(), runs, "one", pair{metric, metrics.Pod}, t0, line)
			if err != nil || len(cells) != 1000 || cells[0].count != 120 {
				b.Fatal(err, len(cells))
			}
			for _, c := range cells {
				c.record(metric, hour, t0)
			}
		}
	}
}
