package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// billFlags are what krm bill is asked, and as whom.
type billFlags struct {
	options      client.ReportOptions
	begin, end   string
	output       string
	usernameFile string
	passwordFile string
}

func newBillCommand() *cobra.Command {
	var server serverFlags
	var flags billFlags
	cmd := &cobra.Command{
		Use:   "bill",
		Short: "Show what namespaces, pods or teams used in a month",
		Long: `bill prints the report of a month: per line core-hours and GiB-hours used,
requested and billed (the greater of both, sample by sample), what else was used, how
much of it was measured (COVERAGE), and what it costs if the server has prices.

(system) and (idle) are what the nodes used beside their pods, and what was left of
them; (claims) is storage that no pod can be named for. SUBTOTAL is all but (system) and
(idle); TOTAL is all lines. The table is rounded and leaves out what nobody used; csv
and json have all columns and digits, in which lines add up exactly. A month that is
over gives the same bytes each time.

The credentials are the server's API_USERNAME and API_PASSWORD: here, too, from the
environment or from files, never from flags. The exit code is 0 if there is a report, 2
if the call is wrong, and otherwise 1.`,
		Example: `  export API_USERNAME=billing API_PASSWORD="$(cat password)"
  krm bill                                      # the last whole month, by namespace
  krm bill --month 2026-10 --timezone Europe/Zurich --by label:team -o csv > bill.csv
  krm bill --begin 2026-10-01 --end 2026-10-15  # until the prices change
  krm bill --by pod -o json | jq '.lines[] | select(.coverage < 0.99)'`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.validate(); err != nil {
				return err
			}
			krm, err := server.connect(0)
			if err != nil {
				return err
			}
			username, password, err := flags.credentials(os.LookupEnv)
			if err != nil {
				return err
			}
			err = bill(cmd.Context(), krm.Billing().As(username, password), flags, cmd.OutOrStdout())
			return server.explain(cmd.Context(), err)
		},
	}
	flags.register(cmd)
	server.register(cmd.Flags())
	timeout := cmd.Flags().Lookup("timeout") // a report may wait for others, and take a while
	server.Timeout, timeout.DefValue = 3*time.Minute, "3m0s"
	return cmd
}

func (f *billFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	f.output = "table"
	fs.Var(checkedFlag{&f.options.Month, "YYYY-MM", checkMonth}, "month", "month to report on; by default the last whole one")
	fs.StringVar(&f.begin, "begin", "", "instead of a month: first `TIME` to report on, as 2026-10-01, \"2026-10-01 12:00:00\" or RFC 3339")
	fs.StringVar(&f.end, "end", "", "first `TIME` that is not reported on any more")
	fs.StringVar(&f.options.Timezone, "timezone", "", "time `ZONE` that the month or the dates are in, such as Europe/Zurich; by default UTC")
	f.options.By = "namespace"
	fs.Var(checkedFlag{&f.options.By, "GROUP", checkBy}, "by", "what lines are of: namespace, pod, container or label:KEY")
	fs.StringVar(&f.options.Cluster, "cluster", "", "`NAME` of the only cluster to report on; by default all")
	fs.StringVar(&f.usernameFile, "username-file", "", "`FILE` with the user name; by default $API_USERNAME")
	fs.StringVar(&f.passwordFile, "password-file", "", "`FILE` with the password; by default $API_PASSWORD")
	fs.VarP(checkedFlag{&f.output, "table|csv|json", oneOf("table", "csv", "json")}, "output", "o", "how to print")
	completeFlag(cmd, "output", []string{"table", "csv", "json"})
	completeFlag(cmd, "by", []string{"namespace", "pod", "container", "label:"})
}

