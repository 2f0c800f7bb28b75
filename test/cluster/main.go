// Command cluster runs a real Kubernetes control plane on this machine: etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler, with nodes and
// pods that kwok simulates. README.md says how to use it.
//
// All parts are in this one program. "cluster up" runs etcd itself and starts
// itself again under the name of each other component.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/grpclog"
)

func main() {
	if code, ok := runComponent(os.Args); ok {
		os.Exit(code)
	}
	forgetGlobalFlags()
	// gRPC warns on stderr whenever a connection to etcd is closed; calls report
	// their errors anyway.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "cluster",
		Short:         "Run a real Kubernetes control plane with simulated nodes on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(
		newUpCommand(),
		newStopCommand(),
		newRestartCommand(),
		newCompactCommand(),
		newSnapshotCommand(),
		newRestoreCommand(),
		newNodeCommand(),
		newSeedCommand(),
		newSelftestCommand(),
	)
	return root
}
