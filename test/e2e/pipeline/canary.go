package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/reader"
)

const canaryLabel = "krm.test/canary"

// canaries are one object of each kind that only we write. Where KRM shows its
// last change, it shows every earlier change of that kind too.
func (w *world) canaries() []piece {
	space, name := w.space(0), w.name("canary", 0)
	return []piece{
		{pods, newPod(space, name)},
		{nodes, newNode(name)},
		{services, newService(space, name)},
		{claims, newClaim(space, name)},
		{namespaces, newNamespace(name)},
		{deployments, newDeployment(space, name, 0)},
		{ingresses, newIngress(space, name)},
		{widgets, newWidget(space, name, 1, "canary")},
	}
}

var canaryNumber atomic.Int64

// touch changes the canary of each kind and returns the versions that this makes.
func (w *world) touch(ctx context.Context) (map[kind]string, error) {
	number := canaryNumber.Add(1)
	versions := map[kind]string{}
	for _, canary := range w.canaries() {
		var patched *unstructured.Unstructured
		// The API server may have been restarted a moment ago.
		err := process.Poll(ctx, 30*time.Second, "the canary's change", func(ctx context.Context) (err error) {
			patched, err = w.patch(ctx, canary.kind, canary.key(), fmt.Sprintf(`{"metadata":{"labels":{%q:"%d"}}}`, canaryLabel, number))
			return err
		})
		if err != nil {
			return nil, err
		}
		versions[canary.kind] = patched.GetResourceVersion()
	}
	return versions, nil
}

// awaitCanaries returns once KRM shows each canary at the version in versions or
// a later one.
func (h *house) awaitCanaries(ctx context.Context, versions map[kind]string, within time.Duration) error {
	return process.Poll(ctx, within, "KRM to show what the API server has", func(ctx context.Context) error {
		for _, canary := range h.world.canaries() {
			want, ok := versions[canary.kind]
			if !ok {
				continue
			}
			if err := h.shows(ctx, canary, want); err != nil {
				return err
			}
			delete(versions, canary.kind)
		}
		return nil
	})
}

func (h *house) shows(ctx context.Context, p piece, version string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	text, err := reader.FetchOne(ctx, h.http, h.krmURL(), p.kind.one(p.key()))
	if err != nil {
		return err
	}
	var seen struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(text, &seen); err != nil {
		return fmt.Errorf("%s %s: %w", p.kind.name(), p.key(), err)
	}
	order, err := resourceversion.CompareResourceVersion(seen.Metadata.ResourceVersion, version)
	if err == nil && order < 0 {
		err = fmt.Errorf("%s %s is at version %s, the API server has %s", p.kind.name(), p.key(), seen.Metadata.ResourceVersion, version)
	}
	return err
}

// catchUp writes to every kind and returns once KRM shows it all.
func (h *house) catchUp(ctx context.Context, within time.Duration) error {
	versions, err := h.world.touch(ctx)
	if err != nil {
		return err
	}
	return h.awaitCanaries(ctx, versions, within)
}
