package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// How long a watching command gets before, while and after the stage changes.
const (
	watchStart = 2500 * time.Millisecond
	watchTime  = 9 * time.Second
)

// compareWatching runs all watching commands against both sides while the stage
// changes, and compares the lines that each has shown.
func (h *house) compareWatching(ctx context.Context, a, b *side, all []command, report func(string, ...any)) (t tally, err error) {
	if err := h.world.clearStage(ctx); err != nil {
		return t, err
	}
	if err := process.Pause(ctx, time.Second); err != nil { // both have heard of it
		return t, err
	}
	var group sync.WaitGroup
	outputs := make([][2]output, len(all))
	for i, c := range all {
		for j, s := range []*side{a, b} {
			group.Go(func() { outputs[i][j] = h.kubectl(ctx, c, s, watchTime) })
		}
	}
	err = process.Pause(ctx, watchStart)
	if err == nil {
		err = h.world.play(ctx)
	}
	group.Wait()
	for i, c := range all {
		t.total++
		if fault := judge(c, outputs[i][0], outputs[i][1]); fault != "" {
			report("kubectl %s: %s", c.line, fault)
			continue
		}
		t.equal++
	}
	return t, err
}

// clearStage removes what an earlier play has left.
func (w *world) clearStage(ctx context.Context) error {
	for _, resource := range []schema.GroupVersionResource{podsResource, gadgetsResource} {
		objects := w.client.Resource(resource).Namespace("stage")
		grace := int64(0)
		if err := objects.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &grace}, metav1.ListOptions{}); err != nil {
			return fmt.Errorf("clear the stage: %w", err)
		}
	}
	return nil
}

// play changes the stage in the same way each time: objects come, change, begin and
// cease to match selectors, and go; one comes again.
func (w *world) play(ctx context.Context) error {
	pods, gadgets := w.client.Resource(podsResource).Namespace("stage"), w.client.Resource(gadgetsResource).Namespace("stage")
	make := func(number int) error {
		pod := newPod("stage", fmt.Sprintf("actor-%d", number), map[string]any{"act": "one"}, "nobody")
		_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
		return err
	}
	label := func(number int, value string) error {
		patch := fmt.Sprintf(`{"metadata":{"labels":{"act":%q}}}`, value)
		_, err := pods.Patch(ctx, fmt.Sprintf("actor-%d", number), types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	remove := func(number int) error {
		return pods.Delete(ctx, fmt.Sprintf("actor-%d", number), metav1.DeleteOptions{})
	}
	paint := func(colour string) error {
		patch := fmt.Sprintf(`{"spec":{"colour":%q}}`, colour)
		_, err := gadgets.Patch(ctx, "prop", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		return err
	}
	gadget := newGadget(0)
	gadget.SetName("prop")
	gadget.SetNamespace("stage")
	for _, step := range []func() error{
		func() error { return make(1) },
		func() error { return make(2) },
		func() error { return label(1, "two") },
		func() error { return label(2, "one-again") },
		func() error { return label(1, "one") },
		func() error { _, err := gadgets.Create(ctx, gadget, metav1.CreateOptions{}); return err },
		func() error { return paint("green") },
		func() error { return remove(2) },
		func() error { return paint("black") },
		func() error { return make(2) },
		func() error { return remove(1) },
		func() error { return gadgets.Delete(ctx, "prop", metav1.DeleteOptions{}) },
		func() error { return remove(2) },
	} {
		if err := step(); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("play on the stage: %w", err)
		}
		if err := process.Pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
