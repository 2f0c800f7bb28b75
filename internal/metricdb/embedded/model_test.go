package embedded

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// machine does what may happen to a store in any order, and keeps a plain map of what
// must be in it.
type machine struct {
	t       *rapid.T
	options Options
	s       *Store
	now     time.Time
	worlds  map[string]*dbtest.World // by cluster
	samples map[string]sample
	records map[string]int64
}

type sample struct {
	at    time.Time
	value int64
	text  string // of its tags
}

func (m *machine) open() {
	s, err := Open(m.options, slog.New(slog.DiscardHandler))
	if err != nil {
		m.t.Fatal(err)
	}
	s.db.NoSync = true
	m.s = s
}

// write writes a batch of some pods at some time: usually the next, but clocks go wrong.
func (m *machine) write(t *rapid.T) {
	w := m.worlds[rapid.SampledFrom([]string{"a", "b"}).Draw(t, "cluster")]
	at := m.now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 0, -3, -60, -125, -2000, 30, 90}).Draw(t, "minutes off")) * time.Minute)
	w.Begin(at, time.Minute)
	for _, pod := range rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 0, 6, rapid.ID[int]).Draw(t, "pods") {
		p := dbtest.Pod{Namespace: "ns", Name: fmt.Sprint("p", pod), UID: fmt.Sprint("u", pod), Node: "n", Labels: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "labels")}
		value := rapid.Int64().Draw(t, "value")
		w.Set(p, metrics.CPUUsage, metricdb.Int(value))
		tags := metricdb.MakeTags(
			metrics.Label{Key: metricdb.TagCluster, Value: w.Cluster}, metrics.Label{Key: metricdb.TagPod, Value: p.Name},
			metrics.Label{Key: metricdb.TagLabels, Value: p.Labels})
		text := fmt.Sprint(tags)
		m.samples[text+at.String()] = sample{at, value, text}
	}
	if err := m.s.Write(m.t.Context(), w.Batch()); err != nil {
		t.Fatal(err)
	}
	m.now = m.now.Add(time.Duration(rapid.SampledFrom([]int{1, 1, 5, 61}).Draw(t, "minutes later")) * time.Minute)
}

func (m *machine) record(t *rapid.T) {
	at := m.now.Add(time.Duration(rapid.IntRange(-20000, 10).Draw(t, "minutes off")) * time.Minute)
	name, value := rapid.SampledFrom([]string{"r", "s", "p1"}).Draw(t, "name"), rapid.Int64().Draw(t, "value")
	r := metricdb.Record{
		Set: "krm/test", Time: at, Tags: metricdb.MakeTags(metrics.Label{Key: "name", Value: name}),
		Fields: []metricdb.Field{{Name: "v", Value: metricdb.Int(value)}},
	}
	if err := m.s.WriteRecords(m.t.Context(), []metricdb.Record{r}); err != nil {
		t.Fatal(err)
	}
	m.records[at.String()+name] = value
}

func (m *machine) maintain(t *rapid.T) {
	m.s.removed, m.s.swept = true, time.Time{} // sweep each time
	if err := m.s.Maintain(m.t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) reopen(t *rapid.T) {
	if err := m.s.Close(); err != nil {
		t.Fatal(err)
	}
	m.open()
}

// check compares everything that is young enough to be kept for sure.
func (m *machine) check(t *rapid.T) {
	from, to := m.now.Add(-m.options.Retention), m.now.Add(1000*time.Hour)
	var want, got []sample
	for _, s := range m.samples {
		if !s.at.Before(from) {
			want = append(want, s)
		}
	}
	q := metricdb.Query{Metric: "cpu/usage", Level: metrics.Pod, From: from, To: to}
	for p, err := range m.s.Points(m.t.Context(), q, 0) {
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint(p.Tags.Only([]string{metricdb.TagCluster, metricdb.TagLabels, metricdb.TagPod}))
		got = append(got, sample{p.Time, p.Value.Bits, text})
	}
	for _, all := range [][]sample{want, got} {
		slices.SortFunc(all, func(a, b sample) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.text, b.text))
		})
	}
	if d := diff.Diff(want, got, diff.AllowUnexported(sample{})); d != "" {
		t.Fatalf("(-want +got):\n%.2000s", d)
	}
	records := map[string]int64{}
	for r, err := range m.s.Records(m.t.Context(), metricdb.RecordQuery{Set: "krm/test", Fields: []string{"v"}, From: m.now.Add(-30 * 24 * time.Hour), To: to}) {
		if err != nil {
			t.Fatal(err)
		}
		records[r.Time.String()+r.Tags.Get("name")] = r.Int("v")
	}
	young := map[string]int64{}
	for key, v := range m.records {
		at, err := time.Parse("2006-01-02 15:04:05 -0700 MST", key[:len("2006-01-02 15:04:05 -0700 UTC")])
		if err != nil {
			t.Fatal(err)
		}
		if !at.Before(m.now.Add(-30 * 24 * time.Hour)) {
			young[key] = v
		}
	}
	if d := diff.Diff(young, records); d != "" {
		t.Fatalf("records (-want +got):\n%.2000s", d)
	}
}

