package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/collector"
	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	processors "github.com/kubernetes-resource-monitor/krm/collector/process"
	"github.com/kubernetes-resource-monitor/krm/collector/sink"
	"github.com/kubernetes-resource-monitor/krm/collector/source"
	"github.com/kubernetes-resource-monitor/krm/internal/kube"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
)

// collecting is the collector's work for all clusters that its flags name.
type collecting struct {
	pipelines  []*collector.Pipeline
	fans       []*sink.Fan
	objects    []*objects.Objects
	checks     []*collector.Check
	exposition *sink.Prometheus // nil: no such sink
	listen     string           // of the exposition; "" for the process's own address
	health     *collector.Health
	before     func(context.Context) // what objects wait for; nil: nothing
	closers    []func() error
	labels     processors.LabelOptions
}

// collectorParts are what pipelines have in common.
type collectorParts struct {
	process *process
	config  *collector.Config
	api     *rest.Config // of our own cluster; nil if it is not known
	// elsewhere opens the Redis keys of a KRM that watches another cluster.
	elsewhere func(ctx context.Context, prefix string) (*store.Store, error)
	past      metricdb.DB // nil: there is no metric database
	metrics   *collector.Metrics
	sinks     sink.Options
}

// prepareCollecting opens what flags say. It starts nothing.
func prepareCollecting(ctx context.Context, parts collectorParts) (*collecting, error) {
	clusters, err := parts.config.Clusters()
	if err != nil {
		return nil, usageError{err}
	}
	sinks, err := parts.config.ParseSinks()
	if err != nil {
		return nil, usageError{err}
	}
	parts.metrics = collector.NewMetrics(parts.process.registry)
	parts.sinks = sink.Options{Timeout: parts.config.SinkTimeout, Metrics: sink.NewMetrics(parts.process.registry)}
	c := &collecting{health: collector.NewHealth(parts.config.Schedule())}
	for _, s := range sinks {
		if s.Name == collector.SinkPrometheus {
			c.exposition, c.listen = sink.NewPrometheus(), s.Listen
		}
	}
	for _, cluster := range clusters {
		if err := c.add(ctx, cluster, sinks, parts); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

// add prepares one cluster's pipeline.
func (c *collecting) add(ctx context.Context, cluster collector.ClusterConfig, sinks []collector.SinkConfig, parts collectorParts) error {
	shard, err := parts.config.ParseShard()
	if err != nil {
		return usageError{err}
	}
	labels, err := parts.config.Labels()
	if err != nil {
		return usageError{err}
	}
	c.labels = labels
	var sources []collector.NamedSource
	for _, config := range cluster.Sources {
		access, err := accessOf(config, parts.api)
		if err != nil {
			return usageError{err}
		}
		opened, err := source.Open(config, access, parts.process.log)
		if err != nil {
			return usageError{err}
		}
		sources = append(sources, collector.NamedSource{Name: config.Prefix, Source: opened})
		if config.HostIDAnnotation != "" {
			labels.HostIDAnnotation = config.HostIDAnnotation
		}
	}
	known, err := c.follow(ctx, cluster, parts)
	if err != nil {
		return err
	}
	stream := object.FrameStream{Cluster: cluster.Name, Shard: shard.Index, Shards: shard.Count}
	fan := sink.NewFan(cluster.Name, c.open(stream, sinks, parts), parts.sinks, parts.process.log)
	options := collector.Options{
		Schedule: parts.config.Schedule(), Shard: shard, Parallel: parts.config.Parallel,
		Labels: labels, Metrics: parts.metrics, Health: c.health,
	}
	c.objects = append(c.objects, known)
	c.fans = append(c.fans, fan)
	c.pipelines = append(c.pipelines, collector.New(cluster.Name, sources, known, fan, options, parts.process.log))
	c.checks = append(c.checks, collector.NewCheck(cluster.Name, sources, known, options))
	return nil
}

// open makes a cluster's sinks.
func (c *collecting) open(stream object.FrameStream, sinks []collector.SinkConfig, parts collectorParts) (opened []sink.Named) {
	redis, log := parts.process.redis, parts.process.log
	for _, s := range sinks {
		switch s.Name {
		case collector.SinkRedis:
			opened = append(opened, sink.Named{Name: s.Name, Sink: sink.NewRedis(stream, redis.FrameWriter(stream), redis.Frames(), parts.sinks.Metrics, log)})
		case collector.SinkLog:
			opened = append(opened, sink.Named{Name: s.Name, Sink: sink.NewLog(os.Stdout, s.Types)})
		case collector.SinkPrometheus:
			opened = append(opened, sink.Named{Name: s.Name, Sink: c.exposition})
		}
	}
	if parts.past != nil {
		opened = append(opened, sink.Named{Name: "metricdb", Sink: dbSink{parts.past}})
	}
	return opened
}

// follow says where a cluster's objects come from: from our own snapshots, from those
// of another KRM, or from the cluster's API server.
func (c *collecting) follow(ctx context.Context, cluster collector.ClusterConfig, parts collectorParts) (*objects.Objects, error) {
	log := parts.process.log.With("cluster", cluster.Name)
	switch {
	case cluster.Redis != "":
		other, err := parts.elsewhere(ctx, cluster.Redis)
		if err != nil {
			return nil, err
		}
		c.closers = append(c.closers, other.Close)
		return objects.FromSnapshots(feedsOf(other), log), nil
	case cluster.Name == defaultCluster:
		return objects.FromSnapshots(feedsOf(parts.process.redis), log), nil
	}
	config, err := apiOf(cluster.Sources[0], parts.api)
	if err != nil {
		return nil, usageError{fmt.Errorf("cluster %q: %w", cluster.Name, err)}
	}
	config = rest.CopyConfig(config)
	config.UserAgent = "krm/" + version
	informers, err := kube.NewInformers(config)
	if err != nil {
		return nil, fmt.Errorf("cluster %q: %w", cluster.Name, err)
	}
	return objects.FromInformers(informers, log), nil
}

// defaultCluster is the one that this KRM watches.
const defaultCluster = "default"

func feedsOf(redis *store.Store) objects.Feeds {
	feed := func(name, kind string, namespaced bool) objects.Feed {
		return redis.Feed(object.Resource{Version: "v1", Name: name, Kind: kind, Namespaced: namespaced})
	}
	return objects.Feeds{Pods: feed("pods", "Pod", true), Nodes: feed("nodes", "Node", false), Namespaces: feed("namespaces", "Namespace", false)}
}

// accessOf is how a source's kubelets are asked. With inClusterConfig, the default,
// that is as whoever we are to our own API server, and we trust whom it trusts: in a
// pod its service account, elsewhere the kubeconfig.
func accessOf(config source.Config, api *rest.Config) (source.Access, error) {
	switch {
	case config.InCluster:
	case config.Auth != "":
		var err error
		if api, err = kube.Config(config.Auth, ""); err != nil {
			return source.Access{}, fmt.Errorf("source %s: %w", config.Prefix, err)
		}
	default:
		api = nil
	}
	if api == nil {
		return source.Access{}, nil
	}
	return source.Access{
		Token: api.BearerToken, TokenFile: api.BearerTokenFile,
		Cert: api.CertData, Key: api.KeyData, CertFile: api.CertFile, KeyFile: api.KeyFile,
		CA: api.CAData, CAFile: api.CAFile,
	}, nil
}

// apiOf is the API server of a source's cluster.
func apiOf(config source.Config, api *rest.Config) (*rest.Config, error) {
	switch {
	case config.InCluster && api == nil:
		return nil, errors.New("its API server is not known: say it with inClusterConfig=false and auth=KUBECONFIG, or where KRM watches it with prefix=REDIS_PREFIX")
	case config.InCluster:
		api = rest.CopyConfig(api)
		if config.Server != "" {
			api.Host = config.Server
		}
	case config.Auth != "":
		var err error
		if api, err = kube.Config(config.Auth, ""); err != nil {
			return nil, err
		}
	default:
		api = &rest.Config{Host: config.Server}
	}
	if config.Insecure {
		api.TLSClientConfig = rest.TLSClientConfig{
			Insecure: true, CertData: api.CertData, KeyData: api.KeyData, CertFile: api.CertFile, KeyFile: api.KeyFile,
		}
	}
	return api, nil
}

// run starts, in g, all that was prepared with parts.
func (c *collecting) run(ctx context.Context, g *errgroup.Group, parts collectorParts) {
	if parts.past != nil {
		g.Go(func() error { return parts.past.Run(ctx) })
		keepPast(ctx, g, parts.past, c.labels, c.before, parts.process)
	}
	for _, known := range c.objects {
		g.Go(func() error {
			if c.before != nil {
				c.before(ctx)
			}
			return known.Run(ctx)
		})
	}
	for _, fan := range c.fans {
		g.Go(func() error { return fan.Run(ctx) })
	}
	for _, pipeline := range c.pipelines {
		g.Go(func() error { return pipeline.Run(ctx) })
	}
	if c.exposition != nil && c.listen != "" {
		mux := http.NewServeMux()
		mux.Handle("GET "+sink.ExpositionPath, c.exposition)
		g.Go(func() error { return serveHTTP(ctx, c.listen, mux, parts.process.log) })
	}
}

func (c *collecting) close() error {
	var faults []error
	for _, f := range c.closers {
		faults = append(faults, f())
	}
	return errors.Join(faults...)
}
