package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/aggregator"
	"github.com/kubernetes-resource-monitor/krm/apiserver"
	"github.com/kubernetes-resource-monitor/krm/collector"
	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
	"github.com/kubernetes-resource-monitor/krm/streamer"
	"github.com/kubernetes-resource-monitor/krm/verifier"
)

type standaloneFlags struct {
	process    processFlags
	resource   resourceFlag
	kube       kubeFlags
	verifier   verifier.Config
	aggregator aggregator.Config
	apiserver  apiserver.Config
	collector  collector.Config
	heapster   heapsterFlags
	past       metricdb.Config
	collect    bool
}

func (f *standaloneFlags) register(fs *pflag.FlagSet) {
	f.process.register(fs)
	f.resource.register(fs)
	f.kube.register(fs)
	f.verifier.RegisterFlags(fs)
	f.aggregator.RegisterFlags(fs)
	f.apiserver.RegisterFlags(fs)
	f.collector.RegisterFlags(fs)
	f.heapster.register(fs)
	f.past.RegisterFlags(fs)
	fs.BoolVar(&f.collect, "collect", true, "collect metrics from the kubelets, as whoever the kubeconfig says and trusting whom it trusts")
	level := fs.Lookup("log-level") // people watch this process: only what they must know
	level.DefValue = "warn"
	f.process.LogLevel = level.DefValue
}

func (f *standaloneFlags) validate() error {
	f.heapster.apply(&f.process)
	if err := f.process.validate(); err != nil {
		return err // an address that is none cannot be judged
	}
	return errors.Join(f.resource.validate(), f.kube.validate(),
		f.verifier.Validate(), f.aggregator.Validate(), f.apiserver.Validate(f.process.Listen), f.collector.Validate(), f.past.Validate())
}

