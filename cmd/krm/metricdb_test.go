package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/collector"
	"github.com/kubernetes-resource-monitor/krm/collector/sink"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

func TestDatabaseOfSinks(t *testing.T) {
	f := func(already string, sinks []string, want string, good bool) {
		t.Helper()
		parsed, err := (&collector.Config{Sinks: sinks}).ParseSinks()
		if err != nil {
			t.Fatal(err)
		}
		config := metricdb.Config{URL: already}
		if err := databaseOfSinks(parsed, &config); (err == nil) != good {
			t.Errorf("%v beside %q: %v", sinks, already, err)
		}
		if config.URL != want {
			t.Errorf("%v beside %q: got %q, want %q", sinks, already, config.URL, want)
		}
	}
	const influx = "influxdb:http://influx:8086?db=k8s&user=root"
	f("", nil, "", true)
	f("", []string{"log:"}, "", true)
	f("", []string{"log:", influx}, influx, true)
	f(influx, nil, influx, true)
	f(influx, []string{influx}, influx, false) // which of them?
}

// An embedded database belongs to one process.
func TestProcessesApartNeedAServer(t *testing.T) {
	for _, process := range []string{"apiserver", "collector"} {
		code, _, stderr := invoke(t, process, "--metric-db=embedded", "--data-dir="+t.TempDir())
		if code != 2 || !strings.Contains(stderr, "krm standalone: processes that run apart need InfluxDB") {
			t.Errorf("%s: exit code %d, says %s", process, code, stderr)
		}
	}
}

func TestOpenMetricDB(t *testing.T) {
	t.Setenv("INFLUXDB_HOST", "")
	f := func(config metricdb.Config, otherwise string, there bool, fault string) {
		t.Helper()
		p := &process{log: slog.New(slog.DiscardHandler), registry: newRegistry()}
		db, err := openMetricDB(config, otherwise, p)
		if (db != nil) != there || (err != nil) != (fault != "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("%+v: got %v, %v", config, db, err)
		}
		if db != nil {
			_ = db.Close()
		}
	}
	dir := t.TempDir()
	f(metricdb.Config{}, "", false, "")
	f(metricdb.Config{Dir: dir}, "", false, "")
	f(metricdb.Config{}, "embedded", false, "--data-dir")
	f(metricdb.Config{URL: "embedded"}, "", false, "--data-dir")
	f(metricdb.Config{Dir: dir}, "embedded", true, "")
	if _, err := os.Stat(filepath.Join(dir, "metrics", "metrics.db")); err != nil {
		t.Error(err)
	}
}

type failingDB struct {
	metricdb.DB
	err error
}

func (f failingDB) Write(context.Context, *metrics.Batch) error { return f.err }

// A batch comes again while the database is away, and is dropped if that helps nothing.
func TestDatabaseSink(t *testing.T) {
	b := metrics.NewLedger(time.Hour).Begin("default", time.Unix(60, 0), time.Minute)
	f := func(err error, good, dropped bool) {
		t.Helper()
		got := dbSink{failingDB{err: err}}.Write(t.Context(), b)
		if (got == nil) != good || errors.Is(got, sink.ErrDrop) != dropped || !errors.Is(got, err) {
			t.Errorf("%v: got %v", err, got)
		}
	}
	f(nil, true, false)
	f(metricdb.ErrUnavailable, false, false)
	f(metricdb.ErrFull, false, false)
	f(metricdb.ErrInvalid, false, true)
}
