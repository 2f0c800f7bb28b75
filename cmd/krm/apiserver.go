package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/apiserver"
	"github.com/kubernetes-resource-monitor/krm/internal/kube"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
)

type apiserverFlags struct {
	process   processFlags
	redis     store.Config
	kube      kube.Flags
	apiserver apiserver.Config
	past      metricdb.Config
	separator string
}

func (f *apiserverFlags) register(fs *pflag.FlagSet) {
	f.process.register(fs)
	f.redis.RegisterFlags(fs)
	f.kube.RegisterFlags(fs)
	f.apiserver.RegisterFlags(fs)
	f.past.RegisterFlags(fs)
	fs.StringVar(&f.separator, "label-separator", ",", "text between labels in the metric database, as the collector's --label-separator")
}

func (f *apiserverFlags) validate() error {
	if err := f.process.validate(); err != nil {
		return err // an address that is none cannot be judged
	}
	return errors.Join(f.redis.Validate(), f.apiserver.Validate(f.process.Listen), f.past.Validate(), checkShared(f.past))
}

func newAPIServerCommand() *cobra.Command {
	var flags apiserverFlags
	cmd := &cobra.Command{
		Use:   "apiserver",
		Short: "Serve the snapshots of all registered resources as the Kubernetes API server does",
		Long: `apiserver keeps a copy of every registered resource's snapshot in memory, follows
its changes, and serves it at the paths of the Kubernetes API, so that kubectl, client-go
and controllers need only another server address. It holds no state of its own: run
as many as you like. While Redis is away it serves on, and says in its answers how
old they are.

It talks to the Kubernetes API server only with --auth=kubernetes, to ask who clients
are and what they may read, and with --passthrough, to send on what it does not hold.`,
		Example: `  krm apiserver --redis-addr redis:6379
  kubectl --server http://127.0.0.1:8080 get pods -A -l app=web --watch
  krm apiserver --redis-addr redis:6379 --listen :8443 --auth kubernetes \
    --tls-cert-file tls.crt --tls-private-key-file tls.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.validate(); err != nil {
				return usageError{err}
			}
			return runAPIServer(cmd.Context(), flags)
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func runAPIServer(ctx context.Context, flags apiserverFlags) (err error) {
	p, err := startProcess(ctx, flags.process, flags.redis)
	if err != nil {
		return ended(ctx, err)
	}
	defer func() { err = p.close(ended(ctx, err)) }()
	var up upstream
	if flags.apiserver.NeedsKubernetes() {
		source, config, err := connectKube(kubeFlags{Flags: flags.kube}, p)
		if err != nil {
			return err
		}
		up = upstream{source, config}
	}
	db, err := openMetricDB(flags.past, "", p)
	if err != nil {
		return err
	}
	if db != nil {
		defer func() { err = errors.Join(err, db.Close()) }()
	}
	g, ctx := errgroup.WithContext(ctx)
	if _, err := serveAPI(ctx, g, flags.process.Listen, flags.apiserver, up, past{db: db, separator: flags.separator}, p); err != nil {
		return err
	}
	return g.Wait()
}
