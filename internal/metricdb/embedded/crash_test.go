package embedded

import (
	"bufio"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

const crashDir = "KRM_TEST_CRASH_DIR"

// TestWriter is the process that TestKill kills: it writes, folds, and says what was
// acknowledged.
func TestWriter(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return // it is no test of its own
	}
	now := dbtest.T0
	s, err := Open(Options{Dir: dir, Now: func() time.Time { return now }}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	load := dbtest.NewLoad(200, 5)
	first, _ := strconv.Atoi(os.Getenv("KRM_TEST_CRASH_FROM"))
	for i := first; ; i++ {
		now = dbtest.T0.Add(time.Duration(i) * time.Minute)
		if err := s.Write(t.Context(), load.Next(now, time.Minute)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(os.Stderr, "acknowledged", i)
		if i%8 == 0 {
			if err := s.Maintain(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestKill kills the writer with SIGKILL again and again, and finds every
// acknowledged batch whole each time.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	next := 1
	for round := range 4 {
		last := killed(t, dir, next, 20+17*round)
		s := open(t, Options{Dir: dir})
		q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: dbtest.T0, To: dbtest.T0.Add(1000 * time.Hour)}
		got, err := s.Aggregate(t.Context(), q, metricdb.Grouping{Bucket: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		// The batch after the last acknowledged one may be there: whole, or not at all.
		if len(got) != last && len(got) != last+1 {
			t.Fatalf("%d batches are there, %d were acknowledged", len(got), last)
		}
		for _, group := range got {
			if group.Count != 200 {
				t.Fatalf("at %v %d samples of 200", group.Time, group.Count)
			}
		}
		next = len(got) + 1
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killed lets a writer acknowledge some batches, kills it, and returns the last one.
func killed(t *testing.T, dir string, from, batches int) (last int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriter$")
	cmd.Env = append(os.Environ(), crashDir+"="+dir, "KRM_TEST_CRASH_FROM="+strconv.Itoa(from))
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &last); err == nil && last == from+batches {
			_ = cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	if last < from+batches {
		t.Fatalf("the writer ended after batch %d", last)
	}
	return last
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	open(t, Options{Dir: dir})
	if _, err := Open(Options{Dir: dir}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("it could be opened twice")
	}
}
