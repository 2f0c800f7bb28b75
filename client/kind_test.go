package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// Widget is a custom resource, as its users write it.
type Widget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              struct {
		Size int64 `json:"size"`
	} `json:"spec"`
}

// WidgetList is its list.
type WidgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Widget `json:"items"`
}

// DeepCopyObject makes it an object.
func (w *Widget) DeepCopyObject() runtime.Object {
	copied := *w
	w.DeepCopyInto(&copied.ObjectMeta)
	return &copied
}

// DeepCopyObject makes it a list.
func (w *WidgetList) DeepCopyObject() runtime.Object {
	copied := *w
	copied.Items = slices.Clone(w.Items)
	return &copied
}

var (
	_      runtime.Object = &Widget{}
	widget                = client.Kind{Group: "example.com", Version: "v1", Resource: "widgets", Kind: "Widget", Namespaced: true}
)

// heard answers each request with body and shows the last one.
func heard(t *testing.T, media, body string, last **http.Request) *client.Client {
	t.Helper()
	return connect(t, "http://host", client.Options{Retries: -1, HTTPClient: &http.Client{Transport: wire(func(request *http.Request) (*http.Response, error) {
		*last = request
		return answerOf(200, media, strings.NewReader(body)), nil
	})}})
}

const (
	oneWidget   = `{"kind":"Widget","apiVersion":"example.com/v1","metadata":{"name":"w","namespace":"a"},"spec":{"size":7}}`
	manyWidgets = `{"kind":"WidgetList","apiVersion":"example.com/v1","metadata":{"resourceVersion":"9"},"items":[` + oneWidget + `]}`
)

