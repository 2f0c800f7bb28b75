package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

const fullDir = "KRM_TEST_FULL_DIR"

// TestFull runs TestFullChild in a process whose files cannot become large.
func TestFull(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullChild$", "-test.v")
	cmd.Env = append(os.Environ(), fullDir+"="+t.TempDir())
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
}

// TestFullChild writes until nothing fits any more, in both of the ways in which a disk
// is full: the file cannot grow, or a page of it cannot be written.
func TestFullChild(t *testing.T) {
	dir := os.Getenv(fullDir)
	if dir == "" {
		return // it is no test of its own
	}
	t.Run("cannot grow", func(t *testing.T) { full(t, filepath.Join(dir, "grow"), 0) })
	// The file is longer than what is in use of it: the disk fills up within.
	t.Run("cannot write", func(t *testing.T) { full(t, filepath.Join(dir, "write"), 200<<10) })
}

// limit bounds the size of files; 0 lifts the bound.
func limit(t *testing.T, bytes int64) {
	t.Helper()
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
		t.Fatal(err)
	}
	r.Cur = r.Max
	if bytes > 0 {
		r.Cur = uint64(bytes)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &r); err != nil {
		t.Fatal(err)
	}
}

type filling struct {
	t       *testing.T
	s       *Store
	options Options
	now     time.Time
	load    *dbtest.Load
	batches int // acknowledged
	records int // acknowledged hours of roll-ups
}

const fillPods = 100

func (f *filling) open() {
	f.t.Helper()
	s, err := Open(f.options, slog.New(slog.DiscardHandler))
	if err != nil {
		f.t.Fatal(err)
	}
	s.db.NoSync = true
	f.s = s
}

// write writes the next batch, and each ten of them records; it is written again until it
// is acknowledged, as a sink does.
func (f *filling) write() error {
	f.now = dbtest.T0.Add(time.Duration(f.batches+1) * time.Minute)
	if err := f.s.Write(f.t.Context(), f.load.Next(f.now, time.Minute)); err != nil {
		return err
	}
	f.batches++
	if f.batches%10 == 0 {
		if err := f.s.WriteRecords(f.t.Context(), dbtest.RollUps(fillPods, 3, dbtest.T0.Add(time.Duration(f.records)*time.Hour))); err != nil {
			return err
		}
		f.records++
	}
	return nil
}

// check finds everything that was acknowledged, and nothing else.
func (f *filling) check(when string) {
	f.t.Helper()
	q := metricdb.Query{Metric: "memory/usage", Level: metrics.Pod, From: dbtest.T0, To: dbtest.T0.Add(1000 * time.Hour)}
	got, err := f.s.Aggregate(f.t.Context(), q, metricdb.Grouping{Bucket: time.Minute})
	if err != nil {
		f.t.Fatalf("%s: %v", when, err)
	}
	if len(got) != f.batches {
		f.t.Fatalf("%s: %d batches are there, %d were acknowledged", when, len(got), f.batches)
	}
	for _, group := range got {
		if group.Count != fillPods {
			f.t.Fatalf("%s: at %v %d samples of %d", when, group.Time, group.Count, fillPods)
		}
	}
	records := metricdb.RecordQuery{Set: "krm/rollup", Fields: []string{"count", "sum"}, From: dbtest.T0, To: q.To}
	groups, err := f.s.RecordTotals(f.t.Context(), records)
	if err != nil {
		f.t.Fatalf("%s: %v", when, err)
	}
	if want := int64(f.records * fillPods); len(groups) != min(f.records, 1) || f.records > 0 && groups[0].Fields[0].Count != want {
		f.t.Fatalf("%s: records %+v, want %d", when, groups, want)
	}
}

