// Package logfile writes a process's log into files, beside what it writes to
// standard error: info.log has everything from info on, and what the level lets
// through below; errors.log has errors only, which are what a person must act on. So
// errors.log stays empty while all is well.
//
// Each is rotated at 10 MiB, and 20 rotated ones are kept, whose names sort by time. A
// folder belongs to one process. A log file that cannot be written any more stops
// nothing: that is told once on standard error, and counted.
package logfile

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	infoName   = "info.log"
	errorsName = "errors.log"

	rotateMiB = 10
	kept      = 20

	fileMode   = 0o640
	folderMode = 0o750
)

// Options say how files are written.
type Options struct {
	// Format makes the handler that writes lines of level and above to w.
	Format func(w io.Writer, level slog.Level) slog.Handler
	// Level is the lowest that is logged. info.log has info all the same.
	Level slog.Level
	// Log is told of files that cannot be written, and that they can again. It must not
	// write to them.
	Log      *slog.Logger
	Registry prometheus.Registerer

	rotateMiB, kept int // 0 for those that users get
}

// Files are a process's log files. They are safe for concurrent use.
type Files struct {
	lock         io.Closer
	info, errors *file
	handler      slog.Handler
}

// Open opens the files in the folder dir, which it makes if it can. Its errors say
// what to do: when the folder cannot be written, or another process writes there.
func Open(dir string, options Options) (*Files, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("--log-dir: %w", err)
	}
	lock, err := claim(dir, options.Log)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{infoName, errorsName} {
		if err := probe(filepath.Join(dir, name)); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	failed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "krm_log_file_errors_total", Help: "Lines that could not be written into a file of --log-dir.",
	}, []string{"file"})
	options.Registry.MustRegister(failed)
	open := func(name string) *file {
		return newFile(filepath.Join(dir, name), failed.WithLabelValues(name), options)
	}
	f := &Files{lock: lock, info: open(infoName), errors: open(errorsName)}
	f.handler = slog.NewMultiHandler(
		options.Format(f.info, min(options.Level, slog.LevelInfo)),
		options.Format(f.errors, slog.LevelError),
	)
	return f, nil
}

// Handler writes into both files.
func (f *Files) Handler() slog.Handler { return f.handler }

// Close ends writing. What is logged afterwards is lost.
func (f *Files) Close() error {
	return errors.Join(f.info.close(), f.errors.close(), f.lock.Close())
}

// probe tries whether a log file can be written, by opening it as it will be. If a
// process died within its last line, the next one begins on a line of its own.
func probe(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, fileMode)
	if err != nil {
		return explain(err, filepath.Dir(path), path)
	}
	err = endLine(f)
	return errors.Join(explain(err, filepath.Dir(path), path), f.Close())
}

func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = f.Write([]byte{'\n'})
	return err
}