func TestOwnTypes(t *testing.T) {
	var last *http.Request
	widgets := client.Of[Widget, WidgetList](heard(t, mediaJSON, manyWidgets, &last), widget)
	list, _, err := widgets.List(t.Context(), client.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.Items[0].Spec.Size != 7 || list.ResourceVersion != "9" {
		t.Fatal(list, err)
	}
	if got := last.URL.Path + " " + last.Header.Get("Accept"); got != "/apis/example.com/v1/widgets application/json" {
		t.Error(got)
	}
	one, _, err := client.Of[Widget, WidgetList](heard(t, mediaJSON, oneWidget, &last), widget).In("a").Get(t.Context(), "w")
	if err != nil || one.Spec.Size != 7 || one.Kind != "Widget" || last.URL.Path != "/apis/example.com/v1/namespaces/a/widgets/w" {
		t.Fatal(one, err, last.URL)
	}
	if _, _, err := client.Of[Widget, WidgetList](heard(t, mediaProtobuf, "k8s\x00", &last), widget).List(t.Context(), client.ListOptions{}); err == nil {
		t.Error("protobuf was not asked for, and taken")
	}
}

func TestUnstructured(t *testing.T) {
	var last *http.Request
	list, _, err := heard(t, mediaJSON, manyWidgets, &last).Unstructured(widget).In("a").List(t.Context(), client.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.GetResourceVersion() != "9" {
		t.Fatal(list, err)
	}
	if spec := list.Items[0].Object["spec"].(map[string]any); spec["size"] != int64(7) {
		t.Errorf("got %#v", spec)
	}
	count := 0
	for item, err := range heard(t, mediaJSON, manyWidgets, &last).Unstructured(widget).All(t.Context(), client.ListOptions{}) {
		if count++; err != nil || item.GetName() != "w" {
			t.Error(item, err)
		}
	}
	if count != 1 {
		t.Errorf("All yields %d", count)
	}
}

func TestMetadata(t *testing.T) {
	list := &metav1.PartialObjectMetadataList{
		TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadataList", APIVersion: "meta.k8s.io/v1"},
		Items:    []metav1.PartialObjectMetadata{{ObjectMeta: metav1.ObjectMeta{Name: "w"}}},
	}
	for _, media := range []string{mediaJSON, mediaProtobuf} {
		var last *http.Request
		got, _, err := heard(t, media, string(encode(t, media, list)), &last).Metadata(widget).List(t.Context(), client.ListOptions{})
		if err != nil || len(got.Items) != 1 || got.Items[0].Name != "w" {
			t.Fatal(got, err)
		}
		const want = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
		if accept := last.Header.Get("Accept"); accept != want {
			t.Error(accept)
		}
	}
}

func TestKindsAreChecked(t *testing.T) {
	var last *http.Request
	krm := heard(t, mediaJSON, manyWidgets, &last)
	f := func(kind client.Kind, namespace, want string) {
		t.Helper()
		_, _, err := krm.Unstructured(kind).In(namespace).List(t.Context(), client.ListOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || last != nil {
			t.Errorf("%+v: got %v, want %q", kind, err, want)
		}
	}
	f(client.Kind{}, "", "want a Version, a Resource and a Kind")
	f(client.Kind{Version: "v1", Resource: "nodes"}, "", "a Kind")
	f(client.Kind{Version: "v1", Resource: "nodes", Kind: "Node"}, "a", "is in no namespace")
	f(widget, "..", `".."`)
	if _, _, err := (client.Resource[corev1.Pod, corev1.PodList]{}).List(t.Context(), client.ListOptions{}); err == nil {
		t.Error("a zero Resource works")
	}
	if _, _, err := krm.Pods("a").Get(t.Context(), "x", client.GetOptions{}, client.GetOptions{}); err == nil {
		t.Error("two GetOptions work")
	}
	if _, _, err := krm.Pods("a").List(t.Context(), client.ListOptions{MinFreshness: -1}); err == nil {
		t.Error("a negative MinFreshness works")
	}
	if _, _, err := krm.Pods("a").List(t.Context(), client.ListOptions{Limit: 1, OrderBy: "metadata.name"}); err == nil {
		t.Error("OrderBy with a Limit works")
	}
	if _, _, err := krm.Pods("a").List(t.Context(), client.ListOptions{Limit: -1}); err == nil {
		t.Error("a negative Limit works")
	}
}

func TestOptionsAreSent(t *testing.T) {
	var last *http.Request
	pod := `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web"}}`
	list := client.ListOptions{Where: "spec.nodeName=n", MinFreshness: 5 * time.Second, OrderBy: "-metadata.name", Fields: "metadata.name"}.AtLeast("7")
	if _, _, err := heard(t, mediaJSON, onePod, &last).Pods("").List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	const wantList = "fields=metadata.name&krm.io%2FfieldSelector=spec.nodeName%3Dn&maxStaleness=5s&orderBy=-metadata.name&resourceVersion=7&resourceVersionMatch=NotOlderThan"
	if diff := cmp.Diff(wantList, last.URL.RawQuery); diff != "" {
		t.Error(diff)
	}
	if _, _, err := heard(t, mediaJSON, pod, &last).Pods("a").Get(t.Context(), "web", client.GetOptions{AtLeast: "7", MinFreshness: time.Minute, Fields: "spec"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("fields=spec&maxStaleness=1m0s&resourceVersion=7", last.URL.RawQuery); diff != "" {
		t.Error(diff)
	}
}

func TestProtobufErrors(t *testing.T) {
	krm := connect(t, "http://host", client.Options{HTTPClient: &http.Client{Transport: wire(func(request *http.Request) (*http.Response, error) {
		return answerOf(410, bestOf(request), strings.NewReader(string(encode(t, bestOf(request), expired())))), nil
	})}})
	_, _, err := krm.Pods("").List(t.Context(), client.ListOptions{})
	if !apierrors.IsResourceExpired(err) || err.Error() != "too old" {
		t.Errorf("got %v", err)
	}
}

func TestPages(t *testing.T) {
	page := func(names, next string) string {
		var items []string
		for _, name := range strings.Fields(names) {
			items = append(items, fmt.Sprintf(`{"metadata":{"name":%q}}`, name))
		}
		return fmt.Sprintf(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5","continue":%q},"items":[%s]}`, next, strings.Join(items, ","))
	}
	f := func(opts client.ListOptions, stop int, want, wantQueries string, wantErr func(error) bool, answers ...string) {
		t.Helper()
		var queries []string
		krm := connect(t, "http://host", client.Options{Retries: -1, HTTPClient: &http.Client{Transport: wire(func(request *http.Request) (*http.Response, error) {
			queries = append(queries, request.URL.RawQuery)
			if len(queries) > len(answers) {
				return nil, io.ErrUnexpectedEOF
			}
			if body := answers[len(queries)-1]; body != "410" {
				return answerOf(200, mediaJSON, strings.NewReader(body)), nil
			}
			return answerOf(410, mediaJSON, strings.NewReader(string(encode(t, mediaJSON, expired())))), nil
		})}})
		var got []string
		var failed error
		for pod, err := range krm.Pods("").All(t.Context(), opts) {
			if failed != nil {
				t.Error("the sequence goes on after an error")
			}
			if failed = err; err == nil {
				got = append(got, pod.Name)
			}
			if len(got) == stop {
				break
			}
		}
		if diff := cmp.Diff([]string{want, wantQueries}, []string{strings.Join(got, " "), strings.Join(queries, " ")}); diff != "" || !wantErr(failed) {
			t.Error(diff, failed)
		}
	}
	none := func(err error) bool { return err == nil }
	all := client.ListOptions{}
	f(all, -1, "", "limit=500", none, page("", ""))
	f(all, -1, "a b c", "limit=500 continue=x&limit=500", none, page("a b", "x"), page("c", ""))
	f(all, 2, "a b", "limit=500", none, page("a b", "x"))
	f(client.ListOptions{Limit: 2, MinFreshness: time.Second}.AtLeast("3"), -1, "a b c",
		"limit=2&maxStaleness=1s&resourceVersion=3&resourceVersionMatch=NotOlderThan continue=x&limit=2", none, page("a b", "x"), page("c", ""))
	f(all, -1, "a b", "limit=500 continue=x&limit=500", apierrors.IsResourceExpired, page("a b", "x"), "410", page("c", ""))
	f(all, -1, "a b", "limit=500 continue=x&limit=500", func(err error) bool { return err != nil && strings.Contains(err.Error(), "itself") }, page("a b", "x"), page("c", "x"))
	f(all, -1, "a", "limit=500 continue=x&limit=500", func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }, page("a", "x"))
}

func TestCount(t *testing.T) {
	var last *http.Request
	counts, _, err := heard(t, mediaJSON, `{"resource":"widgets.example.com","by":"node","total":3,"counts":[{"value":"n1","count":2},{"value":"","count":1}]}`, &last).
		Unstructured(widget).In("a").Count(t.Context(), client.CountOptions{By: "node", LabelSelector: "app=web"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&client.Counts{Total: 3, Counts: []client.Group{{Value: "n1", Count: 2}, {Count: 1}}}, counts); diff != "" {
		t.Error(diff)
	}
	if got := last.URL.String(); got != "http://host/krm/v1/count?by=node&labelSelector=app%3Dweb&namespace=a&resource=widgets.example.com" {
		t.Error(got)
	}
	for _, body := range []string{"", "{}", "[]", `{"counts":[]}`} {
		if counts, _, err := heard(t, mediaJSON, body, &last).Pods("").Count(t.Context(), client.CountOptions{}); err == nil {
			t.Errorf("%q: got %+v", body, counts)
		}
	}
}
