package embedded

import (
	"fmt"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// inFile counts the series in the file.
func inFile(t *testing.T, s *Store) (n int) {
	t.Helper()
	if err := s.db.View(func(tx *bbolt.Tx) error { n = tx.Bucket(bucketSeries).Stats().KeyN; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// values returns what a pod's name has of samples, by time.
func values(t *testing.T, s *Store, pod string) map[time.Time]int64 {
	t.Helper()
	q := metricdb.Query{
		Metric: "cpu/usage_rate", Level: metrics.Pod, From: dbtest.T0.Add(-time.Hour), To: dbtest.T0.Add(1000 * 24 * time.Hour),
		Where: []metricdb.Match{metricdb.Is(metricdb.TagPod, pod)},
	}
	got := map[time.Time]int64{}
	for p, err := range s.Points(t.Context(), q, 0) {
		if err != nil {
			t.Fatal(err)
		}
		got[p.Time] = p.Value.Bits
	}
	return got
}

// TestSweep: of pods that came and went only those are known that still have samples or
// records, in memory and in the file, and one that comes back is as it was.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	c := &clock{now: dbtest.T0}
	options := Options{Dir: dir, Retention: 24 * time.Hour, Now: c.Now}
	s := open(t, options)
	w := dbtest.NewWorld("default")
	steady := dbtest.Pod{Namespace: "ns", Name: "steady", UID: "u", Node: "n1"}
	highest := uint64(0)
	for hour := range 24 * 6 {
		c.now = dbtest.T0.Add(time.Duration(hour) * time.Hour)
		w.Begin(c.now, time.Hour)
		w.Set(steady, metrics.CPUUsageRate, metricdb.Int(int64(hour)))
		pod := dbtest.Pod{Namespace: "ns", Name: fmt.Sprint("short-", hour), UID: fmt.Sprint("u", hour), Node: "n1"}
		if hour%24 == 7 {
			pod = dbtest.Pod{Namespace: "ns", Name: "daily", UID: "d", Node: "n1", Labels: fmt.Sprint("run:", hour/72)}
		}
		if hour < 24 || hour%24 != 7 || hour/24 == 5 {
			w.Set(pod, metrics.CPUUsageRate, metricdb.Int(int64(hour)))
		}
		if err := s.Write(t.Context(), w.Batch()); err != nil {
			t.Fatal(err)
		}
		if hour == 30 || hour == 100 {
			record := metricdb.Record{
				Set: "krm/test", Time: c.now, Tags: metricdb.MakeTags(metrics.Label{Key: "pod_name", Value: fmt.Sprint("short-", hour)}),
				Fields: []metricdb.Field{{Name: "x", Value: metricdb.Int(int64(hour))}},
			}
			if err := s.WriteRecords(t.Context(), []metricdb.Record{record}); err != nil {
				t.Fatal(err)
			}
		}
		maintain(t, s)
		if s.book.next <= highest {
			t.Fatalf("an id was given again: next is %d, %d was given", s.book.next, highest)
		}
		highest = s.book.next - 1
		if hour == 50 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s = open(t, options); s.book.next != highest+1 {
				t.Fatalf("after reopening the next id is %d, want %d", s.book.next, highest+1)
			}
		}
	}
	// A day's pods, up to two days more between sweeps, the steady one, batches, records.
	if n := len(s.book.all); n > 24+25+10 || n < 24 || inFile(t, s) != n {
		t.Errorf("%d series in memory, %d in the file; want about 50", n, inFile(t, s))
	}
	if got := values(t, s, "daily"); len(got) != 1 || got[dbtest.T0.Add(127*time.Hour)] != 127 {
		t.Errorf("a pod that came back has %v", got)
	}
	if got := values(t, s, "steady"); len(got) < 24 {
		t.Errorf("the steady pod has %d samples", len(got))
	}
	q := metricdb.RecordQuery{Set: "krm/test", Fields: []string{"x"}, From: dbtest.T0, To: c.now}
	groups, err := s.RecordTotals(t.Context(), q, "pod_name")
	if err != nil || len(groups) != 2 || groups[0].Fields[0].Sum.Int != 100 || groups[1].Fields[0].Sum.Int != 30 {
		t.Errorf("records: %+v, %v", groups, err)
	}
}

// TestSweepMeetsWrites: a series that is written again while it is being swept keeps
// its id, or gets a new one: its samples are there in either case.
func TestSweepMeetsWrites(t *testing.T) {
	c := &clock{now: dbtest.T0}
	s := open(t, Options{Retention: 24 * time.Hour, Now: c.Now})
	w := dbtest.NewWorld("default")
	put := func(names ...string) {
		t.Helper()
		w.Begin(c.now, time.Minute)
		for i, name := range names {
			w.Set(dbtest.Pod{Namespace: "ns", Name: name, UID: name, Node: "n1"}, metrics.CPUUsageRate, metricdb.Int(int64(i)+1))
		}
		if err := s.Write(t.Context(), w.Batch()); err != nil {
			t.Fatal(err)
		}
	}
	put("a", "b")
	for range 60 {
		c.now = c.now.Add(time.Hour)
		put("other")
		s.removed = false // no sweep yet
		maintain(t, s)
	}
	used, sequence, err := s.used(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.now = c.now.Add(time.Minute)
	put("a") // between the two steps of a sweep
	if done, _, err := s.forget(used, sequence); !done || err != nil {
		t.Fatal(done, err)
	}
	if one := s.book.find(series0(t, s, "a")); one == nil {
		t.Error("a series in use was forgotten")
	}
	c.now = c.now.Add(time.Minute)
	put("a", "b")
	if got := values(t, s, "a"); len(got) != 2 {
		t.Errorf("a has %v, want two samples", got)
	}
	if got := values(t, s, "b"); len(got) != 1 || got[c.now] != 2 {
		t.Errorf("b has %v, want one sample", got)
	}
	if got := values(t, s, "other"); len(got) < 20 {
		t.Errorf("other has %d samples", len(got))
	}
}

// series0 returns the tags of a pod as they are stored, from its newest sample.
func series0(t *testing.T, s *Store, pod string) metricdb.Tags {
	t.Helper()
	q := metricdb.Query{
		Metric: "cpu/usage_rate", Level: metrics.Pod, From: dbtest.T0.Add(-time.Hour), To: dbtest.T0.Add(1000 * 24 * time.Hour),
		Where: []metricdb.Match{metricdb.Is(metricdb.TagPod, pod)},
	}
	for p, err := range s.Points(t.Context(), q, 1) {
		if err != nil {
			t.Fatal(err)
		}
		return p.Tags
	}
	t.Fatalf("%s has no samples", pod)
	return nil
}

// TestSweepForgetsPlaces: a pod that kept its row in the batches all the time, and comes back
// after its series was swept, has its samples; and no id is given twice, also after reopening.
func TestSweepForgetsPlaces(t *testing.T) {
	c := &clock{now: dbtest.T0}
	options := Options{Dir: t.TempDir(), Retention: 24 * time.Hour, Now: c.Now}
	s := open(t, options)
	ledger := metrics.NewLedger(10000 * time.Hour)
	put := func(names ...string) {
		t.Helper()
		b := ledger.Begin("default", c.now, time.Hour)
		for _, name := range names {
			ns := b.Row(metrics.Namespace, metrics.Ref{}, "ns")
			row := b.Row(metrics.Pod, metrics.Ref{Kind: metrics.Namespace, Row: ns}, name)
			b.Tables[metrics.Pod].Set(metrics.CPUUsageRate, row, 7)
		}
		if err := s.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	put("steady")
	put("steady", "sleeper")
	last := s.book.next
	for range 60 {
		c.now = c.now.Add(time.Hour)
		put("steady")
		maintain(t, s)
	}
	if n := len(s.book.all); n != 2 {
		t.Fatalf("%d series, want the steady pod's and that of batches", n)
	}
	put("steady", "sleeper")
	if got := values(t, s, "sleeper"); len(got) != 1 || got[c.now] != 7 {
		t.Errorf("who comes back has %v", got)
	}
	if s.book.next != last+1 {
		t.Errorf("the next id is %d, want %d", s.book.next, last+1)
	}
	for range 60 {
		c.now = c.now.Add(time.Hour)
		put("steady")
		maintain(t, s)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s = open(t, options); s.book.next != last+1 || len(s.book.all) != 2 {
		t.Errorf("after reopening the next of %d ids is %d, want %d", len(s.book.all), s.book.next, last+1)
	}
}
