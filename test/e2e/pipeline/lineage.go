package main

import (
	"context"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// restoreGap is how many changes are lost when etcd is restored: more than the
// control plane makes by itself until KRM is back.
const restoreGap = 1500

// lineageStory restores etcd to an older snapshot: versions go back, and what KRM
// knows has never been. It must notice and read everything anew.
func lineageStory(ctx context.Context, h *house, r *result) error {
	file := h.path("etcd.snapshot")
	if err := h.cluster.order(ctx, "snapshot", file); err != nil {
		return err
	}
	lost := piece{widgets, newWidget(h.world.space(0), h.world.name("lost", 0), 1, "lost")}
	if err := h.world.createAll(ctx, []piece{lost}); err != nil {
		return err
	}
	if err := h.world.delete(ctx, widgets, h.world.apps[0]); err != nil {
		return err
	}
	numbers := make([]int, restoreGap)
	for i := range numbers {
		numbers[i] = i
	}
	err := each(ctx, numbers, func(ctx context.Context, i int) error {
		_, err := h.world.patch(ctx, widgets, lost.key(), fmt.Sprintf(`{"spec":{"size":%d}}`, i))
		return err
	})
	if err != nil {
		return err
	}
	if err := h.catchUp(ctx, recoverWithin); err != nil {
		return err
	}
	if err := h.cluster.order(ctx, "restore", file); err != nil {
		return err
	}
	restored := time.Now()
	// Canaries cannot tell: KRM's old ones have higher versions. The objects do.
	err = process.Poll(ctx, recoverWithin, "KRM to follow the restored etcd", func(ctx context.Context) error {
		c, err := h.compareAll(ctx)
		if err == nil && c.total() > 0 {
			err = fmt.Errorf("it differs: %v", c)
		}
		return err
	})
	if err != nil {
		r.fault("%v", err)
		return nil
	}
	r.restored = true
	r.recovered("restored-etcd", time.Since(restored))
	h.say("KRM followed the restored etcd within %.1f s", time.Since(restored).Seconds())
	return h.mustEqual(ctx, r, "after the restore")
}
