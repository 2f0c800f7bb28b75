//go:build integration

package discovery_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/openapi3"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"

	krm "github.com/kubernetes-resource-monitor/krm/apiserver/discovery"
	"github.com/kubernetes-resource-monitor/krm/internal/kube"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
	"github.com/kubernetes-resource-monitor/krm/streamer"
)

// house is the way of the documents from a real API server to an HTTP server.
type house struct {
	t        *testing.T
	upstream *rest.Config // the API server itself
	ours     *rest.Config // our handler
	store    *store.Store
	away     atomic.Bool // the streamer reaches the API server no more
	resolve  *kube.Client
	served   atomic.Pointer[[]object.Resource]
	handler  *krm.Discovery
}

func open(t *testing.T, options krm.Options, names ...string) *house {
	t.Helper()
	path := os.Getenv("KRM_TEST_KUBECONFIG")
	if path == "" {
		t.Fatal("KRM_TEST_KUBECONFIG must name the kubeconfig of a cluster that may be written to; hack/with-cluster.sh starts one")
	}
	h := &house{t: t}
	var err error
	if h.upstream, err = kube.Config(path, ""); err != nil {
		t.Fatal(err)
	}
	h.upstream.QPS = -1
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	ctx, cancel := context.WithCancel(t.Context())
	var running []chan error
	run := func(f func(context.Context) error) {
		ended := make(chan error, 1)
		go func() { ended <- f(ctx) }()
		running = append(running, ended)
	}
	t.Cleanup(func() {
		cancel()
		for _, ended := range running {
			<-ended
		}
	})
	embedded, err := store.StartEmbedded(log)
	if err != nil {
		t.Fatal(err)
	}
	run(embedded.Run)
	if h.store, err = store.Connect(ctx, embedded.Options(), log); err != nil {
		t.Fatal(err)
	}
	source, err := kube.Connect(h.proxy(), kube.Options{}, log)
	if err != nil {
		t.Fatal(err)
	}
	if h.resolve, err = kube.Connect(h.upstream, kube.Options{}, log); err != nil {
		t.Fatal(err)
	}
	h.serve(names...)
	run(streamer.NewDocuments(source, h.store, streamer.DocumentsOptions{Discovery: 300 * time.Millisecond, OpenAPI: time.Second}, log).Run)
	h.handler = krm.New(h.store, func() []object.Resource { return *h.served.Load() }, options, log)
	run(h.handler.Run)
	h.ours = &rest.Config{Host: listen(t, h.handler), QPS: -1}
	h.await("documents", func() bool { _, there := h.handler.Document("/openapi/v3"); return there })
	return h
}

