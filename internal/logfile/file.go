package logfile

import (
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/DeRuina/timberjack"
	"github.com/prometheus/client_golang/prometheus"
)

// file is one log file. Each Write is a line.
type file struct {
	path    string
	options Options
	log     *slog.Logger
	failed  prometheus.Counter

	mu       sync.Mutex
	rotating *timberjack.Logger
	torn     bool // the last line was not written to its end
	failing  bool // and that was told
	closed   bool
}

func newFile(path string, failed prometheus.Counter, options Options) *file {
	f := &file{path: path, options: options, log: options.Log, failed: failed}
	f.rotating = f.open()
	return f
}

// open does no I/O: the file is opened when it is written.
func (f *file) open() *timberjack.Logger {
	l := &timberjack.Logger{Filename: f.path, MaxSize: rotateMiB, MaxBackups: kept, FileMode: fileMode}
	if f.options.rotateMiB > 0 {
		l.MaxSize, l.MaxBackups = f.options.rotateMiB, f.options.kept
	}
	return l
}

// Write writes a line. It never fails: a program does not end, nor wait, for its log.
func (f *file) Write(line []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return len(line), nil
	}
	err := f.write(line)
	switch {
	case err != nil:
		f.failed.Inc()
		if !f.failing {
			f.failing = true
			f.log.Warn("a log file cannot be written: its lines are here only until it can", "file", f.path, "err", err)
		}
	case f.failing:
		f.failing = false
		f.log.Warn("a log file can be written again", "file", f.path)
	}
	return len(line), nil
}

func (f *file) write(line []byte) error {
	if _, err := os.Lstat(f.path); err != nil {
		if err := f.reopen(); err != nil {
			return err
		}
	}
	if f.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := f.rotating.Write(line)
	switch {
	case err == nil:
		f.torn = false
	case n > 0:
		f.torn = line[n-1] != '\n'
	}
	return err
}

// reopen begins the file anew, in its folder if that is gone, too. Without, lines would
// go on into a file without a name.
func (f *file) reopen() error {
	_ = f.rotating.Close() // of what is gone
	f.rotating, f.torn = f.open(), false
	return os.MkdirAll(filepath.Dir(f.path), folderMode)
}

func (f *file) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.rotating.Close()
}
