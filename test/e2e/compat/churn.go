package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

const (
	churnSpace = "churn"
	churnNames = 25 // of each resource
)

// write is one change that the API server took.
type write struct {
	resource string
	key, uid string
	version  string // "" of a deletion
	in       bool   // the selector matches after it
	at       time.Time
}

// churn changes objects of three resources in one namespace that nobody else writes to.
type churn struct {
	world  *world
	random *rand.Rand
	step   int
	favour string // one name that every tenth change is about
	writes []write
}

func churnResources() []schema.GroupVersionResource {
	return []schema.GroupVersionResource{podsResource, configMapsResource, gadgetsResource}
}

// prepare makes the namespace, and empties it.
func (c *churn) prepare(ctx context.Context) error {
	space := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": churnSpace}}}
	if err := c.world.put(ctx, space); err != nil {
		return err
	}
	none := int64(0)
	for _, resource := range churnResources() {
		objects := c.world.client.Resource(resource).Namespace(churnSpace)
		if err := objects.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &none}, metav1.ListOptions{}); err != nil {
			return fmt.Errorf("empty the namespace %s: %w", churnSpace, err)
		}
	}
	return nil
}

// Run makes so many changes a second until ctx ends.
func (c *churn) Run(ctx context.Context, rate int) error {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		// A write that was sent is always awaited: its version must be known.
		if err := c.change(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
}

// change creates what is not there, and changes, flips or deletes what is.
func (c *churn) change(ctx context.Context) error {
	c.step++
	resource := churnResources()[c.random.IntN(3)]
	objects := c.world.client.Resource(resource).Namespace(churnSpace)
	name := fmt.Sprintf("churn-%02d", c.random.IntN(churnNames))
	if c.favour != "" && c.step%10 == 0 {
		name = c.favour
	}
	patch := fmt.Sprintf(`{"metadata":{"labels":{"side":%q},"annotations":{"step":"%d"}}}`, []string{"in", "out"}[c.random.IntN(2)], c.step)
	if c.random.IntN(5) == 0 {
		before, err := objects.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read before a deletion: %w", err)
		}
		none := int64(0)
		if err := objects.Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &none}); err != nil {
			return fmt.Errorf("churn: %w", err)
		}
		c.writes = append(c.writes, write{resource: resource.Resource, key: name, uid: string(before.GetUID()), at: time.Now()})
		return nil
	}
	after, err := objects.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		after, err = objects.Create(ctx, newChurned(resource.Resource, name), metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("churn: %w", err)
	}
	c.writes = append(c.writes, write{
		resource: resource.Resource, key: name, uid: string(after.GetUID()), version: after.GetResourceVersion(),
		in: after.GetLabels()["side"] == "in", at: time.Now(),
	})
	return nil
}

func newChurned(resource, name string) *unstructured.Unstructured {
	var o *unstructured.Unstructured
	labels := map[string]any{"side": "in"}
	switch resource {
	case "pods":
		return newPod(churnSpace, name, labels, "nobody")
	case "gadgets":
		o = newGadget(0)
	default:
		o = &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"text": "some"}}}
	}
	o.SetName(name)
	o.SetNamespace(churnSpace)
	o.SetLabels(map[string]string{"side": "in"})
	return o
}
