// Package connect opens the metric database that a configuration names.
package connect

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/embedded"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/influx"
)

// ErrNone comes when no metric database is configured.
var ErrNone = errors.New("no metric database is configured: set --metric-db, or INFLUXDB_HOST")

// Open opens what config says. otherwise is what is opened if it says nothing:
// "embedded" in standalone, "" elsewhere, which gives ErrNone.
func Open(config metricdb.Config, otherwise string, reg prometheus.Registerer, log *slog.Logger) (metricdb.DB, error) {
	set, err := config.Settings()
	if err != nil {
		return nil, err
	}
	for _, warning := range set.Warnings {
		log.Warn("metric database", "warning", warning)
	}
	if set.Kind == "" {
		set.Kind = otherwise
	}
	switch set.Kind {
	case "":
		return nil, ErrNone
	case "embedded":
		if config.Dir == "" {
			return nil, errors.New("--data-dir: the embedded metric database needs a folder")
		}
		return embedded.Open(embedded.Options{
			Dir: filepath.Join(config.Dir, "metrics"), Retention: config.Retention, RecordRetention: config.RecordRetention,
			Metrics: metricdb.NewMetrics(reg),
		}, log)
	case "influxdb":
		return influx.Open(InfluxOptions(config, set.Influx, metricdb.NewMetrics(reg)), log)
	}
	return nil, fmt.Errorf("there is no metric database %q", set.Kind)
}

// InfluxOptions makes the options of a Store from settings.
func InfluxOptions(config metricdb.Config, in metricdb.Influx, m *metricdb.Metrics) influx.Options {
	options := influx.Options{
		URL: in.URL, User: in.User, Password: in.Password, Database: in.Database,
		Token: in.Token, Org: in.Org, Bucket: in.Bucket,
		InsecureTLS: in.InsecureTLS, WithFields: in.WithFields, Retention: in.Retention, RecordRetention: config.RecordRetention,
		ClusterName: in.ClusterName, DisableCounters: in.DisableCounters, Types: in.Types, Tags: in.Tags,
		Concurrency: in.Concurrency, Flux: in.Flux, QueueBytes: config.QueueBytes, Timeout: config.Timeout, Metrics: m,
	}
	if config.Dir != "" {
		options.QueueDir = filepath.Join(config.Dir, "influx-queue")
	}
	return options
}
