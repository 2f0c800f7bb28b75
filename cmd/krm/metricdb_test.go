package main

import (
	"context"
	"errors"
	"log/slog"
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
	p := &process{log: slog.New(slog.DiscardHandler), registry: newRegistry()}
	t.Setenv("INFLUXDB_HOST", "")
	f := func(config metricdb.Config, there, good bool) {
		t.Helper()
		db, err := openMetricDB(config, p)
		if (db != nil) != there || (err == nil) != good {
			t.Errorf("%+v: got %v, %v", config, db, err)
		}
	}
	f(metricdb.Config{}, false, true)
	f(metricdb.Config{Dir: t.TempDir()}, false, true)
	f(metricdb.Config{URL: "embedded", Dir: t.TempDir()}, false, false)
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
