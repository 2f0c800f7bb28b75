package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// world is what this suite keeps in the cluster. Its names carry the time of the
// start, so that several runs may share a cluster.
type world struct {
	client dynamic.Interface
	id     string
	spaces []string // namespaces in which objects live
	apps   []string // namespace/name of Deployments whose pods churn
	pods   int
}

const (
	worldSpaces = 6
	podsPerApp  = 25
	worldNodes  = 3
	writers     = 8
)

func newWorld(config *rest.Config, pods int) (*world, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // no limit on our side
	config.UserAgent = "krm-e2e"
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	w := &world{client: client, id: strconv.FormatInt(time.Now().Unix()%(36*36*36*36), 36), pods: pods}
	for i := range worldSpaces {
		w.spaces = append(w.spaces, w.name("space", i))
	}
	for i := range max(1, pods/podsPerApp) {
		w.apps = append(w.apps, w.spaces[i%worldSpaces]+"/"+w.name("app", i))
	}
	return w, nil
}

func (w *world) name(what string, number int) string {
	return fmt.Sprintf("e2e-%s-%s-%d", w.id, what, number)
}

func (w *world) space(number int) string { return w.spaces[number%len(w.spaces)] }

func (w *world) create(ctx context.Context, k kind, o *unstructured.Unstructured) error {
	_, err := w.client.Resource(k.GroupVersionResource).Namespace(o.GetNamespace()).Create(ctx, o, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create %s %s/%s: %w", k.name(), o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

// patch merges a JSON text into the object at key.
func (w *world) patch(ctx context.Context, k kind, key, text string) (*unstructured.Unstructured, error) {
	namespace, name := split(key)
	patched, err := w.client.Resource(k.GroupVersionResource).Namespace(namespace).
		Patch(ctx, name, types.MergePatchType, []byte(text), metav1.PatchOptions{})
	if err != nil {
		return nil, fmt.Errorf("patch %s %s: %w", k.name(), key, err)
	}
	return patched, nil
}

func (w *world) delete(ctx context.Context, k kind, key string) error {
	namespace, name := split(key)
	if err := w.client.Resource(k.GroupVersionResource).Namespace(namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete %s %s: %w", k.name(), key, err)
	}
	return nil
}

// exists says whether the API server has the object.
func (w *world) exists(ctx context.Context, k kind, key string) (bool, error) {
	namespace, name := split(key)
	_, err := w.client.Resource(k.GroupVersionResource).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// furnish creates the world and returns once its pods run.
func (w *world) furnish(ctx context.Context) error {
	if err := w.define(ctx); err != nil {
		return err
	}
	var first, second []piece
	for i := range worldNodes {
		first = append(first, piece{nodes, newNode(w.name("node", i))})
	}
	for _, space := range w.spaces {
		first = append(first, piece{namespaces, newNamespace(space)})
	}
	for i, key := range w.apps {
		space, app := split(key)
		second = append(second,
			piece{deployments, newDeployment(space, app, min(podsPerApp, w.pods))},
			piece{services, newService(space, app)},
			piece{widgets, newWidget(space, app, i, "at the beginning")})
		if i%2 == 0 {
			second = append(second, piece{ingresses, newIngress(space, app)}, piece{claims, newClaim(space, app)})
		}
	}
	second = append(second, w.canaries()...)
	for _, pieces := range [][]piece{first, second} {
		if err := w.createAll(ctx, pieces); err != nil {
			return err
		}
	}
	return process.Poll(ctx, 2*time.Minute, "the pods to run", w.podsRun)
}

// define makes the CustomResourceDefinition, and returns once widgets are served.
func (w *world) define(ctx context.Context) error {
	_, err := w.client.Resource(definitions).Create(ctx, newDefinition(), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("define widgets: %w", err)
	}
	return process.Poll(ctx, time.Minute, "widgets to be served", func(ctx context.Context) error {
		_, err := w.client.Resource(widgets.GroupVersionResource).List(ctx, metav1.ListOptions{Limit: 1})
		return err
	})
}

// piece is one object that is to be created.
type piece struct {
	kind   kind
	object *unstructured.Unstructured
}

func (p piece) key() string {
	if p.object.GetNamespace() == "" {
		return p.object.GetName()
	}
	return p.object.GetNamespace() + "/" + p.object.GetName()
}

func (w *world) createAll(ctx context.Context, pieces []piece) error {
	return each(ctx, pieces, func(ctx context.Context, p piece) error {
		return w.create(ctx, p.kind, p.object)
	})
}

// each calls do for all items, some at the same time.
func each[T any](ctx context.Context, items []T, do func(context.Context, T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for _, item := range items {
		group.Go(func() error { return do(ctx, item) })
	}
	return group.Wait()
}

// podsRun returns nil once all pods of our Deployments run.
func (w *world) podsRun(ctx context.Context) error {
	running := 0
	for _, space := range w.spaces {
		list, err := w.client.Resource(pods.GroupVersionResource).Namespace(space).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return err
		}
		for _, pod := range list.Items {
			if phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase"); phase == "Running" {
				running++
			}
		}
	}
	if want := len(w.apps) * min(podsPerApp, w.pods); running < want {
		return fmt.Errorf("%d of %d run", running, want)
	}
	return nil
}

// clear removes what furnish made, as far as it can within a few seconds. It does
// not wait for the API server's garbage collection.
func (w *world) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var faults []error
	for _, space := range w.spaces {
		faults = append(faults, w.delete(ctx, namespaces, space))
	}
	for i := range worldNodes {
		faults = append(faults, w.delete(ctx, nodes, w.name("node", i)))
	}
	return errors.Join(faults...)
}

func split(key string) (namespace, name string) {
	for i := range len(key) {
		if key[i] == '/' {
			return key[:i], key[i+1:]
		}
	}
	return "", key
}
