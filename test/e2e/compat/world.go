package main

import (
	"bytes"
	"context"
	_ "embed" // for world.yaml
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

//go:embed world.yaml
var worldText []byte

const (
	gadgetCount = 50
	loneCount   = 40
)

// The resources that the suite itself changes or waits for.
var (
	podsResource        = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	configMapsResource  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	deploymentsResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	gadgetsResource     = schema.GroupVersionResource{Group: "compat.krm.test", Version: "v1", Resource: "gadgets"}
)

// watched is what KRM serves in this suite, as kubectl names it.
func watched() []string {
	return []string{
		"pods", "nodes", "services", "persistentvolumeclaims", "persistentvolumes", "namespaces", "configmaps", "secrets",
		"serviceaccounts", "endpoints", "events", "limitranges", "resourcequotas", "replicationcontrollers", "podtemplates",
		"deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps", "controllerrevisions.apps",
		"jobs.batch", "cronjobs.batch", "horizontalpodautoscalers.autoscaling", "poddisruptionbudgets.policy",
		"ingresses.networking.k8s.io", "ingressclasses.networking.k8s.io", "networkpolicies.networking.k8s.io",
		"endpointslices.discovery.k8s.io", "storageclasses.storage.k8s.io", "leases.coordination.k8s.io",
		"priorityclasses.scheduling.k8s.io", "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io",
		"customresourcedefinitions.apiextensions.k8s.io", "gadgets.compat.krm.test",
	}
}

// world is what this suite keeps in the cluster.
type world struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

func newWorld(config *rest.Config) (*world, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	documents, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	return &world{client: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(documents))}, nil
}

// furnish creates the world, what of it is not there, and returns once its pods run.
func (w *world) furnish(ctx context.Context) error {
	objects, err := parseWorld(worldText)
	if err != nil {
		return err
	}
	for _, o := range objects { // in their order: namespaces and definitions come first
		if err := w.put(ctx, o); err != nil {
			return err
		}
	}
	group, making := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i := range gadgetCount {
		group.Go(func() error { return w.put(making, newGadget(i)) })
	}
	for i := range loneCount {
		group.Go(func() error { return w.put(making, newLone(i)) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := process.Poll(ctx, time.Minute, "the world to settle", w.settled); err != nil {
		return err
	}
	return w.revise(ctx)
}

func parseWorld(text []byte) (objects []*unstructured.Unstructured, err error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read world.yaml: %w", err)
		}
		objects = append(objects, o)
	}
}

// put creates o unless it exists. A kind that was defined a moment ago may take a
// few seconds until it is served.
func (w *world) put(ctx context.Context, o *unstructured.Unstructured) error {
	what := fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
	return process.Poll(ctx, 20*time.Second, what+" to be created", func(ctx context.Context) error {
		kind := o.GroupVersionKind()
		mapping, err := w.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			w.mapper.Reset()
		}
		if err != nil {
			return err
		}
		_, err = w.client.Resource(mapping.Resource).Namespace(o.GetNamespace()).Create(ctx, o, metav1.CreateOptions{})
		switch {
		case err == nil, apierrors.IsAlreadyExists(err):
			return nil
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err): // a service account that is still to come
			return err
		default:
			return process.Final(err)
		}
	})
}

// settled returns nil once what controllers make of the world is there.
func (w *world) settled(ctx context.Context) error {
	list, err := w.client.Resource(podsResource).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	phases := map[string]int{}
	for _, pod := range list.Items {
		if space := pod.GetNamespace(); space == "shop" || space == "billing" {
			phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
			phases[phase]++
		}
	}
	// web 3, api 2, db 2, agent 5 and the lone ones run; settle 2 are done; stuck waits.
	want := map[string]int{"Running": 12 + loneCount, "Succeeded": 2, "Pending": 1}
	if !maps.Equal(phases, want) {
		return fmt.Errorf("pods by phase are %v, want %v", phases, want)
	}
	return nil
}

// revise gives the deployment of the web a second revision.
func (w *world) revise(ctx context.Context) error {
	const patch = `{"metadata":{"annotations":{"kubernetes.io/change-cause":"second"}},` +
		`"spec":{"template":{"metadata":{"annotations":{"revised":"yes"}}}}}`
	deployments := w.client.Resource(deploymentsResource).Namespace("shop")
	if _, err := deployments.Patch(ctx, "web", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("revise the web: %w", err)
	}
	return process.Poll(ctx, time.Minute, "the web's second revision", func(ctx context.Context) error {
		web, err := deployments.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		count := func(field string) int64 {
			n, _, _ := unstructured.NestedInt64(web.Object, "status", field)
			return n
		}
		if count("observedGeneration") < web.GetGeneration() || count("updatedReplicas") != 3 || count("availableReplicas") != 3 || count("replicas") != 3 {
			return fmt.Errorf("its status is %v", web.Object["status"])
		}
		return w.settled(ctx)
	})
}

func newGadget(number int) *unstructured.Unstructured {
	colours := []string{"red", "green", "blue", "black", "white"}
	spec := map[string]any{
		"colour": colours[number%len(colours)], "size": int64(number % 7), "ratio": float64(number) / 4,
		"made":  time.Date(2020, 1, 1+number, 0, 0, 0, 0, time.UTC).Format(time.RFC3339),
		"parts": []any{map[string]any{"name": "wheel"}, map[string]any{"name": "lamp"}},
	}
	if number%10 == 9 { // columns that have nothing to show
		spec = map[string]any{"size": int64(number)}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "compat.krm.test/v1", "kind": "Gadget", "spec": spec,
		"metadata": map[string]any{
			"namespace": []string{"shop", "billing"}[number%2], "name": fmt.Sprintf("gadget-%02d", number),
			"labels": map[string]any{"shelf": fmt.Sprint(number % 3)},
		},
	}}
}

// newLone is a pod of its own, with labels for every operator of a selector.
func newLone(number int) *unstructured.Unstructured {
	labels := map[string]any{"app": "lone", "number": fmt.Sprint(number), "example.com/part": []string{"head", "tail"}[number%2]}
	if number%4 != 0 {
		labels["env"] = []string{"prod", "dev", "test"}[number%3]
	}
	if number%5 == 0 {
		labels["flag"] = ""
	}
	return newPod("shop", fmt.Sprintf("lone-%02d", number), labels, "")
}

// newPod is a pod that runs, or, with another scheduler, one that nobody touches.
func newPod(namespace, name string, labels map[string]any, scheduler string) *unstructured.Unstructured {
	spec := map[string]any{
		"terminationGracePeriodSeconds": int64(1),
		"containers":                    []any{map[string]any{"name": "main", "image": "images.invalid/lone:1"}},
	}
	if scheduler != "" {
		spec["schedulerName"] = scheduler
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "spec": spec,
		"metadata": map[string]any{"namespace": namespace, "name": name, "labels": labels},
	}}
}