// validate reads the bounds, which are in the time zone that is given.
func (f *billFlags) validate() error {
	zone, err := time.LoadLocation(f.options.Timezone)
	if err != nil || f.options.Timezone == "Local" {
		return usagef("--timezone=%s: want the name of a time zone, such as Europe/Zurich", f.options.Timezone)
	}
	switch {
	case (f.begin == "") != (f.end == ""):
		return usagef("--begin, --end: one of them is given: want both, or --month")
	case f.begin != "" && f.options.Month != "":
		return usagef("--month=%s: want either a month, or --begin and --end", f.options.Month)
	}
	for _, bound := range []struct {
		flag, text string
		to         *time.Time
	}{{"begin", f.begin, &f.options.Begin}, {"end", f.end, &f.options.End}} {
		if *bound.to, err = parseBound(bound.text, zone); err != nil {
			return usagef("--%s=%s: want a time such as 2026-10-01, \"2026-10-01 12:00:00\" or 2026-10-01T12:00:00+02:00", bound.flag, bound.text)
		}
	}
	if f.begin != "" && !f.options.Begin.Before(f.options.End) {
		return usagef("--begin=%s, --end=%s: want a begin before the end", f.begin, f.end)
	}
	return nil
}

func parseBound(text string, zone *time.Location) (t time.Time, err error) {
	if text == "" {
		return t, nil
	}
	for _, layout := range []string{time.DateOnly, time.DateTime, time.RFC3339} {
		if t, err = time.ParseInLocation(layout, text, zone); err == nil {
			return t, nil
		}
	}
	return t, err
}

func checkMonth(text string) error {
	if _, err := time.Parse("2006-01", text); err != nil || len(text) != len("2006-01") {
		return errors.New("want a month such as 2026-10")
	}
	return nil
}

func checkBy(text string) error {
	if key, ok := strings.CutPrefix(text, "label:"); ok && key != "" {
		return nil
	}
	return oneOf("namespace", "pod", "container", "label:KEY")(strings.TrimPrefix(text, "label:"))
}

// credentials reads the files, or the environment where there are none.
func (f *billFlags) credentials(lookup func(string) (string, bool)) (username, password string, err error) {
	read := func(file, variable string) string {
		text, _ := lookup(variable)
		if file != "" && err == nil {
			var content []byte
			if content, err = os.ReadFile(file); err != nil {
				err = fmt.Errorf("read the credentials: %w", err)
			}
			text = strings.TrimRight(string(content), "\r\n")
		}
		return text
	}
	username, password = read(f.usernameFile, "API_USERNAME"), read(f.passwordFile, "API_PASSWORD")
	if err == nil && (username == "" || password == "") {
		err = usagef("user name or password is missing: set $API_USERNAME and $API_PASSWORD, or give --username-file and --password-file")
	}
	return username, password, err
}

// bill asks and prints.
func bill(ctx context.Context, api client.Billing, flags billFlags, w io.Writer) error {
	if flags.output != "table" {
		text, err := api.ReportText(ctx, flags.options, flags.output)
		if err != nil {
			return explainBill(err)
		}
		_, err = w.Write(text)
		return err
	}
	report, err := api.Report(ctx, flags.options)
	if err != nil {
		return explainBill(err)
	}
	return printReport(w, report)
}

// explainBill adds what a person can do.
func explainBill(err error) error {
	switch {
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%w: the server compares them with its own API_USERNAME and API_PASSWORD; where it has none it refuses everybody", err)
	case apierrors.IsNotFound(err), apierrors.IsMethodNotSupported(err):
		return fmt.Errorf("%w: does the server have a metric database? start it with --data-dir (krm standalone) or --metric-db", err)
	case apierrors.IsTooManyRequests(err):
		return fmt.Errorf("%w: this address was refused too often; wait a minute, then check the credentials", err)
	case apierrors.IsServiceUnavailable(err):
		return fmt.Errorf("%w (krm status tells how the server is)", err)
	case apierrors.IsBadRequest(err) && strings.Contains(err.Error(), "timeBeginInterval"):
		return fmt.Errorf("%w (here they are --begin and --end)", err)
	}
	return err
}
