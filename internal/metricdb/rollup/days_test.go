package rollup

import (
	"errors"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// twoPods writes half-hourly batches of two pods for [from, to): what they used, and
// what they received in all.
func twoPods(db *dbtest.Memory, from, to time.Time) {
	for at := from; at.Before(to); at = at.Add(30 * time.Minute) {
		twoPodsAt(db, at, 0)
	}
}

func twoPodsAt(db *dbtest.Memory, at time.Time, shard int) {
	db.Batch("one", at, 30*time.Minute, shard)
	for _, name := range []string{"a", "b"} {
		is := podTags("one", "ns", name, "uid-"+name, "")
		db.Put("cpu/usage_rate", metrics.Pod, at, at.Unix()/60%1000, is)
		db.Put("network/rx", metrics.Pod, at, at.Sub(t0).Milliseconds()%(20*hour).Milliseconds(), is) // begins anew after 20 h
	}
}

var ofPodsInTests = []Rolled{cpuOfPods, {"network/rx", []metrics.Kind{metrics.Pod}}}

// same compares answers with samples, and returns the parts that they came from.
func same(t *testing.T, db *dbtest.Memory, from, to time.Time) (parts []part) {
	t.Helper()
	for _, metric := range []string{"cpu/usage_rate", "network/rx"} {
		q := metricdb.Query{Metric: metric, Level: metrics.Pod, From: from, To: to}
		g := metricdb.Grouping{By: []string{"pod_name"}, Increase: metric == "network/rx", Span: true}
		want, err := db.Aggregate(t.Context(), q, g)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := Answer(t.Context(), db, q, g)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, got, cmpopts.IgnoreFields(metricdb.Group{}, "Sets")); diff != "" {
			t.Fatalf("%s in [%v, %v) (-samples +answer):\n%s", metric, from, to, diff)
		}
		parts = planOf(t, db, q, g).parts
	}
	return parts
}

// spansOf are the sizes of what parts are of, in order; 0: samples.
func spansOf(parts []part) (spans []time.Duration) {
	for _, p := range parts {
		spans = append(spans, p.span)
	}
	return spans
}

func wantSpans(t *testing.T, parts []part, want ...time.Duration) {
	t.Helper()
	if diff := gocmp.Diff(want, spansOf(parts)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
}

// zurich is a day of Zurich in winter.
func zurich() (from, to time.Time) { return t0.Add(-hour), t0.Add(23 * hour) }

func TestDaysAreMadeOfHours(t *testing.T) {
	db := dbtest.NewMemory()
	twoPods(db, t0.Add(-2*hour), t0.Add(50*hour))
	pass(t, engineAt(db, t0.Add(24*hour+2*time.Minute), ofPodsInTests...))
	equal(t, of(db, RolledDaysSet, "batches"), "00:00 batches=4", "00:00 batches=4") // the day before, which the clusters' samples begin in
	pass(t, engineAt(db, t0.Add(24*hour+3*time.Minute), ofPodsInTests...))
	equal(t, of(db, DaysSet, "batches", "windows", "expected", "late"), "00:00 batches=4 windows=4 expected=4 late=0", "00:00 batches=48 windows=48 expected=48 late=0")
	equal(t, of(db, DaySet, "count.1800", "ends", "late"), "00:00 count.1800=4", "00:00 count.1800=4", "00:00 count.1800=4 ends=3", "00:00 count.1800=4 ends=3",
		"00:00 count.1800=48", "00:00 count.1800=48", "00:00 count.1800=48 ends=3", "00:00 count.1800=48 ends=3")
	e := engineAt(db, t0.Add(50*hour), ofPodsInTests...)
	pass(t, e)
	writes := db.Writes
	pass(t, e)
	pass(t, engineAt(db, t0.Add(50*hour), ofPodsInTests...))
	if db.Writes != writes {
		t.Errorf("%d records were written though nothing changed", db.Writes-writes)
	}
	wantSpans(t, same(t, db, t0, t0.Add(48*hour)), day)
	wantSpans(t, same(t, db, t0.Add(-time.Hour), t0.Add(49*hour+10*time.Minute)), hour, day, hour, 0)
	from, to := zurich()
	wantSpans(t, same(t, db, from, to), hour)
}

func TestLateBatchesOfADay(t *testing.T) {
	db := dbtest.NewMemory()
	twoPods(db, t0, t0.Add(72*hour))
	e := engineAt(db, t0.Add(73*hour), ofPodsInTests...)
	pass(t, e)
	wantSpans(t, same(t, db, t0, t0.Add(72*hour)), day)
	twoPodsAt(db, t0.Add(30*hour+10*time.Minute), 1)
	wantSpans(t, same(t, db, t0, t0.Add(72*hour)), day, hour, 0, hour, day) // the day's hours, and the hour's samples
	_, cover, err := Answer(t.Context(), db, metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: t0, To: t0.Add(72 * hour)}, metricdb.Grouping{})
	if err != nil || cover.Complete || cover.Late != 1 {
		t.Errorf("%+v %v", cover, err)
	}
	pass(t, e)
	wantSpans(t, same(t, db, t0, t0.Add(72*hour)), day)
	equal(t, of(db, RolledDaysSet, "late"), "00:00 late=0", "00:00 late=0", "00:00 late=1", "00:00 late=1", "00:00 late=0", "00:00 late=0")
	equal(t, of(db, DaysSet, "batches", "late"), "00:00 batches=48 late=0", "00:00 batches=49 late=1", "00:00 batches=48 late=0")
	_, cover, err = Answer(t.Context(), db, metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: t0, To: t0.Add(72 * hour)}, metricdb.Grouping{})
	if err != nil || !cover.Complete || cover.Late != 1 {
		t.Errorf("%+v %v", cover, err)
	}
}

