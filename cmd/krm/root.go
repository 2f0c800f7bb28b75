package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kubernetes-resource-monitor/krm/collector"
)

// execute runs one command line and returns its exit code: 0, 1 if it did not
// succeed, 2 if it was called wrongly.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(doubleDashes(args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "krm:", err)
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "krm",
		Short: "A verified copy of a Kubernetes cluster's state, to be read instead of its API server",
		Long: `krm keeps a verified copy of a Kubernetes cluster's state, so that services and
people read it there and leave the API server alone.

Per watched resource a streamer follows the watch, a verifier lists the truth now
and then, and an aggregator merges both into a snapshot in Redis. A collector brings
the metrics of nodes, pods and containers from the kubelets. Any number of apiservers
serve the snapshots by GET, at the Kubernetes API's own paths. Over a metric database
they answer about the past, too, and for billing.

Every flag --a-flag can also be given as the environment variable KRM_A_FLAG; the
flag goes before, and an empty variable is none. Of a flag that can be repeated the
variable has all values, parted by blanks. What flags do not say of the metric database
is taken from INFLUXDB_HOST, INFLUXDB_PORT, INFLUXDB_USER, INFLUXDB_PASS, INFLUXDB_DB
(of InfluxDB 2: INFLUXDB_TOKEN, INFLUXDB_ORG, INFLUXDB_BUCKET). Passwords and tokens
have no flags, but files and variables: KRM_REDIS_PASSWORD, KRM_INFLUX_PASSWORD,
KRM_INFLUX_TOKEN, KRM_TOKEN, and API_USERNAME, API_PASSWORD of billing.`,
		Example: `  krm standalone                     # everything in one process, for your current kubeconfig
  krm get pods -n default -o wide    # read from it
  krm status                         # how fresh and how true it is

  krm standalone --data-dir ~/krm    # with history and billing
  krm bill --month 2026-10

  krm streamer --redis-addr redis:6379 --resource pods    # or each process on its own`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return bindEnvironment(cmd.Flags(), os.LookupEnv) },
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
	})
	root.AddGroup(&cobra.Group{ID: "run", Title: "Processes:"}, &cobra.Group{ID: "read", Title: "Reading and asking:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, command := range commands {
			command.GroupID = group
			root.AddCommand(command)
		}
	}
	add("run", newStandaloneCommand(), newStreamerCommand(), newVerifierCommand(), newAggregatorCommand(), newAPIServerCommand(), newCollectorCommand())
	add("read", newGetCommand(), newBillCommand(), newStatusCommand(), newVerifyCommand(), newTokenCommand(), newResourceCommand())
	root.AddCommand(newVersionCommand())
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(collector.Normalize(name))
	})
	teach(root)
	return root
}

// doubleDashes lets the collector's flags have one dash only, as Heapster's had:
// -model_resolution.
func doubleDashes(args []string) []string {
	if len(args) == 0 || args[0] != "collector" && args[0] != "standalone" {
		return args
	}
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	(&collector.Config{}).RegisterFlags(known)
	args = slices.Clone(args)
	for i, arg := range args {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && known.Lookup(collector.Normalize(name)) != nil {
			args[i] = "-" + arg
		}
	}
	return args
}

// teach finishes every command below cmd: wrong arguments become usage errors,
// and each flag's help names its environment variable.
func teach(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
			}
			return nil
		}
	}
	cmd.LocalFlags().VisitAll(func(flag *pflag.Flag) {
		if hasEnvironment(flag) {
			flag.Usage += " [$" + environmentName(flag.Name) + "]"
		}
	})
	for _, child := range cmd.Commands() {
		teach(child)
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	hint := "see krm --help"
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usageError{fmt.Errorf("unknown command %q: %s", name, hint)}
}
