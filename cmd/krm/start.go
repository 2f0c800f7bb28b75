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
	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/apiserver"
	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
	"github.com/kubernetes-resource-monitor/krm/apiserver/discovery"
	"github.com/kubernetes-resource-monitor/krm/apiserver/model"
	"github.com/kubernetes-resource-monitor/krm/apiserver/passthrough"
	"github.com/kubernetes-resource-monitor/krm/internal/kube"
	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
	"github.com/kubernetes-resource-monitor/krm/streamer"
)

// process is what every process stands on.
type process struct {
	log      *slog.Logger
	logs     logs
	registry *prometheus.Registry
	redis    *store.Store
	beside   []func(context.Context) error // what runs once, beside the work on each resource
}

// newProcess opens the logs and makes the registry. The caller closes the process.
func newProcess(flags processFlags) (*process, error) {
	registry := newRegistry()
	opened, err := flags.open(registry)
	if err != nil {
		return nil, usageError{err}
	}
	opened.Info("the process begins", "version", version, "pid", os.Getpid())
	return &process{log: opened.Logger, logs: opened, registry: registry}, nil
}

// startProcess makes a process and waits for Redis. The caller closes the process.
func startProcess(ctx context.Context, flags processFlags, config store.Config) (*process, error) {
	p, err := newProcess(flags)
	if err != nil {
		return nil, err
	}
	options, err := config.Options()
	if err != nil {
		return nil, p.close(usageError{err})
	}
	if err := p.connect(ctx, options); err != nil {
		if fault := p.close(ended(ctx, err)); fault != nil {
			return nil, fault
		}
		return nil, err // it was told to stop while it waited
	}
	return p, nil
}

// connect waits for Redis.
func (p *process) connect(ctx context.Context, options store.Options) (err error) {
	options.Instance = instance()
	options.Metrics = store.NewMetrics(p.registry)
	p.redis, err = connectRedis(ctx, options, p.log)
	return err
}

// close gives back what the process stands on. err is what ended it, or nil; it is
// returned with what went wrong here.
func (p *process) close(err error) error {
	if p.redis != nil {
		err = errors.Join(err, p.redis.Close())
	}
	return p.logs.close(err)
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
	defer func() { err = p.close(ended(ctx, err)) }()
	work, err := prepare(p)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serveOps(ctx, flags.Listen, p.registry, p.redis.Ping, p.log) })
	for _, run := range p.beside {
		g.Go(func() error { return run(ctx) })
	}
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

func connectKube(flags kubeFlags, p *process) (*kube.Client, *rest.Config, error) {
	config, err := flags.Config()
	if err != nil {
		return nil, nil, usageError{err}
	}
	source, err := kube.Connect(config, kube.Options{
		Silence:           flags.Silence,
		KeepManagedFields: flags.KeepManagedFields,
		UserAgent:         "krm/" + version,
		Metrics:           kube.NewMetrics(p.registry),
	}, p.log)
	return source, config, err
}

// newDocuments keeps in Redis what the API server tells of itself.
func newDocuments(source *kube.Client, p *process) *streamer.Documents {
	return streamer.NewDocuments(source, p.redis, streamer.DocumentsOptions{Metrics: streamer.NewDocumentsMetrics(p.registry)}, p.log)
}

// upstream is the API server as krm's own needs it: to ask who clients are and what
// they may, and to pass on what is not held. The zero value is none.
type upstream struct {
	reviewer auth.Reviewer
	config   *rest.Config
}

// serveAPI starts, in g, the mirrors of all registered resources and the HTTP
// server that answers from them, and from the past, if there is a metric database.
func serveAPI(ctx context.Context, g *errgroup.Group, listen string, config apiserver.Config, up upstream, history past, p *process) (*mirror.Set, error) {
	set := mirror.NewSet(p.redis, func(resource object.Resource) mirror.Feed { return p.redis.Feed(resource) }, mirror.Options{
		Metrics:      mirror.NewMetrics(p.registry),
		OnUnreadable: p.asking(object.AskFull),
		OnBehind:     p.asking(object.AskAdvance),
	}, p.log)
	options := config.Options(p.registry)
	options.Listen = listen
	options.Secret = func(ctx context.Context) ([]byte, error) { return p.redis.Secret(ctx, "continue") }
	guard, err := auth.Open(config.Auth, up.reviewer, p.registry, p.log)
	if err != nil {
		return nil, usageError{err}
	}
	options.Guard = guard
	serving, err := auth.OpenServing(config.Auth, p.registry, p.log)
	if err != nil {
		return nil, usageError{err}
	}
	if serving != nil {
		options.TLS = serving.Config()
	}
	if config.Passthrough.Enabled() {
		target, transport, err := kube.Upstream(up.config)
		if err != nil {
			return nil, err
		}
		options.Passthrough = passthrough.New(config.Passthrough, target, transport, p.registry, p.log)
	}
	metrics := newModel(p)
	options.Model = metrics
	if history.db != nil {
		if err := servePast(&options, config.Billing, history, p); err != nil {
			return nil, err
		}
	}
	known := discovery.New(p.redis, withMetrics(metrics, served(set)), discovery.Options{
		Scope: scope(config.Passthrough), Unwatched: []string{model.Group},
	}, p.log)
	options.Discovery = known
	server := apiserver.New(set, p.redis, options, p.log)
	if serving != nil {
		g.Go(func() error { return serving.Run(ctx) })
	}
	g.Go(func() error { return guard.Run(ctx) })
	g.Go(func() error { return known.Run(ctx) })
	g.Go(func() error { return set.Run(ctx) })
	g.Go(func() error { return metrics.Run(ctx) })
	g.Go(func() error { return server.Run(ctx) })
	return set, nil
}

// asking returns a function that leaves a wish in Redis.
func (p *process) asking(ask object.Ask) func(context.Context, object.Resource) {
	return func(ctx context.Context, resource object.Resource) {
		if err := p.redis.Ask(ctx, resource, ask); err != nil && ctx.Err() == nil {
			p.log.Warn("cannot leave a wish in redis", "wish", string(ask), "resource", resource.String(), "err", err)
		}
	}
}

func served(set *mirror.Set) func() []object.Resource {
	return func() (resources []object.Resource) {
		for _, m := range set.Mirrors() {
			resources = append(resources, m.Resource())
		}
		return resources
	}
}

// scope is how much of the API clients are told of.
func scope(config passthrough.Config) discovery.Scope {
	switch config.Mode {
	case passthrough.ModeReads:
		return discovery.ScopeReads
	case passthrough.ModeAll:
		return discovery.ScopeAll
	}
	return discovery.ScopeServed
}