// TestStoppedEngineOfDays is TestStoppedEngine with days: one is new, and one is mended.
func TestStoppedEngineOfDays(t *testing.T) {
	stop := errors.New("stop")
	now := t0.Add(48*hour + 3*time.Minute)
	for last := range 1000 {
		db := dbtest.NewMemory()
		twoPods(db, t0, t0.Add(47*hour))
		pass(t, engineAt(db, now.Add(-hour), ofPodsInTests...))
		twoPods(db, t0.Add(47*hour), t0.Add(48*hour))
		twoPodsAt(db, t0.Add(5*hour+10*time.Minute), 1)
		n := 0
		db.Fail = func([]metricdb.Record) error {
			if n++; n > last {
				return stop
			}
			return nil
		}
		err := engineAt(db, now, ofPodsInTests...).Pass(t.Context())
		db.Fail = nil
		same(t, db, t0, t0.Add(48*hour))
		pass(t, engineAt(db, now, ofPodsInTests...))
		wantSpans(t, same(t, db, t0, t0.Add(48*hour)), day)
		if t.Failed() {
			t.Fatalf("after %d writes", last)
		}
		if err == nil {
			return
		}
	}
	t.Error("the engine never came to its end")
}

// TestEnginesThatMeet: before any of one engine's writes, a late batch comes, and
// another engine does all that there is to do.
func TestEnginesThatMeet(t *testing.T) {
	now := t0.Add(24*hour + 3*time.Minute)
	for at := range 1000 {
		for _, killed := range []bool{false, true} {
			db := dbtest.NewMemory()
			twoPods(db, t0.Add(21*hour), t0.Add(24*hour))
			n, met := 0, false
			db.Fail = func([]metricdb.Record) error {
				switch n++; {
				case n == at+1:
					n, met = 1<<30, true
					twoPodsAt(db, t0.Add(22*hour+10*time.Minute), 1)
					pass(t, engineAt(db, now, ofPodsInTests...))
					n = at + 1
				case killed && n == at+2:
					return errors.New("killed")
				}
				return nil
			}
			first := engineAt(db, now, ofPodsInTests...)
			if err := first.Pass(t.Context()); err != nil && !killed {
				t.Fatal(err)
			}
			db.Fail = nil
			same(t, db, t0, t0.Add(24*hour))
			pass(t, engineAt(db, now, ofPodsInTests...))
			wantSpans(t, same(t, db, t0, t0.Add(24*hour)), day)
			if t.Failed() {
				t.Fatalf("met at write %d, killed after: %v", at, killed)
			}
			if !met {
				return
			}
		}
	}
	t.Error("the engine never came to its end")
}

// TestClockThatIsSet: the engine's clock goes an hour ahead and back, at the end of a day.
func TestClockThatIsSet(t *testing.T) {
	db := dbtest.NewMemory()
	wrong := time.Duration(0)
	var now time.Time
	e := New(db, Options{Rolled: ofPodsInTests, Now: func() time.Time { return now.Add(wrong) }}, quiet())
	twoPods(db, t0, t0.Add(22*hour))
	for minute := range 5 * 60 {
		now = t0.Add(22*hour + time.Duration(minute)*time.Minute)
		wrong = []time.Duration{0, time.Hour, -time.Hour, 0, 25 * time.Hour, -25 * time.Hour}[minute/7%6]
		if minute%30 == 0 {
			twoPodsAt(db, now, 0)
		}
		pass(t, e)
		if minute%5 == 0 {
			same(t, db, t0.Add(-hour), t0.Add(27*hour))
		}
	}
	wrong, now = 0, now.Add(hour)
	pass(t, e)
	wantSpans(t, same(t, db, t0, t0.Add(26*hour)), day, hour)
}

