package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/kubernetes-resource-monitor/krm/internal/kube"
	"github.com/kubernetes-resource-monitor/krm/internal/logfile"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
)

// logFlags say what is logged, and where to beside standard error.
type logFlags struct {
	LogLevel  string
	LogFormat string
	LogDir    string
}

func (f *logFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.LogLevel, "log-level", "info", "lowest level to log: debug, info, warn or error")
	fs.StringVar(&f.LogFormat, "log-format", "text", "how to log: text or json")
	fs.StringVar(&f.LogDir, "log-dir", "",
		"`FOLDER` to log into as well, one for each process: info.log has all from info on (with --log-level=debug all), errors.log only errors, which somebody has to see to; rotated at 10 MiB, 20 are kept")
}

// logs are where a process logs to: standard error, and files if there is a folder.
type logs struct {
	*slog.Logger
	files *logfile.Files // nil: none
}

// open opens the process's logs, and joins those of client-go and of go-redis to them.
func (f *logFlags) open(registry prometheus.Registerer) (logs, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.LogLevel)); err != nil {
		return logs{}, fmt.Errorf("--log-level=%q: want debug, info, warn or error", f.LogLevel)
	}
	format, err := f.format()
	if err != nil {
		return logs{}, err
	}
	handler := format(os.Stderr, level)
	opened := logs{Logger: slog.New(handler)}
	if f.LogDir != "" {
		opened.files, err = logfile.Open(f.LogDir, logfile.Options{Format: format, Level: level, Log: opened.Logger, Registry: registry})
		if err != nil {
			return logs{}, err
		}
		opened.Logger = slog.New(slog.NewMultiHandler(handler, opened.files.Handler()))
	}
	kube.LogTo(opened.Logger)
	store.LogTo(opened.Logger)
	return opened, nil
}

// format makes handlers of --log-format.
func (f *logFlags) format() (func(io.Writer, slog.Level) slog.Handler, error) {
	switch f.LogFormat {
	case "text":
		return func(w io.Writer, level slog.Level) slog.Handler {
			return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})
		}, nil
	case "json":
		return func(w io.Writer, level slog.Level) slog.Handler {
			return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
		}, nil
	}
	return nil, fmt.Errorf("--log-format=%q: want text or json", f.LogFormat)
}

// close closes the files, after writing there what ended the process; main writes that
// to standard error.
func (l logs) close(err error) error {
	if l.files == nil {
		return err
	}
	if ended := slog.New(l.files.Handler()); err != nil {
		ended.Error("the process ended", "err", err)
	} else {
		ended.Info("the process ended")
	}
	return errors.Join(err, l.files.Close())
}
