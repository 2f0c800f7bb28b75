package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubernetes-resource-monitor/krm/client"
)

func newStatusCommand() *cobra.Command {
	var server serverFlags
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how fresh and how right KRM's copy of the cluster is",
		Long: `status shows each watched resource:

  OBJECTS    how many there are
  STREAMED   the resourceVersion up to which every change has arrived, and when
             that was last known to be so
  VERIFIED   the resourceVersion of the last complete list that was compared with
             the stream, and when it was taken
  DRIFT      what all comparisons found wrong, and mended: objects that were
             missing, stale (of an older version), ghosts (deleted long ago) or
             altered (another body at the same version)
  STATE      "following" if all is well, else which process has which trouble;
             the lines below the table tell more

The ages are the time since then, by the server's clock. The exit code is 0
whatever the state is: scripts read -o json.`,
		Example: `  krm status
  krm status --server https://krm.example.com --token-file token
  krm status -o json | jq '.resources[] | select(.synced | not) | .resource'`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			krm, err := server.connect(0)
			if err != nil {
				return err
			}
			show := showStatus
			if output == "json" {
				show = showStatusJSON
			}
			return server.explain(cmd.Context(), show(cmd.Context(), krm, cmd.OutOrStdout()))
		},
	}
	cmd.Flags().VarP(checkedFlag{&output, "json", oneOf("json")}, "output", "o", "print what the server says as it is; by default a table")
	completeFlag(cmd, "output", []string{"json"})
	server.register(cmd.Flags())
	return cmd
}

// showStatusJSON prints the server's own words, what this program does not know included.
func showStatusJSON(ctx context.Context, krm *client.Client, w io.Writer) error {
	body, _, err := krm.Get(ctx, client.Request{Path: "/krm/v1/status"})
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, bytes.TrimSpace(body), "", "    "); err != nil {
		return fmt.Errorf("read the status: %w", err)
	}
	_, err = fmt.Fprintln(w, text.String())
	return err
}

func showStatus(ctx context.Context, krm *client.Client, w io.Writer) error {
	status, err := krm.Status(ctx)
	if err != nil {
		return err
	}
	return printStatus(w, status)
}

func printStatus(w io.Writer, status *client.Status) error {
	var remarks []string
	if !status.Redis.OK {
		remarks = append(remarks, redisRemark(status.Redis))
	}
	table := newTableWriter(w)
	if len(status.Resources) > 0 {
		fmt.Fprintln(table, "RESOURCE\tOBJECTS\tSTREAMED\tAGE\tVERIFIED\tAGE\tDRIFT\tSTATE")
	} else {
		remarks = append(remarks, `KRM does not watch anything yet: start "krm streamer", or "krm standalone" for all in one`)
	}
	for _, resource := range status.Resources {
		health := health{state: "unknown"} // Redis holds the heartbeats
		if status.Redis.OK {
			health = diagnose(resource, status.At)
		}
		remarks = append(remarks, health.remarks...)
		fresh := resource.Freshness
		fmt.Fprintln(table, strings.Join([]string{
			resourceOf(resource).String(), objectsText(resource),
			orDash(fresh.StreamedResourceVersion), ageOrDash(fresh.StreamedAt, status.At),
			orDash(fresh.VerifiedResourceVersion), ageOrDash(fresh.VerifiedAt, status.At),
			driftText(resource), health.state,
		}, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(remarks) > 0 && len(status.Resources) > 0 {
		fmt.Fprintln(w)
	}
	for _, remark := range remarks {
		if _, err := fmt.Fprintln(w, cellText(remark)); err != nil {
			return err
		}
	}
	return nil
}

func redisRemark(redis client.RedisStatus) string {
	return "redis: " + sayWhy("the server does not reach it", redis.Message)
}

// objectsText is "-" while the number is not yet the cluster's.
func objectsText(resource client.ResourceStatus) string {
	if !resource.Synced && resource.Objects == 0 {
		return "-"
	}
	return strconv.FormatInt(resource.Objects, 10)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func ageOrDash(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return age(at, now)
}

// driftText is "0" or the kinds that were found, and "-" before the first verification.
func driftText(resource client.ResourceStatus) string {
	if resource.VerifiedRounds == 0 && resource.Drift.Total() == 0 {
		return "-"
	}
	if resource.Drift.Total() == 0 {
		return "0"
	}
	var kinds []string
	add := func(kind string, count int64) {
		if count > 0 {
			kinds = append(kinds, fmt.Sprintf("%s=%d", kind, count))
		}
	}
	add("missing", resource.Drift.Missing)
	add("stale", resource.Drift.Stale)
	add("ghost", resource.Drift.Ghost)
	add("altered", resource.Drift.Altered)
	return strings.Join(kinds, ",")
}

// sayWhy adds a message, if there is one.
func sayWhy(what, message string) string {
	if message == "" {
		return what
	}
	return what + ": " + message
}
