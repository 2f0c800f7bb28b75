package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubernetes-resource-monitor/krm/aggregator"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
)

type aggregatorFlags struct {
	process    processFlags
	resource   resourceFlag
	redis      store.Config
	aggregator aggregator.Config
}

func (f *aggregatorFlags) register(fs *pflag.FlagSet) {
	f.process.registerOps(fs)
	f.resource.register(fs)
	f.redis.RegisterFlags(fs)
	f.aggregator.RegisterFlags(fs)
}

func (f *aggregatorFlags) validate() error {
	return errors.Join(f.process.validateOps(), f.resource.validate(), f.redis.Validate(), f.aggregator.Validate())
}

func newAggregatorCommand() *cobra.Command {
	var flags aggregatorFlags
	cmd := &cobra.Command{
		Use:   "aggregator",
		Short: "Merge the streamer's log and the verifier's lists into the snapshots that readers see",
		Long: `aggregator merges, per resource, what the streamer wrote and what the verifier listed
into a snapshot in Redis, with a feed of its changes. It needs no access to the API
server. It counts drift: what verification found missing, stale, left over or altered.`,
		Example: "  krm aggregator --resource pods --redis-addr redis:6379",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.validate(); err != nil {
				return usageError{err}
			}
			return runAggregator(cmd.Context(), flags)
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func runAggregator(ctx context.Context, flags aggregatorFlags) error {
	return serveEach(ctx, flags.process, flags.redis, flags.resource.Names, func(p *process) (task, error) {
		options := flags.aggregator.Options()
		options.Metrics = aggregator.NewMetrics(p.registry)
		return func(ctx context.Context, name string) error {
			return aggregate(ctx, name, p.redis, options, p.log)
		}, nil
	})
}

// aggregate waits until a streamer has registered what name means, then merges it
// until ctx ends.
func aggregate(ctx context.Context, name string, redis *store.Store, options aggregator.Options, log *slog.Logger) error {
	resource, err := awaitResource(ctx, redis, name, log)
	if err != nil {
		return ended(ctx, err)
	}
	return aggregator.New(resource, redis.Snapshot(resource), options, log).Run(ctx)
}
