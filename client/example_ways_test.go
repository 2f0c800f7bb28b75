package client_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// live is a stand-in for KRM where the pod web-1 exists, web-2 comes, and web-1 goes.
func live() *httptest.Server {
	pod := func(name, version string) string {
		return `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"` + name + `","namespace":"default","uid":"` + name + `","resourceVersion":"` + version + `"}}`
	}
	const synced = `{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"1042","annotations":{"k8s.io/initial-events-end":"true"}}}`
	event := func(kind, object string) string { return `{"type":"` + kind + `","object":` + object + "}\n" }
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		query := r.URL.Query()
		if query.Get("watch") == "" {
			_, _ = io.WriteString(w, `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1042"},"items":[`+pod("web-1", "1040")+`]}`)
			return
		}
		if query.Get("sendInitialEvents") == "true" {
			_, _ = io.WriteString(w, event("ADDED", pod("web-1", "1040"))+event("BOOKMARK", synced))
		}
		_, _ = io.WriteString(w, event("ADDED", pod("web-2", "1043"))+event("DELETED", pod("web-1", "1044")))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
}

// The first way: this package's own types. The watch lists, follows, and goes on
// by itself after a broken connection.
func ExampleResource_Watch() {
	server := live()
	defer server.Close()
	krm, err := client.New(server.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	for event, err := range krm.Pods("default").Watch(ctx, client.WatchOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		switch event.Type {
		case client.Added, client.Modified:
			fmt.Println("there is", event.Object.Name)
		case client.Deleted:
			fmt.Println("gone is", event.Object.Name)
			return
		case client.Bookmark:
			fmt.Println("up to", event.ResourceVersion, "that was all:", event.Synced)
		}
	}
	// Output:
	// there is web-1
	// up to 1042 that was all: true
	// there is web-2
	// gone is web-1
}

// The second way: client-go. Informers, listers and the typed clientset read from
// KRM and need no other change.
func ExampleClient_RESTConfig() {
	server := live()
	defer server.Close()
	krm, err := client.New(server.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	clientset, err := kubernetes.NewForConfig(krm.RESTConfig())
	if err != nil {
		log.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(clientset, 0)
	gone := make(chan string, 1)
	_, err = factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		DeleteFunc: func(object any) {
			if pod, ok := object.(*corev1.Pod); ok {
				gone <- pod.Name
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	fmt.Println("gone is", <-gone)
	cancel()
	factory.Shutdown()
	// Output:
	// gone is web-1
}

// A custom resource with Go types of one's own; see also [client.Client.Unstructured].
func ExampleOf() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, manyWidgets)
	}))
	defer server.Close()
	krm, err := client.New(server.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}

	widgets := client.Of[Widget, WidgetList](krm, client.Kind{Group: "example.com", Version: "v1", Resource: "widgets", Kind: "Widget", Namespaced: true})
	for widget, err := range widgets.In("a").All(context.Background(), client.ListOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(widget.Name, widget.Spec.Size)
	}
	// Output:
	// w 7
}

// One list, asked for often: as long as nothing changes KRM answers with a 304,
// and nothing is sent or decoded.
func ExampleResource_Cached() {
	server := demo()
	defer server.Close()
	krm, err := client.New(server.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}

	cached := krm.Pods("default").Cached(client.ListOptions{})
	pods, fresh, err := cached.Shared(context.Background()) // not to be modified; cached.List returns a copy
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(pods.Items), "as of", fresh.StreamedResourceVersion)
	// Output:
	// 1 as of 1042
}
