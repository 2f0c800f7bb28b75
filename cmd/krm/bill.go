package main

import (
	"context"
	"encoding/json"
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

The lines "system" and "idle" are what the nodes used beside their pods, and what was
left of them. All lines add up to the total.

The credentials are the server's API_USERNAME and API_PASSWORD: here, too, from the
environment or from files.`,
		Example: `  krm bill --month 2026-10 --by namespace
  krm bill --month 2026-10 --timezone Europe/Zurich --by label:team -o csv > bill.csv
  krm bill --by pod -o json | jq '.lines[] | select(.coverage < 0.99)'`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
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
	return cmd
}

func (f *billFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	f.output = "table"
	fs.Var(checkedFlag{&f.options.Month, "YYYY-MM", checkMonth}, "month", "month to report on; by default the last whole one")
	fs.StringVar(&f.options.Timezone, "timezone", "", "time `ZONE` that the month is in, such as Europe/Zurich; by default UTC")
	f.options.By = "namespace"
	fs.Var(checkedFlag{&f.options.By, "GROUP", checkBy}, "by", "what lines are of: namespace, pod, container or label:KEY")
	fs.StringVar(&f.options.Cluster, "cluster", "", "`NAME` of the only cluster to report on; by default all")
	fs.StringVar(&f.usernameFile, "username-file", "", "`FILE` with the user name; by default $API_USERNAME")
	fs.StringVar(&f.passwordFile, "password-file", "", "`FILE` with the password; by default $API_PASSWORD")
	fs.VarP(checkedFlag{&f.output, "table|csv|json", oneOf("table", "csv", "json")}, "output", "o", "how to print")
	completeFlag(cmd, "output", []string{"table", "csv", "json"})
	completeFlag(cmd, "by", []string{"namespace", "pod", "container", "label:"})
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
	if apierrors.IsUnauthorized(err) {
		return fmt.Errorf("%w: the server compares them with its own API_USERNAME and API_PASSWORD; where it has none it refuses everybody", err)
	}
	return err
}

// printReport writes the lines as a table, and below it how far they may be trusted.
func printReport(w io.Writer, report *client.Report) error {
	table := newTableWriter(w)
	heads := []string{"KIND"}
	label, ofLabel := strings.CutPrefix(report.By, "label:")
	switch {
	case ofLabel:
		heads = append(heads, strings.ToUpper(label))
	case report.By == "namespace":
		heads = append(heads, "NAMESPACE")
	case report.By == "pod":
		heads = append(heads, "NAMESPACE", "POD")
	default:
		heads = append(heads, "NAMESPACE", "POD", "CONTAINER")
	}
	names := len(heads)
	heads = append(heads, "CPU-USED", "CPU-REQ", "CPU-BILLED", "MEM-USED", "MEM-REQ", "MEM-BILLED", "GPU", "STORAGE", "NET-IN", "NET-OUT", "POD-H", "COVERAGE")
	if report.Currency != "" {
		heads = append(heads, "COST")
	}
	fmt.Fprintln(table, strings.Join(heads, "\t"))
	for _, line := range append(report.Lines, report.Subtotal, report.Total) {
		cells := []string{line.Kind}
		if ofLabel {
			cells = append(cells, orDash(cellText(line.Label)))
		} else {
			cells = append(cells, orDash(line.Namespace), orDash(line.Pod), orDash(line.Container))[:names]
		}
		fmt.Fprintln(table, strings.Join(append(cells, amountCells(report, line)...), "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, remarksOf(report))
	return err
}

func amountCells(report *client.Report, line client.ReportLine) []string {
	cells := make([]string, 0, 13)
	for _, number := range []json.Number{
		line.CPUUsed, line.CPURequested, line.CPUBilled, line.MemoryUsed, line.MemoryRequested, line.MemoryBilled, line.GPUHours,
	} {
		cells = append(cells, hundredths(number))
	}
	cells = append(cells, hundredths(line.EphemeralUsed, line.Claims), hundredths(line.NetworkIn), hundredths(line.NetworkOut), hundredths(line.PodHours), coverageText(line))
	if report.Currency != "" {
		cells = append(cells, line.Cost.String())
	}
	return cells
}

// hundredths is the sum of numbers with two digits: the table is to look at; csv and
// json have all of them.
func hundredths(numbers ...json.Number) string {
	sum := 0.0
	for _, number := range numbers {
		f, err := number.Float64()
		if err != nil {
			return orDash(number.String())
		}
		sum += f
	}
	return fmt.Sprintf("%.2f", sum)
}

// coverageText is never 100 % unless nothing is missing.
func coverageText(line client.ReportLine) string {
	switch {
	case line.Expected == 0:
		return "-"
	case line.Samples == line.Expected:
		return "100%"
	}
	return fmt.Sprintf("%.2f%%", min(line.Coverage*100, 99.99))
}

func remarksOf(report *client.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n[%s, %s), sampled every %s. CPU in core-hours, memory and storage in GiB-hours, network in GiB.\n",
		report.Begin.Format(time.RFC3339), report.End.Format(time.RFC3339), report.Resolution)
	if report.Currency != "" {
		fmt.Fprintf(&b, "Costs in %s.\n", report.Currency)
	}
	if !report.Complete {
		fmt.Fprintln(&b, "NOT COMPLETE: the interval is still open, or data is late; figures may change.")
	}
	if n := report.Total.Estimated; n > 0 {
		fmt.Fprintf(&b, "%d pods lived between two samples: they are taken to have used what they requested.\n", n)
	}
	return b.String()
}
