package reader

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/compare"
)

// Watches says whether the server at base answers watches.
func Watches(ctx context.Context, client *http.Client, base string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := get(ctx, client, base+"/api/v1/namespaces?watch=true&timeoutSeconds=1", asJSON)
	if err != nil {
		return false
	}
	defer body.Close()
	var first struct {
		Type string `json:"type"`
	}
	return json.NewDecoder(body).Decode(&first) == nil && first.Type != "" && first.Type != "ERROR"
}

// Inform follows a resource with an informer of client-go until ctx ends.
func Inform(ctx context.Context, config *rest.Config, resource schema.GroupVersionResource, journal *Journal) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	informer := dynamicinformer.NewFilteredDynamicInformer(client, resource, metav1.NamespaceAll, 0, cache.Indexers{}, nil).Informer()
	if err := informer.SetTransform(withoutManagedFields); err != nil {
		return err
	}
	put := func(o any) {
		if seen, ok := canonical(o); ok {
			journal.Put(seen)
		}
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    put,
		UpdateFunc: func(_, o any) { put(o) },
		DeleteFunc: func(o any) {
			if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = last.Obj
			}
			if seen, ok := canonical(o); ok {
				journal.Delete(seen.Key, seen.UID)
			}
		},
	})
	if err != nil {
		return err
	}
	informer.RunWithContext(ctx)
	return nil
}

func withoutManagedFields(o any) (any, error) {
	if u, ok := o.(*unstructured.Unstructured); ok {
		u.SetManagedFields(nil)
	}
	return o, nil
}

func canonical(o any) (compare.Object, bool) {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return compare.Object{}, false
	}
	text, err := u.MarshalJSON()
	if err != nil {
		return compare.Object{}, false
	}
	_, seen, err := compare.Canonical(text)
	return seen, err == nil
}

// PathOf is where a resource of all namespaces is listed.
func PathOf(resource schema.GroupVersionResource) string {
	root := "/apis/" + resource.Group
	if resource.Group == "" {
		root = "/api"
	}
	return strings.Join([]string{root, resource.Version, resource.Resource}, "/")
}
