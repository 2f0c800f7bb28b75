package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// verifying is a KRM whose resources are verified some time after they were asked for.
type verifying struct {
	status client.Status
	takes  map[string]time.Duration // by resource; 0 is never
	due    map[string]time.Time     // of what was asked for
	asked  []string
	cutOff bool  // from Redis
	err    error // of Status, once something was asked for
}

func (v *verifying) Status(context.Context) (*client.Status, error) {
	if len(v.asked) > 0 && v.err != nil {
		return nil, v.err
	}
	for i := range v.status.Resources {
		found := &v.status.Resources[i]
		if due, asked := v.due[found.Resource]; asked && !time.Now().Before(due) {
			found.VerifiedRounds++
			found.Freshness.VerifiedAt = due.Add(-listTakes)
			found.Freshness.VerifiedResourceVersion = "2000"
			found.LastDrift = client.Drift{Missing: 1, Altered: 2}
			delete(v.due, found.Resource)
		}
	}
	copied := v.status
	copied.At = time.Now()
	copied.Redis = client.RedisStatus{OK: !v.cutOff, Message: "gone"}
	copied.Resources = slices.Clone(v.status.Resources)
	return &copied, nil
}

func (v *verifying) Verify(_ context.Context, resource string, opts client.VerifyOptions) error {
	if takes := v.takes[resource]; takes > 0 {
		v.due[resource] = time.Now().Add(takes)
	}
	if opts.Full {
		resource += " in full"
	}
	v.asked = append(v.asked, resource)
	return nil
}

const listTakes = 500 * time.Millisecond

func newVerifying() *verifying {
	return &verifying{
		due: map[string]time.Time{},
		status: client.Status{Resources: []client.ResourceStatus{
			{Resource: "nodes", Kind: "Node", Version: "v1", Objects: 3, VerifiedRounds: 4, Freshness: client.Freshness{VerifiedResourceVersion: "1000"}},
			{Resource: "pods", Kind: "Pod", Version: "v1", Objects: 120, VerifiedRounds: 7, Freshness: client.Freshness{VerifiedResourceVersion: "1000"}},
			{Resource: "deployments.apps", Kind: "Deployment", Group: "apps", Version: "v1", Objects: 9},
		}},
		takes: map[string]time.Duration{"pods": 1200 * time.Millisecond, "nodes": 2900 * time.Millisecond},
	}
}

func TestVerify(t *testing.T) {
	// want is what was asked for, stdout, stderr; took is how long it went.
	f := func(asked verifyQuestion, krm *verifying, want []string, wantErr string, took time.Duration) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			began := time.Now()
			err := verify(t.Context(), krm, asked, &stdout, &stderr)
			if wantErr == "" && err != nil || wantErr != "" && (err == nil || err.Error() != wantErr) {
				t.Errorf("error %v, want %q", err, wantErr)
			}
			if diff := cmp.Diff(want, []string{strings.Join(krm.asked, ", "), stdout.String(), stderr.String()}); diff != "" {
				t.Error(diff)
			}
			if got := time.Since(began); got != took {
				t.Errorf("it took %v, want %v", got, took)
			}
		})
	}
	f(verifyQuestion{names: []string{"po", "no", "pods"}, wait: time.Minute}, newVerifying(), []string{
		"pods, nodes",
		"RESOURCE   OBJECTS   VERIFIED   MISSING   STALE   GHOST   ALTERED\n" +
			"nodes      3         2000       1         0       0       2\n" +
			"pods       120       2000       1         0       0       2\n",
		"Asked for a verification of pods, nodes\n" +
			"Verified pods at resourceVersion 2000 after 1.5s\n" +
			"Verified nodes at resourceVersion 2000 after 3s\n",
	}, "", 3*time.Second)
	f(verifyQuestion{names: []string{"pods"}, full: true, wait: 0}, newVerifying(), []string{
		"pods in full", "", "Asked for a verification of pods\n",
	}, "", 0)
	f(verifyQuestion{wait: 2 * time.Second}, newVerifying(), []string{
		"nodes, pods, deployments.apps",
		"RESOURCE   OBJECTS   VERIFIED   MISSING   STALE   GHOST   ALTERED\n" +
			"pods       120       2000       1         0       0       2\n",
		"Asked for a verification of nodes, pods, deployments.apps\n" +
			"Verified pods at resourceVersion 2000 after 1.5s\n",
	}, `no verification of nodes, deployments.apps within --wait=2s: "krm status" says who works on it`, 2*time.Second)
	f(verifyQuestion{names: []string{"secrets"}, wait: time.Minute}, newVerifying(), []string{"", "", ""},
		`resource "secrets": KRM does not watch it, only nodes, pods, deployments.apps`, 0)
	f(verifyQuestion{wait: time.Minute}, &verifying{}, []string{"", "", ""},
		`KRM does not watch anything yet: start "krm streamer"`, 0)

	cutOff := newVerifying()
	cutOff.cutOff = true
	f(verifyQuestion{wait: time.Minute}, cutOff, []string{"", "", ""}, "redis: the server does not reach it: gone", 0)
	broken := newVerifying()
	broken.err = errors.New("gone")
	f(verifyQuestion{names: []string{"pods"}, wait: time.Minute}, broken, []string{"pods", "", "Asked for a verification of pods\n"}, "gone", pollEvery)
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := verify(ctx, newVerifying(), verifyQuestion{names: []string{"deploy"}, wait: time.Minute}, &bytes.Buffer{}, &bytes.Buffer{})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestVerifySaysWhatWasLate(t *testing.T) {
	before := client.ResourceStatus{Resource: "pods", Kind: "Pod", Version: "v1", Late: 1}
	after := before
	after.VerifiedRounds, after.Late = 1, 2
	var progress bytes.Buffer
	w := waiter{progress: &progress, began: time.Now(), pending: []wish{{before: before}}}
	w.settle(&client.Status{Resources: []client.ResourceStatus{after}})
	if len(w.pending) != 0 || len(w.done) != 1 || !strings.Contains(progress.String(), "; the stream had not come that far") {
		t.Errorf("%+v, %q", w, progress.String())
	}
}

func TestGranted(t *testing.T) {
	askedAt := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	asked := wish{client.ResourceStatus{VerifiedRounds: 7}, askedAt}
	f := func(rounds int64, began time.Duration, want bool) {
		t.Helper()
		after := client.ResourceStatus{VerifiedRounds: rounds, Freshness: client.Freshness{VerifiedAt: askedAt.Add(began)}}
		if got := asked.granted(after); got != want {
			t.Errorf("round %d that began %v after the wish: %v, want %v", rounds, began, got, want)
		}
	}
	f(7, -time.Minute, false)
	f(7, time.Second, false)    // the mirror is ahead of the counter
	f(8, -5*time.Second, false) // it was under way
	f(8, -time.Second, true)    // the clocks differ
	f(8, 500*time.Millisecond, true)
	f(9, -5*time.Second, true) // the second one began afterwards, whatever the clocks say
	f(0, time.Second, false)   // the counter is not known
}

func TestVerifyFails(t *testing.T) {
	_, _, err := run(t, newVerifyCommand(), "--wait", "-1s")
	var usage usageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), "--wait=-1s: want 0 or more") {
		t.Errorf("--wait -1s: %v", err)
	}
	if _, _, err := run(t, newVerifyCommand(), "--wait", "soon"); err == nil || !strings.Contains(err.Error(), "--wait") || !strings.Contains(err.Error(), "soon") {
		t.Errorf("--wait soon: %v", err)
	}
}
