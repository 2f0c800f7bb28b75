package kubeapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func wantFrames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
}

func TestWatch(t *testing.T) {
	const web, db = `{"app":"web"}`, `{"app":"db"}`
	story(t, func(t *testing.T, f, _ *feed, r *replica) {
		f.put("a/x", web) // 101
		f.put("b/y", db)  // 102
		time.Sleep(time.Second)
		change := func() {
			f.put("a/x", db)     // +1
			f.put("a/z", web)    // +2
			f.remove("b/y", db)  // +3
			f.put("a/z", web)    // +4
			f.remove("a/z", web) // +5
		}
		const path = "/api/v1/pods?watch=true&resourceVersion="
		wantFrames(t, r.watch(t, path+"102", change), // 103 to 107
			"MODIFIED a/x@103", "ADDED a/z@104", "DELETED b/y@105", "MODIFIED a/z@106", "DELETED a/z@107")
		wantFrames(t, r.watch(t, path+"104", nil), "DELETED b/y@105", "MODIFIED a/z@106", "DELETED a/z@107") // from the past
		wantFrames(t, r.watch(t, path+"0", nil), "ADDED a/x@103")                                            // the present first
		wantFrames(t, r.watch(t, path+"99&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", nil),
			"ADDED a/x@103", "BOOKMARK /@107 end")
		wantFrames(t, r.watch(t, path+"1", nil), "ERROR /@ Expired")
		wantFrames(t, r.watch(t, "/api/v1/namespaces/b/pods?watch=true&resourceVersion=101", nil), "ADDED b/y@102", "DELETED b/y@105")
		// What starts to match is added, and what ceases to is deleted, at the version of the change.
		f.put("a/x", web) // 108
		wantFrames(t, r.watch(t, path+"107&labelSelector=app%3Dweb", func() {
			f.put("a/x", db)    // 109
			f.remove("a/x", db) // 110
		}), "ADDED a/x@108", "DELETED a/x@109")
		wantFrames(t, r.watch(t, path+"107&fieldSelector=metadata.name%3Dq", nil))
		// A repair has no place in the order of versions: everybody reads anew.
		wantFrames(t, r.watch(t, path+"110", func() {
			f.version = 120
			f.publish(object.FeedEntry{Barrier: "120"})
		}), "ERROR /@ Expired")
		wantFrames(t, r.watch(t, path+"110", nil), "ERROR /@ Expired")
		wantFrames(t, r.watch(t, path+"120", nil))
		if answer := r.ask(path + "999"); answer.Code != http.StatusGatewayTimeout {
			t.Errorf("a watch from the future: %d %s", answer.Code, answer.Body)
		}
	})
}

func TestBookmarks(t *testing.T) {
	story(t, func(t *testing.T, f, _ *feed, r *replica) {
		f.version = 150
		f.publish(object.FeedEntry{})
		answer := r.ask("/api/v1/pods?watch=1&resourceVersion=150&allowWatchBookmarks=true&timeoutSeconds=300")
		got := frames(t, answer.Body)
		if len(got) < 5 || len(got) > 8 || got[0] != "BOOKMARK /@150" {
			t.Errorf("in 5 minutes came %q", got)
		}
	})
}

func TestWatchEndsWithTheServer(t *testing.T) {
	story(t, func(t *testing.T, _, _ *feed, r *replica) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.ask("/api/v1/pods?watch=1&resourceVersion=100&timeoutSeconds=3000")
		}()
		time.Sleep(time.Second)
		if n := r.Watches(); n != 1 {
			t.Errorf("%d watches run", n)
		}
		begun := time.Now()
		r.EndWatches()
		<-done
		if time.Since(begun) > time.Second || r.Watches() != 0 {
			t.Errorf("the watch went on for %v; %d run", time.Since(begun), r.Watches())
		}
	})
}

// Ages go on while a watch runs.
func TestWatchAsTableTellsTheTime(t *testing.T) {
	story(t, func(t *testing.T, f, _ *feed, r *replica) {
		done := make(chan string)
		go func() {
			done <- r.ask("/api/v1/pods?watch=1&resourceVersion=100&timeoutSeconds=7200", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").Body.String()
		}()
		time.Sleep(time.Second)
		f.put("a/x", `{}`)
		time.Sleep(time.Hour)
		f.put("a/x", `{}`)
		lines := strings.Split(strings.TrimSpace(<-done), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `"cells":["x","4s"]`) || !strings.Contains(lines[1], `"cells":["x","60m"]`) {
			t.Errorf("%q", lines)
		}
	})
}

func TestHeadOfAWatchDoesNotWait(t *testing.T) {
	story(t, func(t *testing.T, _, _ *feed, r *replica) {
		begun, recorder := time.Now(), httptest.NewRecorder()
		r.engine.ServeHTTP(recorder, httptest.NewRequest(http.MethodHead, "http://krm/api/v1/pods?watch=1", nil))
		if recorder.Code != http.StatusOK || time.Since(begun) > time.Second {
			t.Errorf("%d after %v", recorder.Code, time.Since(begun))
		}
	})
}

func TestWatchBeforeTheFirstSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		f := newFeed(pods)
		f.state.Synced = false
		r := feeds{f}.open(ctx, Options{}, &wait)
		time.Sleep(3 * time.Second)
		for _, query := range []string{"", "watch=1", "watch=1&resourceVersion=5", "resourceVersion=5&resourceVersionMatch=Exact"} {
			if answer := r.ask("/api/v1/pods?" + query); answer.Code != http.StatusServiceUnavailable || answer.Header().Get("Retry-After") == "" {
				t.Errorf("%q: %d %s", query, answer.Code, answer.Body)
			}
		}
		cancel()
		wait.Wait()
	})
}

