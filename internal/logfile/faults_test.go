package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What this program does when it is started by a test, as another process.
const (
	actVariable = "KRM_TEST_LOGFILE"
	dirVariable = "KRM_TEST_LOGFILE_DIR"
)

func TestMain(m *testing.M) {
	switch os.Getenv(actVariable) {
	case "write": // until it is killed
		files, err := Open(os.Getenv(dirVariable), Options{Format: text, Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
		if err != nil {
			panic(err)
		}
		for i := 0; ; i++ {
			slog.New(files.Handler()).Info("line", "i", i, "value", strings.Repeat("x", i%5000), "end", true)
		}
	case "open":
		_, err := Open(os.Getenv(dirVariable), Options{Format: text, Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
		fmt.Println(err)
		return
	}
	os.Exit(m.Run())
}

// another is this program as another process, which does act with the folder dir.
func another(t *testing.T, program, act, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), actVariable+"="+act, dirVariable+"="+dir)
	return cmd
}

func TestWrongFoldersSayHowToMendThem(t *testing.T) {
	f := func(dir string, wants ...string) {
		t.Helper()
		_, err := Open(dir, Options{Format: text, Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", dir, err, want)
			}
		}
	}
	base := t.TempDir()
	occupied := filepath.Join(base, "it's here")
	if err := os.WriteFile(occupied, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f(occupied, "--log-dir="+occupied, "a file stands where the folder should be", `run: mv '`+base+`/it'\''s here' '`+base+`/it'\''s here.old'`)
	f(filepath.Join(occupied, "below"), "run: mv '"+base)
	if err := os.MkdirAll(filepath.Join(base, "logs", errorsName), 0o700); err != nil {
		t.Fatal(err)
	}
	f(filepath.Join(base, "logs"), "a folder stands where the file should be", "run: mv "+base+"/logs/errors.log "+base+"/logs/errors.log.old")
	f(filepath.Join(base, "logs"), "errors.log") // the lock was given back: the same fault again
}

// A process that may not write there is told what to run, with its own number.
func TestFoldersOfOthers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can start a process as somebody else")
	}
	base := t.TempDir()
	for dir := base; dir != "/"; dir = filepath.Dir(dir) { // the other one must get there
		if info, err := os.Stat(dir); err != nil || info.Mode()&0o1 == 0 && os.Chmod(dir, 0o755) != nil {
			t.Fatal(err)
		}
	}
	program := filepath.Join(base, "program")
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(program, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	f := func(dir, want string) {
		t.Helper()
		cmd := another(t, program, "open", dir)
		cmd.Dir = base
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4321, Gid: 1234}}
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%v, got %s\nwant %s", err, out, want)
		}
	}
	closed := filepath.Join(base, "closed")
	if err := os.Mkdir(closed, 0o755); err != nil {
		t.Fatal(err)
	}
	f(closed, "--log-dir="+closed+": open "+closed+"/.krm.lock: permission denied: as root, run: mkdir -p "+closed+" && chown 4321:1234 "+closed)
	below := filepath.Join(closed, "a", "b")
	f(below, "--log-dir="+below+": mkdir "+closed+"/a: permission denied: as root, run: mkdir -p "+below+" && chown 4321:1234 "+below)
	if err := errors.Join(os.Chown(closed, 4321, 1234), os.WriteFile(filepath.Join(closed, infoName), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	f(closed, "--log-dir="+closed+": open "+closed+"/info.log: permission denied: as root, run: chown 4321:1234 "+closed+"/info.log")
	if err := os.Chown(filepath.Join(closed, infoName), 4321, 1234); err != nil {
		t.Fatal(err)
	}
	f(closed, "<nil>")
}

func TestAFolderBelongsToOneProcess(t *testing.T) {
	o := open(t, t.TempDir(), Options{})
	f := func(want string) {
		t.Helper()
		out, err := another(t, "/proc/self/exe", "open", o.dir).Output()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%v, got %s, want %s", err, out, want)
		}
	}
	f(fmt.Sprintf("--log-dir=%s: process %d writes its log there: give every process a folder of its own, such as %s/collector", o.dir, os.Getpid(), o.dir))
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	f("<nil>")
}

