package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/collector"
	"github.com/kubernetes-resource-monitor/krm/collector/sink"
	"github.com/kubernetes-resource-monitor/krm/internal/kube"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
)

type collectorFlags struct {
	process   processFlags
	redis     store.Config
	kube      kube.Flags
	collector collector.Config
	heapster  heapsterFlags
	past      metricdb.Config
	check     bool
}

func (f *collectorFlags) register(fs *pflag.FlagSet) {
	f.process.registerOps(fs)
	f.redis.RegisterFlags(fs)
	f.kube.RegisterFlags(fs)
	f.collector.RegisterFlags(fs)
	f.heapster.register(fs)
	f.past.RegisterFlags(fs)
	fs.BoolVar(&f.check, "check", false, "ask each node once, print a table of what works, and end")
}

func (f *collectorFlags) validate() error {
	f.heapster.apply(&f.process)
	return errors.Join(f.process.validateOps(), f.redis.Validate(), f.kube.Validate(), f.collector.Validate(), f.past.Validate(), checkShared(f.past))
}

// heapsterFlags are those of Heapster that say how it serves: old command lines have
// them. The model is served by krm apiserver.
type heapsterFlags struct {
	port     int
	ip       string
	maxProcs int
	ignored  *pflag.FlagSet // of all flags: to see which were given
}

// ignoredFlags do nothing here.
var ignoredFlags = []string{"tls-cert", "tls-key", "tls-client-ca", "allowed-users", "historical-source", "disable-export", "api-server"}

func (f *heapsterFlags) register(fs *pflag.FlagSet) {
	f.ignored = fs
	fs.IntVar(&f.port, "heapster-port", 0, "port of --listen, as Heapster called it")
	fs.StringVar(&f.ip, "listen-ip", "", "IP address of --listen, as Heapster called it")
	fs.IntVar(&f.maxProcs, "max-procs", 0, "how many CPUs to use (default as many as there are)")
	for _, name := range ignoredFlags {
		if fs.Lookup(name) != nil {
			continue
		}
		fs.String(name, "", "does nothing here: krm apiserver serves the model")
		fs.Lookup(name).NoOptDefVal = "true"
		_ = fs.MarkHidden(name) // it is there
	}
}

// apply puts what the old names say into the new places.
func (f *heapsterFlags) apply(process *processFlags) {
	host, port, err := net.SplitHostPort(process.Listen)
	if err != nil {
		return // validate says it
	}
	if f.ip != "" {
		host = f.ip
	}
	if f.port != 0 {
		port = strconv.Itoa(f.port)
	}
	process.Listen = net.JoinHostPort(host, port)
	if f.maxProcs > 0 {
		runtime.GOMAXPROCS(f.maxProcs)
	}
}

// warn tells which of the flags that were given do nothing.
func (f *heapsterFlags) warn(log *slog.Logger) {
	f.ignored.Visit(func(flag *pflag.Flag) {
		if slices.Contains(ignoredFlags, flag.Name) && flag.Hidden {
			log.Warn("a flag does nothing here: krm apiserver serves the model, with flags of its own", "flag", "--"+flag.Name)
		}
	})
}

func newCollectorCommand() *cobra.Command {
	var flags collectorFlags
	cmd := &cobra.Command{
		Use:   "collector",
		Short: "Collect the metrics of nodes, pods and containers from the kubelets",
		Long: `collector asks every node's kubelet, window after window, for what its pods and
containers use, and writes the windows into Redis, where apiservers read them: they
serve the model API of Heapster and metrics.k8s.io from that. Which nodes and pods
there are it learns from KRM's own snapshots: run a streamer and an aggregator for
nodes, pods and namespaces.

A second collector stands by. To divide a large cluster's nodes over several, give
each --shard. Kubelets are asked with the token of the pod's service account, which
must be allowed to get nodes/stats and nodes/metrics; outside a cluster as the
kubeconfig says. --check tells what works.`,
		Example: `  krm collector --redis-addr redis:6379
  krm collector --check
  krm collector --source 'kubernetes:?kubeletCAFile=/etc/kubelets.crt' --source dcgm: --sink log:
  krm collector --source 'kubernetes:?cluster_name=b&inClusterConfig=false&auth=/etc/b.conf'`,
		Args:    cobra.NoArgs,
		Version: version,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.validate(); err != nil {
				return usageError{err}
			}
			return runCollector(cmd.Context(), flags, cmd.OutOrStdout())
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

// collectorGC is the collector's GC percentage unless GOGC says another: its heap is a few big
// columns that are made anew every window, and quick to mark.
const collectorGC = 40

func runCollector(ctx context.Context, flags collectorFlags, out io.Writer) (err error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectorGC)
	}
	p, err := startProcess(ctx, flags.process, flags.redis)
	if err != nil {
		return ended(ctx, err)
	}
	defer func() { err = p.close(ended(ctx, err)) }()
	flags.heapster.warn(p.log)
	parts := collectorParts{process: p, config: &flags.collector, elsewhere: func(ctx context.Context, prefix string) (*store.Store, error) {
		config := flags.redis
		config.Prefix = prefix
		options, err := config.Options()
		if err != nil {
			return nil, usageError{err}
		}
		options.Instance = instance()
		return connectRedis(ctx, options, p.log)
	}}
	if parts.api, err = flags.kube.Config(); err != nil {
		// Our own cluster's objects come from Redis: without an API server we only lack
		// credentials, and the first answer 401 says so.
		p.log.Info("no API server is known", "err", err)
	}
	sinks, err := flags.collector.ParseSinks()
	if err == nil {
		err = databaseOfSinks(sinks, &flags.past)
	}
	if err != nil {
		return usageError{err}
	}
	if parts.past, err = openMetricDB(flags.past, "", p); err != nil {
		return err
	}
	if parts.past != nil {
		defer func() { err = errors.Join(err, parts.past.Close()) }()
	}
	work, err := prepareCollecting(ctx, parts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, work.close()) }()
	if flags.check {
		return work.check(ctx, out)
	}
	g, ctx := errgroup.WithContext(ctx)
	ops := newOps(p.registry, func(ctx context.Context) error { return errors.Join(p.redis.Ping(ctx), work.health.Ready()) })
	ops.Handle("GET /healthz", work.health)
	if work.exposition != nil && work.listen == "" {
		ops.Handle("GET "+sink.ExpositionPath, work.exposition)
	}
	g.Go(func() error { return serveHTTP(ctx, flags.process.Listen, ops, p.log) })
	work.run(ctx, g, parts)
	return g.Wait()
}

// checkTime is how long a check waits for the objects of clusters.
const checkTime = 30 * time.Second

// check tries every node of every cluster once.
func (c *collecting) check(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	g, following := errgroup.WithContext(ctx)
	for _, known := range c.objects {
		g.Go(func() error { return known.Run(following) })
	}
	var faults []error
	for i, check := range c.checks {
		if len(c.checks) > 1 {
			fmt.Fprintf(out, "%scluster %s\n", strings.Repeat("\n", min(i, 1)), check.Cluster())
		}
		faults = append(faults, check.Run(ctx, out))
	}
	cancel()
	return errors.Join(append(faults, g.Wait())...)
}
