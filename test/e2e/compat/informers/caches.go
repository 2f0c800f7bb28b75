//go:build !lastyear

package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// followCaches starts a cache of controller-runtime for a built-in kind and a custom one.
func followCaches(ctx context.Context, config *rest.Config, namespace string) (all []*follower, err error) {
	gadgets := &unstructured.UnstructuredList{}
	gadgets.SetAPIVersion("compat.krm.test/v1")
	gadgets.SetKind("GadgetList")
	gadget := &unstructured.Unstructured{}
	gadget.SetAPIVersion("compat.krm.test/v1")
	gadget.SetKind("Gadget")
	for _, start := range []struct {
		resource string
		object   client.Object
		list     func(context.Context, client.Reader) ([]any, error)
	}{
		{"pods", &corev1.Pod{}, func(ctx context.Context, c client.Reader) (objects []any, err error) {
			var list corev1.PodList
			err = c.List(ctx, &list)
			for i := range list.Items {
				objects = append(objects, &list.Items[i])
			}
			return objects, err
		}},
		{"gadgets", gadget, func(ctx context.Context, c client.Reader) (objects []any, err error) {
			list := gadgets.DeepCopy()
			err = c.List(ctx, list)
			for i := range list.Items {
				objects = append(objects, &list.Items[i])
			}
			return objects, err
		}},
	} {
		f := &follower{Name: "controller-runtime/" + start.resource, Resource: start.resource}
		c, err := cache.New(f.client(config), cache.Options{DefaultNamespaces: map[string]cache.Config{namespace: {}}})
		if err != nil {
			return nil, err
		}
		go func() { _ = c.Start(ctx) }() // main waits for ctx, and ends the process
		informer, err := c.GetInformer(ctx, start.object)
		if err != nil {
			return nil, fmt.Errorf("inform about %s: %w", start.resource, err)
		}
		if _, err := informer.AddEventHandler(f.handler()); err != nil {
			return nil, err
		}
		f.store = func() ([]any, error) { return start.list(context.WithoutCancel(ctx), c) }
		all = append(all, f)
	}
	return all, nil
}
