package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// newDirCommand makes a command that works on the running cluster in --dir.
func newDirCommand(use, short string, args cobra.PositionalArgs, run func(cmd *cobra.Command, d Dir, args []string) error) *cobra.Command {
	var path string
	cmd := &cobra.Command{Use: use, Short: short, Args: args}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if path == "" {
			return errors.New("say which cluster with --dir=DIR")
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return fmt.Errorf("resolve %s: %w", path, err)
		}
		return run(cmd, Dir(abs), args)
	}
	cmd.Flags().StringVar(&path, "dir", "", "folder of the cluster (required)")
	return cmd
}

func newStopCommand() *cobra.Command {
	return newDirCommand("stop --dir=DIR", "Stop the cluster and wait until it has ended", cobra.NoArgs,
		func(cmd *cobra.Command, d Dir, _ []string) error { return stopCluster(cmd.Context(), d) })
}

// stopCluster asks the cluster in d to stop and returns once it has ended.
func stopCluster(ctx context.Context, d Dir) error {
	if err := order(ctx, d, "/stop", nil); err != nil {
		return err
	}
	return poll(ctx, 20*time.Second, "the cluster to stop", func(context.Context) error {
		if d.running() {
			return errors.New("it still runs")
		}
		return nil
	})
}

func newRestartCommand() *cobra.Command {
	var (
		down time.Duration
		kill bool
	)
	cmd := newDirCommand("restart --dir=DIR COMPONENT", fmt.Sprintf("Restart one component, of %v", components()), cobra.ExactArgs(1),
		func(cmd *cobra.Command, d Dir, args []string) error {
			return restartComponent(cmd.Context(), d, args[0], kill, down)
		})
	cmd.Flags().DurationVar(&down, "down", 0, "how long it stays away")
	cmd.Flags().BoolVar(&kill, "kill", false, "kill it instead of asking it to end")
	return cmd
}

// restartComponent returns once the component runs again and the API server is ready.
func restartComponent(ctx context.Context, d Dir, name string, kill bool, down time.Duration) error {
	return order(ctx, d, "/restart", url.Values{
		"component": {name},
		"kill":      {strconv.FormatBool(kill)},
		"down":      {down.String()},
	})
}

func newCompactCommand() *cobra.Command {
	return newDirCommand("compact --dir=DIR", "Drop etcd's history up to its current revision, so that old watches expire", cobra.NoArgs,
		func(cmd *cobra.Command, d Dir, _ []string) error {
			revision, err := compact(cmd.Context(), d)
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "compacted revision=%d\n", revision)
			}
			return err
		})
}

func newSnapshotCommand() *cobra.Command {
	return newDirCommand("snapshot --dir=DIR FILE", "Write etcd's present data to FILE", cobra.ExactArgs(1),
		func(cmd *cobra.Command, d Dir, args []string) error { return takeSnapshot(cmd.Context(), d, args[0]) })
}

func newRestoreCommand() *cobra.Command {
	return newDirCommand("restore --dir=DIR FILE", "Put the snapshot in FILE in place of etcd's data and restart everything", cobra.ExactArgs(1),
		func(cmd *cobra.Command, d Dir, args []string) error {
			file, err := filepath.Abs(args[0])
			if err != nil {
				return fmt.Errorf("resolve %s: %w", args[0], err)
			}
			return order(cmd.Context(), d, "/restore", url.Values{"file": {file}})
		})
}
