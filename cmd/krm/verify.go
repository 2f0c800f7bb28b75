package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kubernetes-resource-monitor/krm/client"
)

func newVerifyCommand() *cobra.Command {
	var server serverFlags
	var asked verifyQuestion
	cmd := &cobra.Command{
		Use:   "verify [RESOURCE…]",
		Short: "Verify KRM's copy against the API server now, and show what was wrong",
		Long: `verify asks for a complete list of each resource from the API server, now and not
when it is due, and waits until KRM's copy has been compared with it. What is
found wrong is mended at once and shown:

  MISSING    the API server had it, KRM did not
  STALE      KRM had an older version
  GHOST      KRM had it, the API server did not
  ALTERED    the same version with another body; only --full looks for that

Without arguments all watched resources are verified. The exit code is 0 if all were
verified in time, whatever was found, and 1 if not. What is asked for is done even if
this command has stopped waiting.`,
		Example: `  krm verify                     # all that is watched
  krm verify pods deploy         # these two
  krm verify pods --full         # compare the objects' bodies too
  krm verify pods --wait 0       # ask, but do not wait`,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			names := server.completeResources(cmd)
			names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(args, name) })
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if asked.wait < 0 {
				return usagef("--wait=%v: want 0 or more, such as 60s", asked.wait)
			}
			krm, err := server.connect(0)
			if err != nil {
				return err
			}
			asked.names = args
			return server.explain(cmd.Context(), verify(cmd.Context(), krm, asked, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	cmd.Flags().BoolVar(&asked.full, "full", false, "compare the bodies of the objects too")
	cmd.Flags().DurationVar(&asked.wait, "wait", time.Minute, "longest wait for all of them; 0 does not wait")
	server.register(cmd.Flags())
	return cmd
}

// verifyQuestion is what krm verify is asked.
type verifyQuestion struct {
	names []string // all if empty
	full  bool
	wait  time.Duration
}

// verifiable is KRM as verify needs it.
type verifiable interface {
	Status(ctx context.Context) (*client.Status, error)
	Verify(ctx context.Context, resource string, opts client.VerifyOptions) error
}

// pollEvery is how often verify looks whether a verification has ended.
const pollEvery = 500 * time.Millisecond

// verify asks for verifications, waits for them and prints what they found.
func verify(ctx context.Context, krm verifiable, asked verifyQuestion, stdout, stderr io.Writer) error {
	before, err := krm.Status(ctx)
	if err != nil {
		return err
	}
	chosen, err := choose(before.Resources, asked.names)
	if err != nil {
		return err
	}
	if !before.Redis.OK {
		return errors.New(redisRemark(before.Redis))
	}
	var pending []wish
	for _, resource := range chosen {
		if err := krm.Verify(ctx, resourceOf(resource).String(), client.VerifyOptions{Full: asked.full}); err != nil {
			return fmt.Errorf("ask for a verification of %v: %w", resourceOf(resource), err)
		}
		pending = append(pending, wish{resource, before.At})
	}
	fmt.Fprintln(stderr, "Asked for a verification of", strings.Join(watchedNames(chosen), ", "))
	if asked.wait == 0 {
		return nil
	}
	waiting := waiter{krm: krm, progress: stderr, pending: pending, began: time.Now()}
	timedOut := waiting.wait(ctx, asked.wait)
	if err := printVerified(stdout, waiting.done); err != nil {
		return err
	}
	return timedOut
}

// choose returns the watched resources that names mean, each once; all if there are none.
func choose(watched []client.ResourceStatus, names []string) ([]client.ResourceStatus, error) {
	if len(names) == 0 {
		if len(watched) == 0 {
			return nil, errors.New("KRM does not watch anything yet: start \"krm streamer\"")
		}
		return watched, nil
	}
	var chosen []client.ResourceStatus
	for _, name := range names {
		resource, err := find(watched, name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(chosen, sameAs(resource)) {
			chosen = append(chosen, resource)
		}
	}
	return chosen, nil
}

func sameAs(resource client.ResourceStatus) func(client.ResourceStatus) bool {
	return func(other client.ResourceStatus) bool { return resourceOf(other) == resourceOf(resource) }
}

// wish is a verification that was asked for.
type wish struct {
	before  client.ResourceStatus
	askedAt time.Time // not later than it was, by the apiserver's clock
}

// clockTolerance is how much the apiserver's clock may be ahead of the verifier's.
const clockTolerance = time.Second

// granted says whether after tells of a round that began after it was asked for,
// not of one that was already under way.
func (w wish) granted(after client.ResourceStatus) bool {
	rounds := after.VerifiedRounds - w.before.VerifiedRounds
	return rounds > 1 || rounds == 1 && !after.Freshness.VerifiedAt.Before(w.askedAt.Add(-clockTolerance))
}

// waiter waits until every pending wish is granted.
type waiter struct {
	krm      verifiable
	progress io.Writer
	began    time.Time
	pending  []wish
	done     []client.ResourceStatus // as they were after
}

func (w *waiter) wait(ctx context.Context, longest time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for len(w.pending) > 0 {
		select {
		case <-bounded.Done():
			return w.tooLate(ctx, longest)
		case <-ticker.C:
		}
		now, err := w.krm.Status(bounded)
		if bounded.Err() != nil {
			return w.tooLate(ctx, longest)
		}
		if err != nil {
			return err
		}
		w.settle(now)
	}
	return nil
}

// settle moves what has been verified from pending to done.
func (w *waiter) settle(now *client.Status) {
	w.pending = slices.DeleteFunc(w.pending, func(asked wish) bool {
		place := slices.IndexFunc(now.Resources, sameAs(asked.before))
		if place < 0 || !asked.granted(now.Resources[place]) {
			return false
		}
		after := now.Resources[place]
		w.done = append(w.done, after)
		late := ""
		if after.Late > asked.before.Late {
			late = "; the stream had not come that far, so what was only late may count as missing"
		}
		fmt.Fprintf(w.progress, "Verified %v at resourceVersion %s after %v%s\n", resourceOf(after),
			after.Freshness.VerifiedResourceVersion, time.Since(w.began).Round(100*time.Millisecond), late)
		return true
	})
}

func (w *waiter) tooLate(ctx context.Context, longest time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var names []string
	for _, asked := range w.pending {
		names = append(names, resourceOf(asked.before).String())
	}
	return fmt.Errorf("no verification of %s within --wait=%v: \"krm status\" says who works on it",
		strings.Join(names, ", "), longest)
}

func printVerified(w io.Writer, done []client.ResourceStatus) error {
	if len(done) == 0 {
		return nil
	}
	table := newTableWriter(w)
	fmt.Fprintln(table, "RESOURCE\tOBJECTS\tVERIFIED\tMISSING\tSTALE\tGHOST\tALTERED")
	slices.SortFunc(done, func(a, b client.ResourceStatus) int { return resourceOf(a).Compare(resourceOf(b)) })
	for _, resource := range done {
		drift := resource.LastDrift
		row := []string{resourceOf(resource).String(), strconv.FormatInt(resource.Objects, 10), resource.Freshness.VerifiedResourceVersion}
		for _, count := range []int64{drift.Missing, drift.Stale, drift.Ghost, drift.Altered} {
			row = append(row, strconv.FormatInt(count, 10))
		}
		fmt.Fprintln(table, strings.Join(row, "\t"))
	}
	return table.Flush()
}