// A full disk stops nothing, is told once, and what comes when there is room again is
// written.
func TestFullDisk(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /dev/full")
	}
	dir := t.TempDir()
	full := filepath.Join(dir, infoName)
	if err := os.Symlink("/dev/full", full); err != nil {
		t.Fatal(err)
	}
	o := open(t, dir, Options{})
	for range 3 {
		o.log.Error("lost")
	}
	if got := o.failures(t); got != "errors.log 0\ninfo.log 3\n" {
		t.Errorf("counted:\n%s", got)
	}
	if got := o.told.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "no space left") {
		t.Errorf("told: %s", got)
	}
	if got := o.read(t, errorsName); strings.Count(got, "\n") != 3 {
		t.Errorf("errors.log has %q", got)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	o.log.Info("kept")
	if got := o.read(t, infoName); !strings.Contains(got, "kept") {
		t.Errorf("info.log has %q", got)
	}
	if got := o.told.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "written again") {
		t.Errorf("told: %s", got)
	}
}

// A folder that vanishes is made again, as soon as that can be done.
func TestVanishedFolder(t *testing.T) {
	base := t.TempDir()
	above := filepath.Join(base, "above")
	o := open(t, filepath.Join(above, "logs"), Options{})
	o.log.Info("first")
	remove := func() {
		t.Helper()
		if err := os.RemoveAll(above); err != nil {
			t.Fatal(err)
		}
	}
	remove()
	o.log.Info("second")
	if got := o.read(t, infoName); !strings.Contains(got, "second") || o.told.Len() > 0 {
		t.Errorf("info.log has %q; told: %s", got, o.told)
	}
	remove()
	if err := os.WriteFile(above, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.log.Info("lost")
	o.log.Info("lost")
	if got := o.failures(t); got != "errors.log 0\ninfo.log 2\n" || strings.Count(o.told.String(), "\n") != 1 {
		t.Errorf("counted:\n%stold: %s", got, o.told)
	}
	remove()
	o.log.Info("third")
	if got := o.read(t, infoName); !strings.Contains(got, "third") {
		t.Errorf("info.log has %q", got)
	}
}

// A line that was cut off is followed by whole ones.
func TestTornLines(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, infoName), []byte("whole\ncut of"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := open(t, dir, Options{})
	o.log.Info("next")
	if got := o.read(t, infoName); !strings.HasPrefix(got, "whole\ncut of\ntime=") {
		t.Errorf("info.log has %q", got)
	}
}

// Whoever is killed leaves whole lines; the last may be cut off, and is ended by the
// next process.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, infoName)
	for range 3 {
		cmd := another(t, "/proc/self/exe", "write", dir)
		before, _ := os.Stat(path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for grown := false; !grown; time.Sleep(time.Millisecond) {
			now, err := os.Stat(path)
			grown = err == nil && now.Size() > 1<<20 && (before == nil || !os.SameFile(before, now) || now.Size() > before.Size()+1<<20)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	open(t, dir, Options{})
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	torn := 0
	for line := range bytes.Lines(content) {
		if !bytes.HasPrefix(line, []byte("time=")) || !bytes.HasSuffix(line, []byte("\n")) {
			t.Fatalf("%.100q is not a line", line)
		}
		if !bytes.HasSuffix(line, []byte(" end=true\n")) {
			torn++
		}
	}
	if torn > 3 {
		t.Errorf("%d lines are cut off, after 3 kills", torn)
	}
}

// Nothing is written after the end, and nothing fails.
func TestClosed(t *testing.T) {
	o := open(t, t.TempDir(), Options{})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(o.info, "late\n"); err != nil {
		t.Error(err)
	}
	if got := o.read(t, infoName); got != "" {
		t.Errorf("info.log has %q", got)
	}
}