// full fills a file up to less bytes below its size.
func full(t *testing.T, dir string, less int64) {
	f := &filling{t: t, load: dbtest.NewLoad(fillPods, 3)}
	f.load.Everything = true
	gauge := metricdb.NewMetrics(nil)
	f.options = Options{Dir: dir, Metrics: gauge, Now: func() time.Time { return f.now }}
	f.open()
	defer func() { _ = f.s.Close() }()
	for range 130 {
		if err := f.write(); err != nil {
			t.Fatal(err)
		}
	}
	f.check("before")
	series := len(f.s.book.all)

	info, err := os.Stat(filepath.Join(dir, "metrics.db"))
	if err != nil {
		t.Fatal(err)
	}
	limit(t, info.Size()-less)
	defer limit(t, 0)
	for i := 0; err == nil && i < 2000; i++ {
		err = f.write()
	}
	if !errors.Is(err, metricdb.ErrFull) {
		t.Fatalf("%d batches were written, then: %v", f.batches, err)
	}
	fmt.Println("full after", f.batches, "batches:", err)
	if testutil.ToFloat64(gauge.Full) != 1 || !errors.Is(f.s.Health(t.Context()), metricdb.ErrFull) {
		t.Error("it is not said that it is full")
	}
	f.check("while it is full")
	crowd := dbtest.NewWorld("crowd")
	crowd.Begin(f.now, time.Minute)
	for i := range 4000 {
		name := fmt.Sprint("pod-", i)
		crowd.Set(dbtest.Pod{Namespace: "ns", Name: name, UID: strings.Repeat(name, 10), Node: "n1"}, metrics.CPUUsageRate, metricdb.Int(1))
	}
	if err := f.s.Write(t.Context(), crowd.Batch()); !errors.Is(err, metricdb.ErrFull) {
		t.Fatalf("a batch of 4,000 new pods: %v", err)
	}
	if err := f.s.Maintain(t.Context()); err != nil && !errors.Is(err, metricdb.ErrFull) {
		t.Errorf("maintaining: %v", err)
	}
	f.check("after maintaining")
	for range 3 {
		_ = f.write() // maintaining may have made room
	}
	f.check("after more of it")
	if n := len(f.s.book.all); n != series {
		t.Errorf("%d series in memory, want %d", n, series)
	}

	if err := f.s.Close(); err != nil {
		t.Fatal(err)
	}
	f.open() // works also while the disk is full
	f.check("after reopening")
	for range 500 {
		if err = f.write(); err != nil {
			break
		}
	}
	if !errors.Is(err, metricdb.ErrFull) {
		t.Errorf("after reopening it is not full: %v", err)
	}

	limit(t, 0)
	for range 20 {
		if err := f.write(); err != nil {
			t.Fatalf("with room again: %v", err)
		}
	}
	if testutil.ToFloat64(gauge.Full) != 0 || f.s.Health(t.Context()) != nil {
		t.Error("it is said to be full still")
	}
	limit(t, 64<<10)
	if err := f.s.Write(t.Context(), crowd.Batch()); !errors.Is(err, metricdb.ErrFull) {
		t.Fatalf("nothing can be written: %v", err)
	}
	limit(t, 0)
	if err := f.s.Write(t.Context(), crowd.Batch()); err != nil {
		t.Fatal(err)
	}
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: dbtest.T0, To: f.now.Add(time.Hour), Where: []metricdb.Match{metricdb.Is(metricdb.TagCluster, "crowd")}}
	if got, err := f.s.Aggregate(t.Context(), q, metricdb.Grouping{}); err != nil || len(got) != 1 || got[0].Count != 4000 {
		t.Errorf("of 4,000 pods whose batch was written again there are %+v, %v", got, err)
	}
	f.now = f.now.Add(3 * time.Hour)
	if err := f.s.Maintain(t.Context()); err != nil {
		t.Error(err)
	}
	f.check("with room again")
	if err := f.s.Close(); err != nil {
		t.Fatal(err)
	}
	f.open()
	f.check("at the end")
	for err := range checkFile(f.s) {
		t.Error(err)
	}
}

// checkFile yields what bbolt finds wrong in the file.
func checkFile(s *Store) func(func(error) bool) {
	return func(yield func(error) bool) {
		tx, err := s.db.Begin(false)
		if err != nil {
			yield(err)
			return
		}
		defer func() { _ = tx.Rollback() }()
		for err := range tx.Check() {
			if !yield(err) {
				return
			}
		}
	}
}