// TestAnyOrder: whatever happens in whatever order, what was acknowledged is there once,
// with its tags.
func TestAnyOrder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "metrics.db")
	if err := open(t, Options{Dir: dir}).Close(); err != nil {
		t.Fatal(err)
	}
	empty, err := os.ReadFile(path) // making a file waits for the disk several times
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		if err := os.WriteFile(path, empty, 0o600); err != nil {
			t.Fatal(err)
		}
		m := &machine{
			t: t, now: dbtest.T0, samples: map[string]sample{}, records: map[string]int64{},
			worlds: map[string]*dbtest.World{"a": dbtest.NewWorld("a"), "b": dbtest.NewWorld("b")},
		}
		m.options = Options{Dir: dir, Retention: 3 * time.Hour, RecordRetention: 30 * 24 * time.Hour, Now: func() time.Time { return m.now }}
		m.open()
		defer func() { _ = m.s.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"write": m.write, "write more": m.write, "record": m.record, "maintain": m.maintain, "reopen": m.reopen, "": m.check,
		})
	})
}

// TestAllAtOnce writes, maintains and asks at the same time: a batch is seen whole or
// not at all. It is worth most with -race.
func TestAllAtOnce(t *testing.T) {
	const pods, rounds = 40, 60
	var mu sync.Mutex
	now := dbtest.T0
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	s := open(t, Options{Retention: 4 * time.Hour, Now: clock})
	done := make(chan struct{})
	var wait sync.WaitGroup
	loop := func(do func() error) {
		wait.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := do(); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	loop(func() error {
		q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: dbtest.T0, To: dbtest.T0.Add(100 * time.Hour)}
		groups, err := s.Aggregate(t.Context(), q, metricdb.Grouping{Bucket: time.Minute})
		for _, g := range groups {
			if g.Count != pods || g.Sets != pods {
				return fmt.Errorf("at %v %d samples of %d pods, want %d", g.Time, g.Count, g.Sets, pods)
			}
		}
		return err
	})
	loop(func() error {
		_, err := s.Tags(t.Context(), metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: dbtest.T0, To: dbtest.T0.Add(100 * time.Hour)}, "pod_name")
		return err
	})
	for range 2 {
		loop(func() error { return s.Maintain(t.Context()) })
	}
	loop(func() error {
		return s.WriteRecords(t.Context(), dbtest.RollUps(10, 2, clock()))
	})
	w := dbtest.NewWorld("default")
	for round := range rounds {
		at := dbtest.T0.Add(time.Duration(round) * 7 * time.Minute)
		w.Begin(at, time.Minute)
		for pod := range pods {
			// Each pod is new every few rounds: its series is written with its first samples.
			name := fmt.Sprint("p", pod, "-", (round+pod)/5)
			w.Set(dbtest.Pod{Namespace: "ns", Name: name, UID: name, Node: "n1"}, metrics.CPUUsageRate, metricdb.Int(1))
		}
		if err := s.Write(t.Context(), w.Batch()); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		now = at
		mu.Unlock()
		if round%20 == 19 {
			s.maintaining.Lock()
			s.removed, s.swept = true, time.Time{}
			s.maintaining.Unlock()
		}
	}
	close(done)
	wait.Wait()
}
