package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
)

func newResourceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resource",
		Short: "List what is watched, or forget a resource",
		Long: `Every streamer, verifier and aggregator registers in Redis what it works on.
These commands read and change that register; they talk to Redis, not to an apiserver.`,
		Example: `  krm resource list --redis-addr redis:6379
  krm resource forget widgets.example.com --redis-addr redis:6379`,
	}
	cmd.AddCommand(newResourceListCommand(), newResourceForgetCommand())
	return cmd
}

func newResourceListCommand() *cobra.Command {
	var config store.Config
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the registered resources and who works on them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			redis, err := openRedis(cmd, &config)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, redis.Close()) }()
			registered, err := redis.Resources(cmd.Context())
			if err != nil {
				return err
			}
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(table, "RESOURCE\tROLE\tINSTANCE\tSTATE\tHEARTBEAT\tMESSAGE")
			for _, entry := range registered {
				for _, status := range entry.Statuses {
					fmt.Fprintf(table, "%v\t%s\t%s\t%s\t%v ago\t%s\n", entry.Resource, status.Role, status.Instance,
						status.State, time.Since(status.At).Round(time.Second), status.Message)
				}
			}
			return table.Flush()
		},
	}
	config.RegisterFlags(cmd.Flags())
	return cmd
}

func newResourceForgetCommand() *cobra.Command {
	var config store.Config
	cmd := &cobra.Command{
		Use:   "forget RESOURCE",
		Short: "Remove a resource's log, snapshot and registration from Redis",
		Long: `forget removes everything that Redis holds of a resource. It refuses while a
process still works on it: stop its streamer, verifier and aggregator first.`,
		Example: "  krm resource forget widgets.example.com",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			resource, err := object.ParseResource(args[0])
			if err != nil {
				return usageError{err}
			}
			redis, err := openRedis(cmd, &config)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, redis.Close()) }()
			if err := redis.Forget(cmd.Context(), resource); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%v forgotten\n", resource)
			return err
		},
	}
	config.RegisterFlags(cmd.Flags())
	return cmd
}

// openRedis connects a command, which does not wait for Redis as a process does.
func openRedis(cmd *cobra.Command, config *store.Config) (*store.Store, error) {
	if err := config.Validate(); err != nil {
		return nil, usageError{err}
	}
	log, err := (&logFlags{LogLevel: "warn", LogFormat: "text"}).open(nil)
	if err != nil {
		return nil, err
	}
	options, err := config.Options()
	if err != nil {
		return nil, usageError{err}
	}
	redis, err := store.Connect(cmd.Context(), options, log.Logger)
	if err != nil {
		return nil, fmt.Errorf("redis: %w (set --redis-addr; krm standalone has one of its own that only it can use)", err)
	}
	return redis, nil
}
