package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// state returns the state that version asks for: "" is not older than the request,
// "0" any, another one not older than that. doubt says why the first may be older.
func (q *request) state(ctx context.Context, version string) (root *mirror.Root, doubt, err error) {
	switch version {
	case "":
		root, doubt = q.mirror.Latest(ctx)
	case "0":
		root = q.mirror.Root()
	default:
		wanted, parseErr := parseVersion(version)
		if parseErr != nil {
			return nil, nil, parseErr
		}
		root, err = q.mirror.NotOlderThan(ctx, wanted)
	}
	if root == nil {
		return nil, nil, notSynced(q.mirror)
	}
	if err != nil {
		return nil, nil, q.unreached(err, version, root)
	}
	root, err = q.freshEnough(ctx, root)
	return root, doubt, err
}

// at returns the very state at version.
func (q *request) at(ctx context.Context, version object.Version) (*mirror.Root, error) {
	root, err := q.mirror.Exact(ctx, version)
	if root == nil && errors.Is(err, object.ErrNotSynced) {
		return nil, notSynced(q.mirror)
	}
	if err != nil {
		return nil, q.unreached(err, string(version), root)
	}
	return root, nil
}

// unreached is the API server's answer for a version that cannot be had.
func (q *request) unreached(err error, version string, root *mirror.Root) error {
	switch {
	case errors.Is(err, object.ErrNotSynced):
		return notSynced(q.mirror)
	case errors.Is(err, object.ErrExpired):
		return expired("The resourceVersion for the provided list is too old.")
	case errors.Is(err, mirror.ErrTooNew) && root != nil:
		late := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %s, current: %s", version, root.Freshness.Streamed), 1)
		late.ErrStatus.Details.Causes = []metav1.StatusCause{
			{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"},
		}
		return late
	}
	return err
}

// stalenessPatience is how long a request that wants a fresh answer waits for one:
// what a quiet resource takes to be proven current.
const stalenessPatience = 9 * time.Second

// freshEnough returns root or a later state that is not staler than the request
// accepts, and fails with 503 if there is none in time.
func (q *request) freshEnough(ctx context.Context, root *mirror.Root) (*mirror.Root, error) {
	if q.maxStaleness == 0 || time.Since(root.Freshness.StreamedAt) <= q.maxStaleness {
		return root, nil
	}
	fresher, err := q.mirror.FresherThan(ctx, q.maxStaleness, stalenessPatience)
	if err == nil {
		return fresher, nil
	}
	return nil, &staleError{Unavailable("%v: the newest state is %s old, and maxStaleness=%v was asked for", q.resource(),
		seconds(time.Since(root.Freshness.StreamedAt)), q.maxStaleness)}
}

// staleError says that no state is as fresh as was asked for; the API server has one.
type staleError struct{ *apierrors.StatusError }

// watchTimeout is when a watch ends by itself.
func (q *request) watchTimeout() time.Duration {
	if q.options.TimeoutSeconds != nil && *q.options.TimeoutSeconds > 0 {
		return time.Duration(*q.options.TimeoutSeconds) * time.Second
	}
	const least = 30 * time.Minute
	return least + rand.N(least)
}
