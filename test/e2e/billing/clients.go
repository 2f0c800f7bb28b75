package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// clientsPart compares krm bill and the Go client with what the API itself answers.
func clientsPart(ctx context.Context, c *checker, s *side) {
	month := s.month.begin.Format("2006-01")
	for _, by := range []string{"namespace", "pod", "container", "label:team"} {
		q := reportQuestion{by: by, month: month, timezone: "Europe/Zurich"}
		for _, format := range []string{"json", "csv"} {
			got, err := s.api.want(ctx, "/api/report", q.body(s.month, format))
			text, billed := s.bill(ctx, "--month="+month, "--timezone=Europe/Zurich", "--by="+by, "--cluster="+monthCluster, "-o", format)
			if err = errors.Join(err, billed); err == nil && !bytes.Equal(got.body, text) {
				err = fmt.Errorf("other bytes: %s", difference(got.body, text))
			}
			c.ok("krm bill by "+by+" as "+format, err)
		}
		table, err := s.bill(ctx, "--month="+month, "--timezone=Europe/Zurich", "--by="+by, "--cluster="+monthCluster)
		c.ok("krm bill by "+by, errors.Join(err, s.tableSays(ctx, &q, string(table))))
	}
	krm, err := client.New(s.api.base, client.Options{Timeout: 2 * time.Minute})
	if err != nil {
		c.ok("the client", err)
		return
	}
	billing := krm.Billing().As(username, password)
	c.ok("the client's report", clientReport(ctx, s, billing, month))
	c.ok("the client's rows", clientRows(ctx, s, billing))
	_, err = krm.Billing().As(username, "wrong").Report(ctx, client.ReportOptions{Month: month})
	c.count(err != nil && strings.Contains(err.Error(), "credentials"), "the client with a wrong password: %v", err)
}

// bill runs krm bill.
func (s *side) bill(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.cfg.krm, append([]string{"bill", "--server=" + s.api.base}, args...)...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}, credentials()...)
	var faults bytes.Buffer
	cmd.Stderr = &faults
	text, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("krm bill %q: %w: %s", args, err, faults.Bytes())
	}
	return text, err
}

// tableSays looks in the table for people for each line's names and its cost.
func (s *side) tableSays(ctx context.Context, q *reportQuestion, table string) error {
	got, err := s.api.want(ctx, "/api/report", q.body(s.month, "json"))
	if err != nil {
		return err
	}
	var report reportAnswer
	if err := decode(got.body, &report); err != nil {
		return err
	}
	for _, line := range append(report.Lines, report.Total) {
		var words []string
		for _, column := range []string{"namespace_name", "pod_name", "container_name", "label", "cost"} {
			if line[column] != nil {
				words = append(words, fmt.Sprint(line[column]))
			}
		}
		if !slices.ContainsFunc(strings.Split(table, "\n"), func(text string) bool {
			return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
		}) {
			return fmt.Errorf("no line has %q:\n%s", words, table)
		}
	}
	return nil
}

// clientReport compares the client's report with the JSON that it was read from.
func clientReport(ctx context.Context, s *side, billing client.Billing, month string) error {
	options := client.ReportOptions{Month: month, By: "pod", Cluster: monthCluster}
	report, err := billing.Report(ctx, options)
	if err != nil {
		return err
	}
	truth, _, _ := s.month.report(&reportQuestion{by: "pod", from: report.Begin, to: report.End})
	if len(report.Lines) != len(truth) || !report.Complete || report.Currency != "CHF" {
		return fmt.Errorf("%d lines, want %d; complete %v, currency %s", len(report.Lines), len(truth), report.Complete, report.Currency)
	}
	c := &checker{}
	for _, l := range report.Lines {
		key := billKey{kind: l.Kind, namespace: l.Namespace, pod: l.Pod, uid: l.PodUID, container: l.Container}
		if l.Kind == "claims" {
			key.uid = ""
		}
		if truth[key] == nil {
			return fmt.Errorf("there is a line of %v, which should not be", key)
		}
		checkLine(c, fmt.Sprint(key), map[string]any{
			amountNames[0]: l.CPUUsed, amountNames[1]: l.CPURequested, amountNames[2]: l.CPUBilled, amountNames[3]: l.MemoryUsed, amountNames[4]: l.MemoryRequested,
			amountNames[5]: l.MemoryBilled, amountNames[6]: l.GPUHours, amountNames[7]: l.GPUMemory, amountNames[8]: l.EphemeralUsed, amountNames[9]: l.Claims,
			amountNames[10]: l.NetworkIn, amountNames[11]: l.NetworkOut, amountNames[12]: l.PodHours, "cost": l.Cost,
		}, truth[key], false)
	}
	if len(c.wrong) > 0 {
		return errors.New(strings.Join(c.wrong, "; "))
	}
	return nil
}

// clientRows compares the client's sums and points with the truth.
func clientRows(ctx context.Context, s *side, billing client.Billing) error {
	from, to := s.month.begin.Add(7*time.Hour), s.month.begin.Add(31*time.Hour)
	answer, err := billing.Query(ctx, client.BillingQuery{Metric: "memory/usage", Agg: client.AllPod, Begin: from, End: to, Cluster: monthCluster})
	if err != nil {
		return err
	}
	truth := s.month.rows(question{metric: "memory/usage", agg: "all-pod", from: from, to: to})
	if len(answer.Rows) != len(truth) || !answer.Complete || answer.Resolution != "5m0s" {
		return fmt.Errorf("%d rows, want %d; %v %s", len(answer.Rows), len(truth), answer.Complete, answer.Resolution)
	}
	for _, r := range answer.Rows {
		want := truth[rowKey{r.Namespace, r.Pod, r.PodUID, r.Resource, r.Level}]
		if want == nil || r.Sum.String() != fmt.Sprint(want.sum) || r.Samples != want.samples || r.Expected != want.expected {
			return fmt.Errorf("a row of %+v, want %+v", r, want)
		}
	}
	answer, err = billing.Query(ctx, client.BillingQuery{Metric: "memory/usage", Namespace: "month-alpha", Begin: from, End: to, Cluster: monthCluster, Limit: client.NoLimit})
	if points, n := s.month.points(question{metric: "memory/usage", namespace: "month-alpha", from: from, to: to}); err == nil && (len(answer.Rows) != n || len(points) != n) {
		err = fmt.Errorf("%d points, want %d", len(answer.Rows), n)
	}
	return err
}
