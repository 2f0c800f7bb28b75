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
	"github.com/kubernetes-resource-monitor/krm/streamer"
)

type streamerFlags struct {
	process  processFlags
	resource resourceFlag
	redis    store.Config
	kube     kubeFlags
}

func (f *streamerFlags) register(fs *pflag.FlagSet) {
	f.process.registerOps(fs)
	f.resource.register(fs)
	f.redis.RegisterFlags(fs)
	f.kube.register(fs)
}

func (f *streamerFlags) validate() error {
	return errors.Join(f.process.validateOps(), f.resource.validate(), f.redis.Validate(), f.kube.validate())
}

func newStreamerCommand() *cobra.Command {
	var flags streamerFlags
	cmd := &cobra.Command{
		Use:   "streamer",
		Short: "Follow the API server's watch of resources into their logs in Redis",
		Long: `streamer watches resources on the API server and writes every event, in order, into
the resource's log in Redis. It resumes where the log ends, notices expired and
silent watches, a restored etcd and another cluster, and lists everything anew then.

Run it once per resource. A second one for the same resource stands by.`,
		Example: "  krm streamer --resource pods --redis-addr redis:6379 --kubeconfig ~/.kube/config",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.validate(); err != nil {
				return usageError{err}
			}
			return runStreamer(cmd.Context(), flags)
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

func runStreamer(ctx context.Context, flags streamerFlags) error {
	return serveEach(ctx, flags.process, flags.redis, flags.resource.Names, func(p *process) (task, error) {
		source, _, err := connectKube(flags.kube, p)
		if err != nil {
			return nil, err
		}
		p.beside = append(p.beside, newDocuments(source, p).Run)
		options := streamer.Options{Metrics: streamer.NewMetrics(p.registry)}
		return func(ctx context.Context, name string) error {
			return newStreamer(name, source, p.redis, options, p.log).Run(ctx)
		}, nil
	})
}

func newStreamer(name string, source *kube.Client, redis *store.Store, options streamer.Options, log *slog.Logger) *streamer.Streamer {
	openLog := func(resource object.Resource) streamer.Log { return redis.Log(resource) }
	return streamer.New(name, source, openLog, options, log)
}
