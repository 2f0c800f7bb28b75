//go:build unix

package influx

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

const smallDisk = "KRM_TEST_SMALL_DISK"

// TestFullDisk fills the queue in a process whose files may not grow beyond 2 KiB. What
// was put there before stays whole; once there is room, all goes on.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv(smallDisk); dir != "" {
		fill(t, dir)
		return
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	child.Env = append(os.Environ(), smallDisk+"="+dir)
	if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
	server := newServer2(t)
	options := server.options()
	options.QueueDir = dir
	s, logs := opened(t, options)
	big := incompressible()
	if err := s.send(t.Context(), []piece{big}); err != nil { // there is room again
		t.Fatal(err)
	}
	if _, err := s.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	arrived(t, server, linesOf(3), linesOf(5), big)
	if strings.Contains(logs.String(), "cannot be read") {
		t.Errorf("the queue was damaged:\n%s", logs)
	}
}

// incompressible is a piece whose file is large.
func incompressible() piece {
	p := linesOf(200)
	p.lines = nil
	state := uint64(1)
	for i := range p.samples {
		p.lines = append(p.lines, "m,r="...)
		for range 40 {
			state = state*6364136223846793005 + 1442695040888963407
			p.lines = append(p.lines, "0123456789abcdef"[state>>60])
		}
		p.lines = append(p.lines, " value=1i 17723592000000000"...)
		p.lines = append(p.lines, byte('0'+i/100%10), byte('0'+i/10%10), byte('0'+i%10), '\n')
	}
	return p
}

func fill(t *testing.T, dir string) {
	signal.Ignore(syscall.SIGXFSZ) // then a write says EFBIG
	options := Options{URL: "http://127.0.0.1:1", QueueDir: dir, Metrics: metricdb.NewMetrics(nil)}
	s, err := Open(options, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.send(t.Context(), []piece{linesOf(3)}); err != nil {
		t.Fatal(err)
	}
	limit := &syscall.Rlimit{Cur: 2 << 10, Max: 2 << 10}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, limit); err != nil {
		t.Fatal(err)
	}
	full := func(want float64) {
		t.Helper()
		if got := testutil.ToFloat64(options.Metrics.Full); got != want {
			t.Errorf("krm_metricdb_full is %v, want %v", got, want)
		}
	}
	for range 3 {
		if err := s.send(t.Context(), []piece{incompressible()}); !errors.Is(err, metricdb.ErrFull) {
			t.Fatalf("got %v, want %v", err, metricdb.ErrFull)
		}
		full(1)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || testutil.ToFloat64(options.Metrics.QueueFiles) != 1 {
		t.Errorf("the queue holds %v: %v", entries, err)
	}
	if err := s.send(t.Context(), []piece{linesOf(5)}); err != nil { // it is small enough
		t.Error(err)
	}
	full(0)
}