func listen(t *testing.T, d *krm.Discovery) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !d.Serve(w, r) {
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// proxy stands between the streamer and the API server, and can be closed.
func (h *house) proxy() *rest.Config {
	target, err := url.Parse(h.upstream.Host)
	if err != nil {
		h.t.Fatal(err)
	}
	transport, err := rest.TransportFor(h.upstream)
	if err != nil {
		h.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Transport: transport, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.away.Load() {
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	h.t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL}
}

func (h *house) serve(names ...string) {
	h.t.Helper()
	var served []object.Resource
	for _, name := range names {
		r, err := h.resolve.Resolve(h.t.Context(), name)
		if err != nil {
			h.t.Fatal(err)
		}
		served = append(served, r)
	}
	h.served.Store(&served)
}

func (h *house) await(what string, done func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// raw reads path from the server of config.
func (h *house) raw(config *rest.Config, path, accept string) (body []byte, header http.Header, code int) {
	h.t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		h.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, config.Host+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "krm-test")
	resp, err := client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		h.t.Fatal(err)
	}
	return body, resp.Header, resp.StatusCode
}

func (h *house) client(config *rest.Config) *discovery.DiscoveryClient {
	h.t.Helper()
	c, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// builtin are served by every cluster; two versions of autoscaling are there.
var builtin = []string{
	"pods", "nodes", "namespaces", "services", "events", "persistentvolumeclaims", "deployments.apps", "replicasets.apps", "jobs.batch",
	"ingresses.networking.k8s.io", "horizontalpodautoscalers.v1.autoscaling", "customresourcedefinitions.apiextensions.k8s.io", "leases.coordination.k8s.io",
}

func TestDiscoveryEqualsTheAPIServers(t *testing.T) {
	h := open(t, krm.Options{}, builtin...)
	serves := map[string]bool{}
	groups := map[string]bool{}
	for _, r := range *h.served.Load() {
		serves[r.GroupVersion()+" "+r.Name] = true
		groups[r.GroupVersion()] = true
	}
	for _, legacy := range []bool{false, true} {
		read := func(config *rest.Config) ([]*metav1.APIGroup, []*metav1.APIResourceList) {
			c := h.client(config)
			c.UseLegacyDiscovery = legacy
			groups, lists, err := c.ServerGroupsAndResources()
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(lists, func(a, b *metav1.APIResourceList) int { return strings.Compare(a.GroupVersion, b.GroupVersion) })
			return groups, lists
		}
		wantGroups, wantLists := read(h.upstream)
		for _, list := range wantLists {
			list.APIResources = slices.DeleteFunc(list.APIResources, func(r metav1.APIResource) bool { return !serves[list.GroupVersion+" "+r.Name] })
			for i := range list.APIResources {
				list.APIResources[i].Verbs = metav1.Verbs{"get", "list", "watch"}
			}
		}
		wantLists = slices.DeleteFunc(wantLists, func(list *metav1.APIResourceList) bool { return len(list.APIResources) == 0 })
		for _, group := range wantGroups {
			group.Versions = slices.DeleteFunc(group.Versions, func(v metav1.GroupVersionForDiscovery) bool { return !groups[v.GroupVersion] })
			if len(group.Versions) > 0 {
				group.PreferredVersion = group.Versions[0]
			}
		}
		wantGroups = slices.DeleteFunc(wantGroups, func(group *metav1.APIGroup) bool { return len(group.Versions) == 0 })
		gotGroups, gotLists := read(h.ours)
		if diff := cmp.Diff(wantGroups, gotGroups); diff != "" || len(gotGroups) < 5 {
			t.Errorf("legacy=%v: groups: -want +got:\n%s", legacy, diff)
		}
		if diff := cmp.Diff(wantLists, gotLists); diff != "" || len(gotLists) < 5 {
			t.Errorf("legacy=%v: resources: -want +got:\n%s", legacy, diff)
		}
	}
	want, err := h.client(h.upstream).ServerVersion()
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.client(h.ours).ServerVersion()
	if err != nil || *got != *want {
		t.Errorf("version %v, want %v (%v)", got, want, err)
	}
	for _, path := range []string{"/version", "/version/", "/apis/apps", "/apis/coordination.k8s.io/", "/api", "/api/"} {
		want, _, _ := h.raw(h.upstream, path, "application/json")
		got, _, _ := h.raw(h.ours, path, "application/json")
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

// Both servers negotiate alike: code, type, and for refusals the text.
func TestDiscoveryNegotiatesAsTheAPIServer(t *testing.T) {
	h := open(t, krm.Options{Scope: krm.ScopeAll}, builtin...)
	const agg, protobuf = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", "application/vnd.kubernetes.protobuf"
	for _, path := range []string{"/version", "/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/openapi/v2", "/openapi/v3/apis/apps/v1"} {
		for _, accept := range []string{
			"application/json", "*/*", "application/yaml", protobuf, protobuf + ",application/json", "text/plain", "application/cbor", "text/plain,application/json;q=0.5",
			"application/json" + agg, protobuf + agg, "application/yaml" + agg, "application/json" + agg + ",application/json", "application/json,application/json" + agg,
			"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
			"application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "application/json;pretty=1", "application/json;sv=v1", "application/json;stream=watch", "application/json;stream=other",
			"application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
		} {
			want, wantHeader, wantCode := h.raw(h.upstream, path, accept)
			got, header, code := h.raw(h.ours, path, accept)
			if path == "/version" && code == 406 && wantCode == code {
				continue // the API server writes this refusal even in forms that it then does not offer
			}
			if code != wantCode || header.Get("Content-Type") != wantHeader.Get("Content-Type") {
				t.Errorf("%s as %s: %d %s, want %d %s", path, accept, code, header.Get("Content-Type"), wantCode, wantHeader.Get("Content-Type"))
			}
			if !bytes.Equal(got, want) && !strings.Contains(header.Get("Content-Type"), "proto") {
				t.Errorf("%s as %s: %d bytes, want %d: %.300s, want %.300s", path, accept, len(got), len(want), got, want)
			}
			if wantCode == 200 && wantHeader.Get("Etag") != "" && header.Get("Etag") != wantHeader.Get("Etag") {
				t.Errorf("%s as %s: ETag %s, want %s", path, accept, header.Get("Etag"), wantHeader.Get("Etag"))
			}
		}
	}
}

func TestDiscoveryMapsNames(t *testing.T) {
	h := open(t, krm.Options{}, builtin...)
	cached := memory.NewMemCacheClient(h.client(h.ours))
	mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(cached), cached, nil)
	for _, r := range *h.served.Load() {
		mapping, err := mapper.RESTMapping(schema.GroupKind{Group: r.Group, Kind: r.Kind})
		if err != nil || mapping.Resource.Resource != r.Name || (mapping.Scope.Name() == meta.RESTScopeNameNamespace) != r.Namespaced {
			t.Errorf("%v: %+v, %v", r, mapping, err)
		}
	}
	for short, want := range map[string]string{"po": "pods", "no": "nodes", "deploy": "deployments", "pvc": "persistentvolumeclaims", "pod": "pods"} {
		got, err := mapper.ResourceFor(schema.GroupVersionResource{Resource: short})
		if err != nil || got.Resource != want {
			t.Errorf("%s: %v, %v", short, got, err)
		}
	}
	if _, err := mapper.RESTMapping(schema.GroupKind{Kind: "Secret"}); !meta.IsNoMatchError(err) {
		t.Errorf("Secret is not served, but: %v", err)
	}
}

func TestDiscoveryOpenAPI(t *testing.T) {
	h := open(t, krm.Options{}, builtin...)
	ours, theirs := openapi3.NewRoot(h.client(h.ours).OpenAPIV3()), openapi3.NewRoot(h.client(h.upstream).OpenAPIV3())
	versions, err := ours.GroupVersions()
	if err != nil {
		t.Fatal(err)
	}
	operations, schemas := 0, 0
	for _, r := range *h.served.Load() {
		gv := schema.GroupVersion{Group: r.Group, Version: r.Version}
		if !slices.Contains(versions, gv) {
			t.Fatalf("%v is not in the index: %v", gv, versions)
		}
		got, err := ours.GVSpec(gv)
		if err != nil {
			t.Fatal(err)
		}
		want, err := theirs.GVSpec(gv)
		if err != nil {
			t.Fatal(err)
		}
		if got.Paths.Paths[r.Path("")] == nil {
			t.Errorf("%v has no path in OpenAPI", r)
		}
		for path, item := range got.Paths.Paths {
			operations++
			if diff := cmp.Diff(marshal(t, want.Paths.Paths[path].Get), marshal(t, item.Get)); diff != "" {
				t.Errorf("%s: %s", path, diff)
			}
			if item.Post != nil || item.Put != nil || item.Delete != nil || item.Patch != nil {
				t.Errorf("%s can be written", path)
			}
		}
		for name, s := range got.Components.Schemas {
			schemas++
			if text, wanted := marshal(t, s), marshal(t, want.Components.Schemas[name]); text != wanted {
				t.Errorf("schema %s: %s, want %s", name, text, wanted)
			}
		}
	}
	if operations < 40 || schemas < 200 {
		t.Errorf("compared %d operations and %d schemas only", operations, schemas)
	}
	index, _, _ := h.raw(h.ours, "/openapi/v3", "")
	var list struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(index, &list); err != nil {
		t.Fatal(err)
	}
	cut, all := 0, 0
	for name, at := range list.Paths {
		body, header, code := h.raw(h.ours, at.ServerRelativeURL, "application/json")
		if code != 200 || header.Get("Cache-Control") != "public, immutable" || !strings.Contains(at.ServerRelativeURL, strings.Trim(header.Get("Etag"), `"`)) {
			t.Errorf("%s: %d %v", at.ServerRelativeURL, code, header)
		}
		krm.CheckReferences(t, name, body)
		whole, _ := h.handler.Document("/openapi/v3/" + name)
		cut, all = cut+len(body), all+len(whole)
	}
	t.Logf("OpenAPI v3: %d documents, %d KB of %d KB", len(list.Paths), cut>>10, all>>10)

	got, err := h.client(h.ours).OpenAPISchema()
	if err != nil {
		t.Fatal(err)
	}
	want, err := h.client(h.upstream).OpenAPISchema()
	if err != nil {
		t.Fatal(err)
	}
	definitions := map[string]proto.Message{}
	for _, d := range want.Definitions.AdditionalProperties {
		definitions[d.Name] = d.Value
	}
	for _, d := range got.Definitions.AdditionalProperties {
		if !proto.Equal(d.Value, definitions[d.Name]) {
			t.Errorf("v2: definition %s differs", d.Name)
		}
	}
	t.Logf("OpenAPI v2: %d of %d definitions, %d of %d paths", len(got.Definitions.AdditionalProperties), len(definitions), len(got.Paths.Path), len(want.Paths.Path))
	if n := len(got.Definitions.AdditionalProperties); n < 100 || n > len(definitions)-100 {
		t.Errorf("%d definitions of %d", n, len(definitions))
	}
	body, _, _ := h.raw(h.ours, "/openapi/v2", "application/json")
	krm.CheckReferences(t, "v2", body)
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A custom resource is there as soon as it is served, in full a moment later, and
// all of it without the API server, for processes that start then, too.
func TestDiscoveryOfCustomResourcesAndWithoutTheAPIServer(t *testing.T) {
	h := open(t, krm.Options{}, "pods")
	group := fmt.Sprintf("d%d.example.com", time.Now().UnixNano())
	crds := "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	h.write(http.MethodPost, crds, `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"gadgets.`+group+`"},"spec":{"group":"`+group+`","scope":"Namespaced",
		"names":{"plural":"gadgets","singular":"gadget","kind":"Gadget","shortNames":["gd"],"categories":["all"]},
		"versions":[{"name":"v1","served":true,"storage":true,"selectableFields":[{"jsonPath":".spec.color"}],"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"color":{"type":"string"}}}}}}},
		{"name":"v1beta1","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object"}}}]}}`)
	t.Cleanup(func() { h.write(http.MethodDelete, crds+"/gadgets."+group, "") })
	gadgets := object.Resource{Group: group, Version: "v1", Name: "gadgets", Kind: "Gadget", Singular: "gadget", Short: "gd", Namespaced: true}
	served := append(slices.Clone(*h.served.Load()), gadgets)
	h.served.Store(&served)
	find := func(d *discovery.DiscoveryClient) *metav1.APIResource {
		list, err := d.ServerResourcesForGroupVersion(group + "/v1")
		if err != nil || len(list.APIResources) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		return &list.APIResources[0]
	}
	if r := find(h.client(h.ours)); r.Name != "gadgets" || r.Kind != "Gadget" || !r.Namespaced || !slices.Equal(r.ShortNames, []string{"gd"}) {
		t.Errorf("%+v", r)
	}
	h.await("the CRD's documents", func() bool {
		return len(find(h.client(h.ours)).Categories) == 1 && len(h.handler.SelectableFields(group, "v1", "Gadget")) == 1
	})
	if fields := h.handler.SelectableFields(group, "v1", "Gadget"); !slices.Equal(fields, []string{"spec.color"}) {
		t.Errorf("selectable fields %v", fields)
	}

	h.away.Store(true)
	time.Sleep(time.Second)
	again := krm.New(h.store, func() []object.Resource { return served }, krm.Options{}, slog.New(slog.DiscardHandler))
	go again.Run(t.Context())
	h.await("a new process", again.Ready)
	config := &rest.Config{Host: listen(t, again), QPS: -1}
	for _, path := range []string{"/version", "/api", "/apis", "/api/v1", "/apis/" + group, "/apis/" + group + "/v1", "/openapi/v2", "/openapi/v3", "/openapi/v3/apis/" + group + "/v1"} {
		want, wantHeader, wantCode := h.raw(h.ours, path, "")
		got, header, code := h.raw(config, path, "")
		if code != 200 || wantCode != 200 || !bytes.Equal(got, want) || header.Get("Etag") != wantHeader.Get("Etag") {
			t.Errorf("%s: %d, %d bytes, %s; want %d, %d bytes, %s", path, code, len(got), header.Get("Etag"), wantCode, len(want), wantHeader.Get("Etag"))
		}
	}
	if r := find(h.client(config)); len(r.Categories) != 1 {
		t.Errorf("without the API server: %+v", r)
	}
}

// What costs nothing when nothing changes: the same documents are not written again.
func TestDocumentsOfAnUnchangedCluster(t *testing.T) {
	h := open(t, krm.Options{}, "pods")
	known, err := h.store.DocumentRevisions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{object.DiscoveryPart, object.OpenAPIPart} {
		read, err := h.resolve.ReadDocuments(t.Context(), part, known)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range read.Changed {
			t.Errorf("%s was read again: %d bytes, revision %s, known %s", d.Path, len(d.Body), d.Revision, known.ByPath[d.Path].Revision)
		}
		for path := range maps.Keys(read.Revisions) {
			if known.ByPath[path].Revision != read.Revisions[path] {
				t.Errorf("%s: revision %s, known %s", path, read.Revisions[path], known.ByPath[path].Revision)
			}
		}
	}
}

func (h *house) write(method, path, body string) {
	h.t.Helper()
	client, err := rest.HTTPClientFor(h.upstream)
	if err != nil {
		h.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(h.t.Context()), method, h.upstream.Host+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		h.t.Fatalf("%s %s: %s: %s", method, path, resp.Status, text)
	}
}
