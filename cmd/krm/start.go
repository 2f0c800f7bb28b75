package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/apiserver"
	"github.com/kubernetes-resource-monitor/krm/internal/kube"
	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
)

// process is what every process stands on.
type process struct {
	log      *slog.Logger
	registry *prometheus.Registry
	redis    *store.Store
}

// startProcess builds logger and registry and waits for Redis. The caller closes redis.
func startProcess(ctx context.Context, flags processFlags, config store.Config) (*process, error) {
	log, err := flags.logger()
	if err != nil {
		return nil, usageError{err}
	}
	options, err := config.Options()
	if err != nil {
		return nil, usageError{err}
	}
	registry := newRegistry()
	options.Instance = instance()
	options.Metrics = store.NewMetrics(registry)
	redis, err := connectRedis(ctx, options, log)
	if err != nil {
		return nil, err
	}
	return &process{log: log, registry: registry, redis: redis}, nil
}

// task works on one resource until ctx ends.
type task func(ctx context.Context, name string) error

// serveEach is a process that works on resources: it waits for Redis, has prepare
// make the task, and runs that for each name beside the process's HTTP server.
func serveEach(ctx context.Context, flags processFlags, config store.Config, names []string, prepare func(*process) (task, error)) (err error) {
	p, err := startProcess(ctx, flags, config)
	if err != nil {
		return ended(ctx, err)
	}
	defer func() { err = errors.Join(ended(ctx, err), p.redis.Close()) }()
	work, err := prepare(p)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serveOps(ctx, flags.Listen, p.registry, p.redis.Ping, p.log) })
	for _, name := range names {
		g.Go(func() error { return work(ctx, name) })
	}
	return g.Wait()
}

// instance names this process among others.
func instance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// kubeFlags say how to reach the API server.
type kubeFlags struct {
	kube.Flags
	Silence           time.Duration
	KeepManagedFields bool // must be the same for streamer and verifier
}

func (f *kubeFlags) register(fs *pflag.FlagSet) {
	f.RegisterFlags(fs)
	fs.DurationVar(&f.Silence, "silence", 90*time.Second, "reconnect after so long without a byte from the API server; watches bring one at least every minute")
	fs.BoolVar(&f.KeepManagedFields, "keep-managed-fields", false, "keep metadata.managedFields in the objects; give it to streamer and verifier alike")
}

func (f *kubeFlags) validate() error {
	var fault error
	if f.Silence < time.Second {
		fault = fmt.Errorf("--silence=%v: want at least 1s", f.Silence)
	}
	return errors.Join(fault, f.Validate())
}

func connectKube(flags kubeFlags, p *process) (*kube.Client, error) {
	config, err := flags.Config()
	if err != nil {
		return nil, usageError{err}
	}
	return kube.Connect(config, kube.Options{
		Silence:           flags.Silence,
		KeepManagedFields: flags.KeepManagedFields,
		UserAgent:         "krm/" + version,
		Metrics:           kube.NewMetrics(p.registry),
	}, p.log)
}

// serveAPI starts, in g, the mirrors of all registered resources and the HTTP
// server that answers from them.
func serveAPI(ctx context.Context, g *errgroup.Group, listen string, config apiserver.Config, p *process) *mirror.Set {
	feed := func(resource object.Resource) mirror.Feed { return p.redis.Feed(resource) }
	options := mirror.Options{Metrics: mirror.NewMetrics(p.registry), OnUnreadable: func(ctx context.Context, resource object.Resource) {
		if err := p.redis.Ask(ctx, resource, object.AskFull); err != nil {
			p.log.Warn("cannot ask for a full verification", "resource", resource.String(), "err", err)
		}
	}}
	set := mirror.NewSet(p.redis, feed, options, p.log)
	serving := config.Options(p.registry)
	serving.Listen = listen
	server := apiserver.New(set, p.redis, serving, p.log)
	g.Go(func() error { return set.Run(ctx) })
	g.Go(func() error { return server.Run(ctx) })
	return set
}