// What a real client decodes of a watch in protobuf is what it would of JSON.
func TestWatchProtobuf(t *testing.T) {
	story(t, func(t *testing.T, f, _ *feed, r *replica) {
		f.put("a/x", `{"app":"web"}`)
		f.remove("a/x", `{"app":"web"}`)
		time.Sleep(time.Second)
		answer := r.ask("/api/v1/pods?watch=1&resourceVersion=100&allowWatchBookmarks=true&timeoutSeconds=100", "Accept", "application/vnd.kubernetes.protobuf,application/json")
		if got := answer.Header().Get("Content-Type"); got != "application/vnd.kubernetes.protobuf;stream=watch" {
			t.Fatalf("Content-Type %q", got)
		}
		reader := protobuf.LengthDelimitedFramer.NewFrameReader(io.NopCloser(answer.Body))
		serializer := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
		raw := protobuf.NewRawSerializer(scheme.Scheme, scheme.Scheme)
		var got []string
		buffer := make([]byte, 1<<16)
		for {
			n, err := reader.Read(buffer)
			if err != nil {
				break
			}
			var event metav1.WatchEvent
			if _, _, err := raw.Decode(buffer[:n], nil, &event); err != nil {
				t.Fatal(err)
			}
			decoded, err := runtime.Decode(serializer, event.Object.Raw)
			if err != nil {
				t.Fatal(err)
			}
			pod := decoded.(*corev1.Pod)
			got = append(got, event.Type+" "+pod.Name+"@"+pod.ResourceVersion+" "+pod.Spec.NodeName)
		}
		if len(got) < 3 {
			t.Fatalf("got %q", got)
		}
		wantFrames(t, got[:3], "ADDED x@101 node-1", "DELETED x@102 node-1", "BOOKMARK @102 ")
	})
}

func TestWatchAsTableAndEvents(t *testing.T) {
	story(t, func(t *testing.T, f, _ *feed, r *replica) {
		f.put("a/x", `{}`)
		f.put("a/y", `{}`)
		time.Sleep(time.Second)
		const path = "/api/v1/pods?watch=1&resourceVersion=100&timeoutSeconds=1"
		lines := strings.Split(strings.TrimSpace(r.ask(path, "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").Body.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], `"columnDefinitions":[{"name":"Name"`) || !strings.Contains(lines[1], `"columnDefinitions":null`) ||
			!strings.Contains(lines[1], `"cells":["y",`) {
			t.Errorf("as Table: %q", lines)
		}
		events := r.ask(path, "Accept", "text/event-stream").Body.String()
		if !strings.HasPrefix(events, "event: ADDED\nid: 101\ndata: {\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\"") || strings.Count(events, "}\n\n") != 2 {
			t.Errorf("server-sent events: %q", events)
		}
		again := r.ask("/api/v1/pods?watch=1&timeoutSeconds=1", "Accept", "text/event-stream", "Last-Event-ID", "101").Body.String()
		if !strings.HasPrefix(again, "event: ADDED\nid: 102\n") || strings.Count(again, "\n\n") != 1 {
			t.Errorf("after a break: %q", again)
		}
		first := r.ask("/api/v1/pods?watch=1&timeoutSeconds=1", "Accept", "text/event-stream").Body.String()
		if !strings.HasPrefix(first, "event: ADDED\ndata: ") || strings.Contains(first, "id: ") {
			t.Errorf("the present objects: %q", first)
		}
	})
}

// Objects of a custom resource come as metadata in protobuf too, and as JSON only whole.
func TestWidgets(t *testing.T) {
	story(t, func(t *testing.T, _, f *feed, r *replica) {
		f.put("a/x", `{}`)
		time.Sleep(time.Second)
		answer := r.ask("/apis/krm.test/v1/widgets", "Accept", "application/vnd.kubernetes.protobuf,application/json")
		if got := answer.Header().Get("Content-Type"); got != "application/json" || !bytes.Contains(answer.Body.Bytes(), []byte(`"kind":"Widget"`)) {
			t.Errorf("%s %s", got, answer.Body)
		}
		if answer := r.ask("/apis/krm.test/v1/widgets", "Accept", "application/vnd.kubernetes.protobuf"); answer.Code != http.StatusNotAcceptable {
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
		answer = r.ask("/apis/krm.test/v1/widgets", "Accept", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
		var partial metav1.PartialObjectMetadataList
		s := runtime.NewScheme()
		metav1.AddToGroupVersion(s, metav1.SchemeGroupVersion)
		if err := metav1.AddMetaToScheme(s); err != nil {
			t.Fatal(err)
		}
		if _, _, err := protobuf.NewSerializer(s, s).Decode(answer.Body.Bytes(), nil, &partial); err != nil || len(partial.Items) != 1 || partial.Items[0].Name != "x" {
			t.Errorf("%v %+v", err, partial)
		}
	})
}
