package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubernetes-resource-monitor/krm/internal/kube"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
	"github.com/kubernetes-resource-monitor/krm/verifier"
)

type verifierFlags struct {
	process  processFlags
	resource resourceFlag
	redis    store.Config
	kube     kubeFlags
	verifier verifier.Config
}

func (f *verifierFlags) register(fs *pflag.FlagSet) {
	f.process.registerOps(fs)
	f.resource.register(fs)
	f.redis.RegisterFlags(fs)
	f.kube.register(fs)
	f.verifier.RegisterFlags(fs)
}

func (f *verifierFlags) validate() error {
	return errors.Join(f.process.validateOps(), f.resource.validate(), f.redis.Validate(), f.kube.validate(), f.verifier.Validate())
}

func newVerifierCommand() *cobra.Command {
	var flags verifierFlags
	cmd := &cobra.Command{
		Use:   "verifier",
		Short: "List resources now and then, so that whatever the watch missed is found and repaired",
		Long: `verifier lists resources consistently on the API server: names, UIDs and versions
each round, bodies where they are lacking, and everything every --full-every rounds.
The aggregator compares, counts what was wrong as drift, and repairs it.`,
		Example: "  krm verifier --resource pods --verify-every 60s --redis-addr redis:6379",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.validate(); err != nil {
				return usageError{err}
			}
			return runVerifier(cmd.Context(), flags)
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func runVerifier(ctx context.Context, flags verifierFlags) error {
	return serveEach(ctx, flags.process, flags.redis, flags.resource.Names, func(p *process) (task, error) {
		source, _, err := connectKube(flags.kube, p)
		if err != nil {
			return nil, err
		}
		options := flags.verifier.Options()
		options.Metrics = verifier.NewMetrics(p.registry)
		return func(ctx context.Context, name string) error {
			return newVerifier(name, source, p.redis, options, p.log).Run(ctx)
		}, nil
	})
}

func newVerifier(name string, source *kube.Client, redis *store.Store, options verifier.Options, log *slog.Logger) *verifier.Verifier {
	openListing := func(resource object.Resource) verifier.Listing { return redis.Listing(resource) }
	return verifier.New(name, source, openListing, options, log)
}
