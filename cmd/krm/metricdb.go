package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/apiserver"
	"github.com/kubernetes-resource-monitor/krm/apiserver/billing"
	"github.com/kubernetes-resource-monitor/krm/collector"
	processors "github.com/kubernetes-resource-monitor/krm/collector/process"
	"github.com/kubernetes-resource-monitor/krm/collector/sink"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/connect"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// openMetricDB opens the metric database of a process that shares it with others; nil
// if none is configured. The caller closes it.
func openMetricDB(config metricdb.Config, p *process) (metricdb.DB, error) {
	settings, err := config.Settings()
	if err != nil {
		return nil, usageError{err}
	}
	if settings.Kind == "embedded" {
		return nil, usagef("--metric-db=embedded belongs to one process, krm standalone: processes that run apart need InfluxDB, --metric-db=influxdb:URL")
	}
	return openAnyMetricDB(config, "", p)
}

// openAnyMetricDB opens the metric database that config names, or else otherwise; nil if
// there is none.
func openAnyMetricDB(config metricdb.Config, otherwise string, p *process) (metricdb.DB, error) {
	db, err := connect.Open(config, otherwise, p.registry, p.log)
	if errors.Is(err, connect.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open the metric database: %w", err)
	}
	return db, nil
}

// dbSink writes batches into the metric database.
type dbSink struct{ db metricdb.DB }

// Write writes b. While the database is away or full the batch comes again.
func (s dbSink) Write(ctx context.Context, b *metrics.Batch) error {
	err := s.db.Write(ctx, b)
	if err == nil || errors.Is(err, metricdb.ErrUnavailable) || errors.Is(err, metricdb.ErrFull) || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w: %w", sink.ErrDrop, err)
}

// Run does nothing: the database's own Run works beside.
func (s dbSink) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// keepPast starts, in g, what a collector does in the metric database beside writing
// samples: the roll-ups of each hour, and the lives of our own cluster's pods, whose
// snapshot is there once before returns.
func keepPast(ctx context.Context, g *errgroup.Group, db metricdb.DB, labels processors.LabelOptions, before func(context.Context), p *process) {
	engine := rollup.New(db, rollup.Options{Metrics: rollup.NewMetrics(p.registry)}, p.log)
	lives := lifetime.NewFollower(db, feedsOf(p.redis).Pods, defaultCluster, lifetime.Options{
		Separator: labels.Separator, Ignore: labels.Ignore, Metrics: lifetime.NewMetrics(p.registry),
	}, p.log)
	g.Go(func() error { return engine.Run(ctx) })
	g.Go(func() error {
		if before != nil {
			before(ctx)
		}
		return lives.Run(ctx)
	})
}

// servePast has the apiserver answer about the past and for billing.
func servePast(options *apiserver.Options, config billing.Config, db metricdb.DB, p *process) error {
	configured, err := config.Options(os.LookupEnv)
	if err != nil {
		return usageError{err}
	}
	rolled := rolledUp(db)
	configured.Answer, configured.Billed, configured.Lives = rolled.Answer, rolled.Billed, rolled.Lives
	options.Past, options.Billing = db, billing.New(db, configured, p.log)
	return nil
}

// rolledUp has billing answer from roll-ups where there are some.
func rolledUp(db metricdb.DB) billing.Options {
	return billing.Options{
		Answer: func(ctx context.Context, q metricdb.Query, g metricdb.Grouping) ([]metricdb.Group, billing.Coverage, error) {
			groups, covered, err := rollup.Answer(ctx, db, q, g)
			expected := make([]int64, len(covered.Each))
			for i, each := range covered.Each {
				expected[i] = each.Expected
			}
			return groups, billing.Coverage{Expected: expected, Complete: covered.Complete}, err
		},
		Billed: func(ctx context.Context, q metricdb.Query, by ...string) ([]metricdb.Group, error) {
			return rollup.Billed(ctx, db, q, by...)
		},
		Lives: func(ctx context.Context, from, to time.Time, where ...metricdb.Match) (lives []billing.Life, err error) {
			all, err := lifetime.Pods(ctx, db, from, to, where...)
			for _, l := range all {
				lives = append(lives, billing.Life{
					Cluster: l.Tags.Get(metricdb.TagCluster), Namespace: l.Tags.Get(metricdb.TagNamespace), Pod: l.Tags.Get(metricdb.TagPod),
					UID: l.UID(), Labels: l.Tags.Get(metricdb.TagLabels), Scheduled: l.Scheduled, Started: l.Started, Ended: l.Ended(),
					CPU: l.CPU, Memory: l.Memory, GPU: l.GPU,
				})
			}
			return lives, err
		},
	}
}

// databaseOfSinks is what --sink says of the metric database, which is written to as
// --metric-db is.
func databaseOfSinks(sinks []collector.SinkConfig, config *metricdb.Config) error {
	for _, s := range sinks {
		if s.Name != collector.SinkInflux {
			continue
		}
		if config.URL != "" {
			return usagef("--sink=%s: --metric-db=%s is given, too: one metric database is written to", s.Database, config.URL)
		}
		config.URL = s.Database
	}
	return nil
}
