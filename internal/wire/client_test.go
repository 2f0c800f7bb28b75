package wire

import (
	"context"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// TestClients lets client-go's typed, dynamic and metadata clients watch our
// frames: initial events, the bookmark that ends them, and a later bookmark. An
// informer takes an event if it has the type it expects, for dynamic clients the
// kind, and a version; the bookmark that ends the initial events its annotation.
func TestClients(t *testing.T) {
	pods, widgets, partial := NewCodec(podResource), NewCodec(crResource), NewMetadataCodec()
	pod := realPods(t, 1)[0]
	widget := []byte(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","namespace":"shop","resourceVersion":"1000000"},"spec":{}}`)
	podsV1 := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	widgetsV1 := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}

	f := func(stream []byte, contentType string, object runtime.Object, kind schema.GroupVersionKind, from watcher) {
		t.Helper()
		for i, event := range watched(t, stream, contentType, from) {
			if event.Type == watch.Error {
				t.Fatalf("%T %v: %v", object, kind, event.Object)
			}
			if reflect.TypeOf(event.Object) != reflect.TypeOf(object) {
				t.Errorf("%s is %T, want %T", event.Type, event.Object, object)
			}
			if got := event.Object.GetObjectKind().GroupVersionKind(); !kind.Empty() && got != kind {
				t.Errorf("%s is %v, want %v", event.Type, got, kind)
			}
			access, err := meta.Accessor(event.Object)
			if err != nil {
				t.Fatal(err)
			}
			got := []string{string(event.Type), access.GetResourceVersion(), access.GetAnnotations()[metav1.InitialEventsAnnotationKey]}
			want := [][]string{{"ADDED", "1000000", ""}, {"BOOKMARK", "2000001", "true"}, {"BOOKMARK", "2000002", ""}}
			if i == len(want) || !cmp.Equal(want[i], got) {
				t.Errorf("%T: event %d is %v", object, i, got)
			}
		}
	}
	none, podKind := schema.GroupVersionKind{}, schema.GroupVersionKind{Version: "v1", Kind: "Pod"}
	const json, protobuf = runtime.ContentTypeJSON, runtime.ContentTypeProtobuf + ";stream=watch"
	f(streamJSON(t, pods, pod), json, &corev1.Pod{}, none, watchTyped)
	f(streamProtobuf(t, pods, pod), protobuf, &corev1.Pod{}, none, watchTyped)
	f(streamJSON(t, pods, pod), json, &unstructured.Unstructured{}, podKind, watchDynamic(podsV1))
	f(streamJSON(t, widgets, widget), json, &unstructured.Unstructured{}, schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Widget"}, watchDynamic(widgetsV1))
	f(streamJSON(t, partial, pod), json, &metav1.PartialObjectMetadata{}, none, watchMetadata(podsV1))
	f(streamProtobuf(t, partial, pod), protobuf, &metav1.PartialObjectMetadata{}, none, watchMetadata(podsV1))
	f(streamProtobuf(t, partial, widget), protobuf, &metav1.PartialObjectMetadata{}, none, watchMetadata(widgetsV1))
}

var streamedBookmarks = []Bookmark{{Version: "2000001", InitialEventsEnd: true}, {Version: "2000002"}}

func streamJSON(t *testing.T, c *Codec, body []byte) []byte {
	text, err := c.JSON(body)
	if err != nil {
		t.Fatal(err)
	}
	stream := AppendFrameJSON(nil, watch.Added, text)
	for _, b := range streamedBookmarks {
		stream = c.AppendBookmarkJSON(stream, b)
	}
	return stream
}

func streamProtobuf(t *testing.T, c *Codec, body []byte) []byte {
	message, err := c.Protobuf(body)
	if err != nil {
		t.Fatal(err)
	}
	stream := AppendFrameProtobuf(nil, watch.Added, c.AppendObject(nil, message))
	for _, b := range streamedBookmarks {
		stream = c.AppendBookmarkProtobuf(stream, b)
	}
	return stream
}

type watcher func(ctx context.Context, config *rest.Config) (watch.Interface, error)

func watchTyped(ctx context.Context, config *rest.Config) (watch.Interface, error) {
	config.GroupVersion = &corev1.SchemeGroupVersion
	config.APIPath = "/api"
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	config.ContentType = runtime.ContentTypeProtobuf
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, err
	}
	return client.Get().Resource("pods").Watch(ctx)
}

func watchDynamic(resource schema.GroupVersionResource) watcher {
	return func(ctx context.Context, config *rest.Config) (watch.Interface, error) {
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		return client.Resource(resource).Watch(ctx, metav1.ListOptions{})
	}
}

func watchMetadata(resource schema.GroupVersionResource) watcher {
	return func(ctx context.Context, config *rest.Config) (watch.Interface, error) {
		client, err := metadata.NewForConfig(config)
		if err != nil {
			return nil, err
		}
		return client.Resource(resource).Watch(ctx, metav1.ListOptions{})
	}
}

// watched returns the three events that the client reads from a server which sends stream.
func watched(t *testing.T, stream []byte, contentType string, from watcher) (all []watch.Event) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(stream)
	}))
	defer server.Close()
	events, err := from(t.Context(), &rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		all = append(all, event)
	}
	if len(all) != 3 {
		t.Errorf("%d events of 3: %v", len(all), all)
	}
	return all
}