func newStandaloneCommand() *cobra.Command {
	var flags standaloneFlags
	cmd := &cobra.Command{
		Use:   "standalone",
		Short: "Run all of KRM in one process, with an embedded Redis",
		Long: `standalone runs a streamer, a verifier and an aggregator for each resource, a
collector, and an apiserver for all of them in one process, with Redis embedded in
memory. What it holds is gone when it ends, and read anew when it starts. It is made
for a laptop and for a look; in a cluster run the processes apart, with a real Redis.

With --data-dir it keeps metrics in a database below that folder, for history and
billing; with INFLUXDB_HOST or --metric-db in InfluxDB.

Others reach it only if you say so: --listen :8000 wants --auth with a certificate, or
--insecure-any-address.

Metrics come from the kubelets, if they can be reached from here. They are asked with
the kubeconfig's credentials, and only if the kubeconfig's certificate authority
vouches for them. If another one does, say so with
--source 'kubernetes:?kubeletCAFile=FILE'; if none does,
--source 'kubernetes:?kubeletInsecureTLS=true' asks them all the same.`,
		Example: `  krm standalone
  krm standalone --context staging --resource pods,nodes,widgets.example.com
  krm standalone --data-dir ~/krm --log-dir ~/krm/logs --listen :8000 --insecure-any-address`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.validate(); err != nil {
				return usageError{err}
			}
			return runStandalone(cmd.Context(), flags, cmd.OutOrStdout())
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func runStandalone(ctx context.Context, flags standaloneFlags, out io.Writer) (err error) {
	p, err := newProcess(flags.process)
	if err != nil {
		return err
	}
	defer func() { err = p.logs.close(ended(ctx, err)) }()
	embedded, err := store.StartEmbedded(p.log)
	if err != nil {
		return err
	}
	// Redis goes last: the others drain into it and give their leases back.
	running, stopRedis := context.WithCancel(context.WithoutCancel(ctx))
	stopped := make(chan error, 1)
	go func() { stopped <- embedded.Run(running) }()
	defer func() {
		stopRedis()
		err = errors.Join(err, <-stopped)
	}()

	g, ctx := errgroup.WithContext(ctx)
	if err := p.connect(ctx, embedded.Options()); err != nil {
		return err
	}
	defer func() { err = errors.Join(ended(ctx, err), p.redis.Close()) }()
	source, config, err := connectKube(flags.kube, p)
	if err != nil {
		return err
	}
	db, err := openPast(&flags, p)
	if err != nil {
		return err
	}
	if db != nil {
		defer func() { err = errors.Join(err, db.Close()) }()
	}
	history := past{db, flags.collector.Resolution, flags.collector.Separator}
	set, err := serveAPI(ctx, g, flags.process.Listen, flags.apiserver, upstream{source, config}, history, p)
	if err != nil {
		return err
	}
	g.Go(func() error { return newDocuments(source, p).Run(ctx) })
	streamerOptions, verifierOptions, aggregatorOptions := streamer.Options{Metrics: streamer.NewMetrics(p.registry)}, flags.verifier.Options(), flags.aggregator.Options()
	verifierOptions.Metrics = verifier.NewMetrics(p.registry)
	aggregatorOptions.Metrics = aggregator.NewMetrics(p.registry)
	for _, name := range flags.resource.Names {
		g.Go(func() error { return newStreamer(name, source, p.redis, streamerOptions, p.log).Run(ctx) })
		g.Go(func() error { return newVerifier(name, source, p.redis, verifierOptions, p.log).Run(ctx) })
		g.Go(func() error { return aggregate(ctx, name, p.redis, aggregatorOptions, p.log) })
	}
	if flags.collect {
		parts := collectorParts{process: p, config: &flags.collector, api: config, past: db}
		work, err := collectHere(ctx, flags, parts)
		if err != nil {
			return err
		}
		work.run(ctx, g, parts)
	}
	g.Go(func() error { return welcome(ctx, out, flags, set) })
	return g.Wait()
}

// openPast opens the metric database of this process: the embedded one if only its
// folder is given, nil if nothing is.
func openPast(flags *standaloneFlags, p *process) (metricdb.DB, error) {
	sinks, err := flags.collector.ParseSinks()
	if err == nil {
		err = databaseOfSinks(sinks, &flags.past)
	}
	if err != nil {
		return nil, usageError{err}
	}
	otherwise := ""
	if flags.past.Dir != "" {
		otherwise = "embedded"
	}
	return openMetricDB(flags.past, otherwise, p)
}

// collectHere prepares the collector in this process.
func collectHere(ctx context.Context, flags standaloneFlags, parts collectorParts) (*collecting, error) {
	flags.heapster.warn(parts.process.log)
	if len(flags.collector.Sinks) == 0 {
		parts.config.Sinks = []string{collector.SinkRedis} // there is no listener for the exposition
	}
	parts.elsewhere = func(context.Context, string) (*store.Store, error) {
		return nil, usagef("--source: prefix= needs a Redis that others write to: use krm collector")
	}
	work, err := prepareCollecting(ctx, parts)
	if err == nil {
		work.before = func(ctx context.Context) { awaitSnapshots(ctx, parts.process.redis) }
	}
	return work, err
}

// awaitSnapshots waits until the first snapshots are there, for the collector not to
// complain that they are not. It waits a little only: who watches other resources than
// these shall be told.
func awaitSnapshots(ctx context.Context, redis *store.Store) {
	feeds := feedsOf(redis)
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for begun := time.Now(); time.Since(begun) < 20*time.Second; {
		missing := false
		for _, feed := range []objects.Feed{feeds.Nodes, feeds.Pods, feeds.Namespaces} {
			_, err := feed.State(ctx)
			missing = missing || err != nil
		}
		if !missing {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// welcome shows how the first sync goes on, and then what can be done with it.
func welcome(ctx context.Context, out io.Writer, flags standaloneFlags, set *mirror.Set) error {
	fmt.Fprintf(out, "Reading %d resources for the first time:\n", len(flags.resource.Names))
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	shown := map[string]bool{}
	for begun := time.Now(); len(shown) < len(flags.resource.Names) && time.Since(begun) < time.Minute; {
		for _, m := range set.Mirrors() {
			if root := m.Root(); root != nil && !shown[m.Resource().String()] {
				shown[m.Resource().String()] = true
				fmt.Fprintf(out, "  %-32v %6d objects\n", m.Resource(), root.Len())
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	if missing := len(flags.resource.Names) - len(shown); missing > 0 {
		fmt.Fprintf(out, "  %d are not there yet: \"krm status\" tells why.\n", missing)
	}
	host, port, err := net.SplitHostPort(flags.process.Listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if host == "" || net.ParseIP(host).IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if flags.apiserver.Auth.TLS() {
		scheme = "https://"
	}
	address := scheme + net.JoinHostPort(host, port)
	program, server := os.Args[0], ""
	if address != defaultServer {
		server = " --server " + address
	}
	fmt.Fprintf(out, `
KRM serves on %s. In another terminal, try:

%s
Press Ctrl-C to stop.
`, address, indent(
		program+" status"+server,
		program+" get pods -A -o wide"+server,
		fmt.Sprintf("curl -s '%s/api/v1/nodes' | head -c 600", address),
		fmt.Sprintf("curl -s '%s/api/v1/model/metrics/cpu/usage_rate'", address)))
	return nil
}

func indent(lines ...string) string { return "  " + strings.Join(lines, "\n  ") + "\n" }
