package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
)

// protobufServer answers as an API server does, with pods in protobuf.
type protobufServer struct {
	info      runtime.SerializerInfo
	encoder   runtime.Encoder
	watchList bool // it streams the first objects
	requests  chan string
}

func newProtobufServer(t *testing.T, watchList bool) (*protobufServer, *rest.Config) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	codecs := serializer.NewCodecFactory(scheme)
	info, ok := runtime.SerializerInfoForMediaType(codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		t.Fatal("no protobuf")
	}
	s := &protobufServer{info: info, encoder: codecs.EncoderForVersion(info.Serializer, corev1.SchemeGroupVersion), watchList: watchList, requests: make(chan string, 100)}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, &rest.Config{Host: server.URL}
}

func testPod(name, version string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "ns", Name: name, ResourceVersion: version, Labels: map[string]string{"app": name},
			Annotations: map[string]string{"large": "x"}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m"}},
		},
		Spec: corev1.PodSpec{
			NodeName: "a", Volumes: []corev1.Volume{{Name: "v"}},
			Containers: []corev1.Container{{Name: "c", Image: "i", Env: []corev1.EnvVar{{Name: "SECRET", Value: "x"}}}},
		},
	}
}

func (s *protobufServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	select {
	case s.requests <- fmt.Sprintf("%s watch=%s initial=%s accept=%s", r.URL.Path, q.Get("watch"), q.Get("sendInitialEvents"), r.Header.Get("Accept")):
	default:
	}
	initial := q.Get("sendInitialEvents") == "true"
	if initial && !s.watchList {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","code":422,"message":"sendInitialEvents is forbidden"}`)
		return
	}
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf)
	if q.Get("watch") == "" {
		list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "5"}, Items: []corev1.Pod{*testPod("p", "3"), *testPod("q", "4")}}
		_ = s.encoder.Encode(list, w)
		return
	}
	w.Header().Set("Content-Type", runtime.ContentTypeProtobuf+";stream=watch")
	if initial {
		s.event(w, watch.Added, testPod("p", "3"))
		s.event(w, watch.Added, testPod("q", "4"))
		s.event(w, watch.Bookmark, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "5", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}})
	}
	s.event(w, watch.Modified, testPod("p", "6"))
	s.event(w, watch.Deleted, testPod("q", "7"))
	s.event(w, watch.Bookmark, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "9"}})
	<-r.Context().Done()
}

func (s *protobufServer) event(w http.ResponseWriter, kind watch.EventType, pod *corev1.Pod) {
	var raw strings.Builder
	_ = s.encoder.Encode(pod, &raw)
	e := &metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: []byte(raw.String())}}
	_ = streaming.NewEncoder(s.info.StreamSerializer.NewFrameWriter(w), s.info.StreamSerializer.Serializer).Encode(e)
	w.(http.Flusher).Flush()
}

// toldPods collects what a sink was told.
type toldPods struct {
	mu    sync.Mutex
	lines []string
	done  chan struct{} // closed when the last bookmark came
	fault string
}

func (s *toldPods) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *toldPods) Replace(all []*corev1.Pod) {
	var names []string
	for _, p := range all {
		s.check(p)
		names = append(names, p.Name)
	}
	slices.Sort(names)
	s.line("replace %s", strings.Join(names, " "))
}

func (s *toldPods) Set(p *corev1.Pod) { s.check(p); s.line("set %s", p.Name) }

func (s *toldPods) Delete(namespace, name string) { s.line("delete %s/%s", namespace, name) }

func (s *toldPods) Alive() {
	s.line("alive")
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.lines, "delete ns/q") && s.done != nil {
		close(s.done)
		s.done = nil
	}
}

func (s *toldPods) check(p *corev1.Pod) {
	if p.ManagedFields != nil || p.Annotations != nil || p.Spec.Volumes != nil || p.Spec.Containers[0].Env != nil {
		s.fault = "a pod was not trimmed"
	}
	if p.Spec.NodeName != "a" || p.Labels["app"] != p.Name || p.Spec.Containers[0].Image != "i" {
		s.fault = "too much of a pod was trimmed"
	}
}

func TestInformers(t *testing.T) {
	f := func(watchList bool) {
		t.Helper()
		server, config := newProtobufServer(t, watchList)
		informers, err := NewInformers(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan struct{})
		sink := &toldPods{done: done}
		ended := make(chan error)
		go func() { ended <- informers.FollowPods(ctx, sink) }()
		select {
		case <-done:
		case <-time.After(8 * time.Second):
			t.Error("the watch's last event did not come")
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("FollowPods: %v", err)
		}
		want := []string{"replace p q", "set p", "delete ns/q", "alive"}
		if !slices.Equal(sink.lines, want) || sink.fault != "" {
			t.Errorf("told %q, want %q; %s", sink.lines, want, sink.fault)
		}
		first := <-server.requests
		if !strings.HasPrefix(first, "/api/v1/pods watch=true initial=true accept=application/vnd.kubernetes.protobuf") {
			t.Errorf("the first request is %s", first)
		}
	}
	f(true)
	f(false)
}
