package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/apiserver"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
)

type apiserverFlags struct {
	process   processFlags
	redis     store.Config
	apiserver apiserver.Config
}

func (f *apiserverFlags) register(fs *pflag.FlagSet) {
	f.process.register(fs)
	f.redis.RegisterFlags(fs)
	f.apiserver.RegisterFlags(fs)
}

func (f *apiserverFlags) validate() error {
	return errors.Join(f.process.validate(), f.redis.Validate(), f.apiserver.Validate(f.process.Listen))
}

func newAPIServerCommand() *cobra.Command {
	var flags apiserverFlags
	cmd := &cobra.Command{
		Use:   "apiserver",
		Short: "Serve the snapshots of all registered resources by GET, at the Kubernetes API's paths",
		Long: `apiserver keeps a copy of every registered resource's snapshot in memory, follows
its changes, and serves it read-only at the paths of the Kubernetes API. It holds no
state of its own: run as many as you like. While Redis is away it serves on, and says
in its answers how old they are.`,
		Example: `  krm apiserver --redis-addr redis:6379
  curl '127.0.0.1:8080/api/v1/namespaces/default/pods?labelSelector=app%3Dweb'`,
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
	defer func() { err = errors.Join(ended(ctx, err), p.redis.Close()) }()
	g, ctx := errgroup.WithContext(ctx)
	serveAPI(ctx, g, flags.process.Listen, flags.apiserver, p)
	return g.Wait()
}
