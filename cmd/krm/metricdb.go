package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
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
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// checkShared refuses a metric database that processes which run apart cannot share.
func checkShared(config metricdb.Config) error {
	if kind, _, _ := strings.Cut(config.URL, ":"); kind == "embedded" {
		return errors.New("--metric-db=embedded belongs to one process, krm standalone: processes that run apart need InfluxDB, --metric-db=influxdb:URL")
	}
	return nil
}

// openMetricDB opens the metric database that config names, or else otherwise; nil if
// there is none. The caller closes it.
func openMetricDB(config metricdb.Config, otherwise string, p *process) (metricdb.DB, error) {
	if _, err := config.Settings(); err != nil {
		return nil, usageError{err}
	}
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
// samples: the roll-ups of each hour, and the lives of our own cluster's pods and claims,
// once before returns.
func keepPast(ctx context.Context, g *errgroup.Group, db metricdb.DB, labels processors.LabelOptions, before func(context.Context), p *process) {
	engine := rollup.New(db, rollup.Options{Metrics: rollup.NewMetrics(p.registry)}, p.log)
	g.Go(func() error { return engine.Run(ctx) })
	options := lifetime.Options{Separator: labels.Separator, Ignore: labels.Ignore, Metrics: lifetime.NewMetrics(p.registry)}
	for _, lives := range []*lifetime.Follower{
		lifetime.NewFollower(db, feedsOf(p.redis).Pods, defaultCluster, options, p.log),
		lifetime.NewClaimFollower(db, p.redis.Feed(claims()), defaultCluster, options, p.log), // waits where claims are not watched
	} {
		g.Go(func() error {
			if before != nil {
				before(ctx)
			}
			return lives.Run(ctx)
		})
	}
}

// claims are what pods' storage is requested by.
func claims() object.Resource {
	return object.Resource{Version: "v1", Name: "persistentvolumeclaims", Kind: "PersistentVolumeClaim", Namespaced: true}
}

// past is what an apiserver answers from about the past.
type past struct {
	db metricdb.DB // nil: none

	// What the collector is told, too. The resolution is only for where the database does
	// not know one; 0 is its default.
	resolution time.Duration
	separator  string
}

// servePast has the apiserver answer about the past and for billing.
func servePast(options *apiserver.Options, config billing.Config, from past, p *process) error {
	configured, err := config.Options(os.LookupEnv)
	if err != nil {
		return usageError{err}
	}
	configured.Resolution, configured.LabelSeparator = from.resolution, from.separator
	configured.Metrics = billing.NewMetrics(p.registry)
	options.Past, options.Billing = from.db, billing.New(from.db, configured, p.log)
	return nil
}

// databaseOfSinks is what --sink says of the metric database, which is written to as
// --metric-db is.
func databaseOfSinks(sinks []collector.SinkConfig, config *metricdb.Config) error {
	for _, s := range sinks {
		if s.Name != collector.SinkInflux {
			continue
		}
		if config.URL != "" {
			return usagef("--sink=%s: --metric-db is given, too: one metric database is written to", s.Name) // their URLs may hold passwords
		}
		config.URL = s.Database
	}
	return nil
}