// TestClusterWithoutRollUps: samples of a cluster that nobody rolls up count, too.
func TestClusterWithoutRollUps(t *testing.T) {
	db := dbtest.NewMemory()
	twoPods(db, t0, t0.Add(24*hour))
	pass(t, engineAt(db, t0.Add(25*hour), ofPodsInTests...))
	db.Put("cpu/usage_rate", metrics.Pod, t0.Add(hour), 7, podTags("two", "ns", "a", "uid", ""))
	db.Put("network/rx", metrics.Pod, t0.Add(-time.Minute), 7, podTags("two", "ns", "a", "uid", ""))
	db.Put("network/rx", metrics.Pod, t0.Add(hour), 9, podTags("two", "ns", "a", "uid", ""))
	wantSpans(t, same(t, db, t0, t0.Add(24*hour)), day, 0)
}

// TestDayOfUnsettledHours: a day is not made of hours that are just being written.
func TestDayOfUnsettledHours(t *testing.T) {
	db := dbtest.NewMemory()
	twoPods(db, t0, t0.Add(24*hour))
	e := engineAt(db, t0.Add(25*hour), ofPodsInTests...)
	pass(t, e)
	db.Drop(DaySet)
	db.Drop(RolledDaysSet)
	db.Drop(DaysSet)
	open := rolledSeal{seal: seal{-1, -1}, every: []time.Duration{30 * time.Minute}}
	half := closedSpan{hourBatches: hourBatches{seal: seal{1, 1}}}
	if err := db.WriteRecords(t.Context(), []metricdb.Record{open.record(hour, "one", e.pairs[0], t0.Add(3*hour)), half.record(HoursSet, "one", t0)}); err != nil {
		t.Fatal(err)
	}
	batches, err := hourSeals(t.Context(), db, nil, t0, t0.Add(24*hour))
	if err != nil {
		t.Fatal(err)
	}
	if done, err := e.closeDays(t.Context(), "one", t0, t0.Add(24*hour), batches); err != nil || !done {
		t.Fatal(done, err)
	}
	equal(t, of(db, RolledDaysSet, "batches"), "00:00 batches=48") // of the other metric
	equal(t, of(db, DaysSet, "batches"))
}

// TestClusterThatWasTakenDown: its days stay, and what came after is complete without it.
func TestClusterThatWasTakenDown(t *testing.T) {
	db := dbtest.NewMemory()
	db.Batch("two", t0.Add(hour), 30*time.Minute, 0)
	db.Put("cpu/usage_rate", metrics.Pod, t0.Add(hour), 7, podTags("two", "ns", "a", "uid", ""))
	twoPods(db, t0, t0.Add(96*hour))
	for after, back := range map[time.Duration]time.Duration{49 * hour: 49 * hour, 73 * hour: hour, 97 * hour: hour} {
		pass(t, New(db, Options{Rolled: ofPodsInTests, LateFor: hour, Backfill: back, Now: func() time.Time { return t0.Add(after) }}, quiet()))
	}
	wantSpans(t, same(t, db, t0, t0.Add(96*hour)), day, day, 0)
	for to, complete := range map[time.Duration]bool{96 * hour: true, 96*hour + time.Minute: false} {
		v, err := Open(t.Context(), db, t0, t0.Add(to))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Complete(t.Context()); got != complete || err != nil {
			t.Errorf("until %v: complete %v, %v", to, got, err)
		}
	}
}

// TestOneReadingForAReport: what questions have in common is read once.
func TestOneReadingForAReport(t *testing.T) {
	db := dbtest.NewMemory()
	twoPods(db, t0, t0.Add(75*hour))
	var rolled []Rolled
	for _, p := range monthly {
		rolled = append(rolled, Rolled{p.metric, []metrics.Kind{p.level}})
	}
	pass(t, engineAt(db, t0.Add(76*hour), rolled...))
	watched := &watchedDB{DB: db, took: map[string]time.Duration{}, calls: map[string]int{}}
	if err := report(t.Context(), watched, t0.Add(-hour), t0.Add(74*hour)); err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]int{"records krm/day": 8, "records krm/hour": 8, "records krm/rolled.days": 8, "totals krm/batches": 2, "resolutions": 1, "records krm/days": 1} {
		if watched.calls[what] != want {
			t.Errorf("%s: %d times, want %d", what, watched.calls[what], want)
		}
	}
}
