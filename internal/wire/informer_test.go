package wire

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// TestInformers lets client-go's typed, dynamic and metadata informers start
// from our frames: initial events, the bookmark that ends them, and a later
// bookmark. An informer that does not take a bookmark never has its version.
func TestInformers(t *testing.T) {
	pods, partial := NewCodec(podResource), NewMetadataCodec()
	pod := realPods(t, 1)[0]
	widget := []byte(`{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"w","namespace":"shop","resourceVersion":"1"},"spec":{}}`)
	begin, later := Bookmark{Version: "2000001", InitialEventsEnd: true}, Bookmark{Version: "2000002"}

	inJSON := func(c *Codec, body []byte) []byte {
		text, err := c.JSON(body)
		if err != nil {
			t.Fatal(err)
		}
		return c.AppendBookmarkJSON(c.AppendBookmarkJSON(AppendFrameJSON(nil, watch.Added, text), begin), later)
	}
	inProtobuf := func(c *Codec, body []byte) []byte {
		message, err := c.Protobuf(body)
		if err != nil {
			t.Fatal(err)
		}
		stream := AppendFrameProtobuf(nil, watch.Added, c.AppendObject(nil, message))
		return c.AppendBookmarkProtobuf(c.AppendBookmarkProtobuf(stream, begin), later)
	}
	const binary = "application/vnd.kubernetes.protobuf"
	podsV1 := schema.GroupVersionResource{Version: "v1", Resource: "pods"}

	t.Run("typed JSON", func(t *testing.T) {
		informer(t, inJSON(pods, pod), "application/json", &corev1.Pod{}, typedSource)
	})
	t.Run("typed protobuf", func(t *testing.T) {
		informer(t, inProtobuf(pods, pod), binary+";stream=watch", &corev1.Pod{}, typedSource)
	})
	t.Run("dynamic", func(t *testing.T) {
		informer(t, inJSON(pods, pod), "application/json", &unstructured.Unstructured{}, dynamicSource(podsV1))
	})
	t.Run("dynamic custom resource", func(t *testing.T) {
		widgets := schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "widgets"}
		informer(t, inJSON(NewCodec(crResource), widget), "application/json", &unstructured.Unstructured{}, dynamicSource(widgets))
	})
	t.Run("metadata JSON", func(t *testing.T) {
		informer(t, inJSON(partial, pod), "application/json", &metav1.PartialObjectMetadata{}, metadataSource)
	})
	t.Run("metadata protobuf", func(t *testing.T) {
		informer(t, inProtobuf(partial, widget), binary+";stream=watch", &metav1.PartialObjectMetadata{}, metadataSource)
	})
}

// source makes a client for the server and returns what an informer watches with.
type source func(t *testing.T, config *rest.Config) (client any, watch cache.WatchFuncWithContext)

func typedSource(t *testing.T, config *rest.Config) (any, cache.WatchFuncWithContext) {
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + ",application/json"
	client, err := typedcorev1.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client, client.Pods("").Watch
}

func dynamicSource(resource schema.GroupVersionResource) source {
	return func(t *testing.T, config *rest.Config) (any, cache.WatchFuncWithContext) {
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		return client, client.Resource(resource).Watch
	}
}

func metadataSource(t *testing.T, config *rest.Config) (any, cache.WatchFuncWithContext) {
	client, err := metadata.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client, client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Watch
}

// informer runs an informer of such objects against a server that sends stream
// to the first watch. It must synchronize, hold the object, and resume from the
// last bookmark's version.
func informer(t *testing.T, stream []byte, contentType string, object runtime.Object, from source) {
	t.Helper()
	requests := make(chan url.Values, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r.URL.Query()
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(http.StatusOK)
		if r.URL.Query().Get("sendInitialEvents") == "true" {
			_, _ = w.Write(stream)
			return
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	client, watch := from(t, &rest.Config{Host: server.URL})
	informer := cache.NewSharedIndexInformer(cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			return nil, errors.New("the informer lists: it did not take the watch")
		},
		WatchFuncWithContext: watch,
	}, client), object, 0, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	done := make(chan struct{})
	go func() {
		defer close(done)
		informer.RunWithContext(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })

	first, second := <-requests, url.Values{}
	select {
	case second = <-requests:
	case <-ctx.Done():
	}
	if first.Get("sendInitialEvents") != "true" || second.Get("resourceVersion") != "2000002" {
		t.Errorf("first %v, then %v", first, second)
	}
	if !informer.HasSynced() && !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Error("not synchronized")
	}
	if keys := informer.GetStore().ListKeys(); len(keys) != 1 {
		t.Errorf("holds %v", keys)
	}
}
