package logfile

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func text(w io.Writer, level slog.Level) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
}

// opened are files that a test writes, and what was told of them.
type opened struct {
	*Files
	dir      string
	told     *bytes.Buffer
	registry *prometheus.Registry
	log      *slog.Logger
}

func open(t *testing.T, dir string, options Options) opened {
	t.Helper()
	o := opened{dir: dir, told: new(bytes.Buffer), registry: prometheus.NewRegistry()}
	options.Format, options.Registry, options.Log = text, o.registry, slog.New(text(o.told, slog.LevelInfo))
	files, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = files.Close() })
	o.Files, o.log = files, slog.New(files.Handler())
	return o
}

func (o opened) read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(o.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func (o opened) failures(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	families, err := o.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[0].Metric {
		fmt.Fprintf(&b, "%s %v\n", m.Label[0].GetValue(), m.Counter.GetValue())
	}
	return b.String()
}

func TestLevels(t *testing.T) {
	f := func(level slog.Level, info, errors string) {
		t.Helper()
		o := open(t, filepath.Join(t.TempDir(), "made", "here"), Options{Level: level})
		log := o.log.With("a", 1).WithGroup("g")
		for _, at := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			log.Log(t.Context(), at, "said", "b", 2)
		}
		for name, want := range map[string]string{infoName: info, errorsName: errors} {
			var got []string
			for line := range strings.Lines(o.read(t, name)) {
				if !strings.HasSuffix(line, " msg=said a=1 g.b=2\n") {
					t.Errorf("%s has %q", name, line)
				}
				got = append(got, strings.Fields(line)[1][len("level="):])
			}
			if strings.Join(got, " ") != want {
				t.Errorf("at level %v %s has %q, want %q", level, name, got, want)
			}
		}
	}
	f(slog.LevelDebug, "DEBUG INFO WARN ERROR", "ERROR")
	f(slog.LevelInfo, "INFO WARN ERROR", "ERROR")
	f(slog.LevelError, "INFO WARN ERROR", "ERROR") // the level of the terminal, not of info.log
}

func TestModes(t *testing.T) {
	o := open(t, filepath.Join(t.TempDir(), "logs"), Options{})
	o.log.Error("x")
	for name, want := range map[string]os.FileMode{"": folderMode | os.ModeDir, infoName: fileMode, errorsName: fileMode} {
		info, err := os.Stat(filepath.Join(o.dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%q has mode %v (%v), want %v", name, info.Mode(), err, want)
		}
	}
}

// names are the log files of info in a folder, sorted: the oldest comes first.
func names(t *testing.T, dir string) (found []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "info*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// At 10 MiB a new file begins, and nothing is lost.
func TestRotationAt10MiB(t *testing.T) {
	o := open(t, t.TempDir(), Options{})
	value := strings.Repeat("x", 64<<10)
	const lines = 170 // 10.6 MiB
	for i := range lines {
		o.log.Info("line", "i", i, "value", value)
	}
	found := names(t, o.dir)
	if len(found) != 2 {
		t.Fatalf("got %v, want two files", found)
	}
	full, err := os.Stat(found[0])
	if err != nil || full.Size() > 10<<20 || full.Size() < 10<<20-70<<10 || full.Mode() != fileMode {
		t.Errorf("the full one has %d bytes, mode %v (%v)", full.Size(), full.Mode(), err)
	}
	checkSequence(t, found, 0, lines)
}

// The last 20 are kept, in the order of their names.
func TestKept(t *testing.T) {
	o := open(t, t.TempDir(), Options{rotateMiB: 1, kept: kept})
	value := strings.Repeat("x", 128<<10)
	const lines = 8 * 24
	for i := range lines {
		o.log.Info("line", "i", i, "value", value)
	}
	if err := o.Close(); err != nil { // it waits for old files to be removed
		t.Fatal(err)
	}
	found := names(t, o.dir)
	if len(found) != kept+1 {
		t.Fatalf("%d files, want %d: %v", len(found), kept+1, found)
	}
	checkSequence(t, found, lines-numbered(t, found), lines)
}

// numbered counts the lines of files.
func numbered(t *testing.T, files []string) (lines int) {
	t.Helper()
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(content, []byte{'\n'})
	}
	return lines
}

// checkSequence checks that files have the lines from begin to end, in this order.
func checkSequence(t *testing.T, files []string, begin, end int) {
	t.Helper()
	i := begin
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			if !strings.Contains(line, fmt.Sprintf(" i=%d ", i)) || !strings.HasSuffix(line, "\n") {
				t.Fatalf("%s: line %d is %.80q", name, i, line)
			}
			i++
		}
	}
	if i != end {
		t.Errorf("the last line is %d, want %d", i-1, end-1)
	}
}

func TestManyAtOnce(t *testing.T) {
	o := open(t, t.TempDir(), Options{rotateMiB: 1, kept: kept})
	var g sync.WaitGroup
	const writers, lines = 8, 500
	for w := range writers {
		g.Go(func() {
			for i := range lines {
				o.log.Info("line", "key", fmt.Sprintf("%d/%d", w, i), "value", strings.Repeat("x", 512))
			}
		})
	}
	g.Wait()
	seen := map[string]int{}
	for _, name := range names(t, o.dir) {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			fields := strings.Fields(line)
			if len(fields) != 5 || fields[4] != "value="+strings.Repeat("x", 512) {
				t.Fatalf("%.100q is not a whole line", line)
			}
			seen[fields[3]]++
		}
	}
	if len(seen) != writers*lines {
		t.Errorf("%d lines, want %d", len(seen), writers*lines)
	}
	if got := testutil.CollectAndCount(o.registry); got != 2 {
		t.Errorf("%d metrics, want 2", got)
	}
}
