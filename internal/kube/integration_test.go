//go:build integration

package kube

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// live returns a client of the real API server and the configuration it came from.
func live(t *testing.T, opts Options, change ...func(*rest.Config)) *Client {
	t.Helper()
	path := os.Getenv("KRM_TEST_KUBECONFIG")
	if path == "" {
		t.Fatal("KRM_TEST_KUBECONFIG must name the kubeconfig of a cluster that may be written to; hack/with-cluster.sh starts one")
	}
	config, err := Config(path, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range change {
		do(config)
	}
	c, err := Connect(config, opts, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// write sends one request that changes something and returns the object that it
// answers with.
func write(t *testing.T, c *Client, method, path, body string) (answer struct {
	Metadata struct{ ResourceVersion, UID string }
},
) {
	t.Helper()
	text, err := send(c, method, path, body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func send(c *Client, method, path, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(path).String(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return text, err
}

// unique is a name that no other test uses.
func unique(prefix string) string { return prefix + "-" + strings.ToLower(rand.Text()[:8]) }

// namespace makes a namespace for the test.
func namespace(t *testing.T, c *Client) string {
	t.Helper()
	name := unique("krm-kube")
	write(t, c, "POST", "/api/v1/namespaces", fmt.Sprintf(`{"metadata":{"name":%q}}`, name))
	t.Cleanup(func() { _, _ = send(c, "DELETE", "/api/v1/namespaces/"+name, "") })
	for range 100 { // its service account is there a moment later
		if _, err := send(c, "GET", "/api/v1/namespaces/"+name+"/serviceaccounts/default", ""); err == nil {
			return name
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the namespace has no service account")
	return ""
}

// widgets makes a CRD of a group of its own and waits until it can be resolved.
func widgets(t *testing.T, c *Client) object.Resource {
	t.Helper()
	group := unique("krm") + ".example.com"
	crd := fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"widgets.%[1]s"},"spec":{"group":%[1]q,"scope":"Namespaced",
		"names":{"plural":"widgets","singular":"widget","kind":"Widget","listKind":"WidgetList"},
		"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}},
		"additionalPrinterColumns":[{"name":"Size","type":"integer","jsonPath":".spec.size"},{"name":"Note","type":"string","priority":1,"jsonPath":".spec.note"}]}]}}`, group)
	if _, err := c.Resolve(t.Context(), "widgets."+group); !errors.Is(err, object.ErrNotFound) {
		t.Fatalf("resolved before the CRD is there: %v", err)
	}
	write(t, c, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
	t.Cleanup(func() {
		_, _ = send(c, "DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets."+group, "")
	})
	for range 100 {
		r, err := c.Resolve(t.Context(), "widget."+group)
		if err == nil {
			if _, err := c.Count(t.Context(), r); err == nil {
				return r
			}
		} else if !errors.Is(err, object.ErrNotFound) {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatal("the CRD is not served within 20 s")
	return object.Resource{}
}

func resolve(t *testing.T, c *Client, name string) object.Resource {
	t.Helper()
	r, err := c.Resolve(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRealResolve(t *testing.T) {
	c := live(t, Options{})
	f := func(name, want string) {
		t.Helper()
		got, err := c.Resolve(t.Context(), name)
		text := fmt.Sprintf("%s %s %s %s %v", got, got.GroupVersion(), got.Kind, got.Singular, got.Namespaced)
		if err != nil {
			text = err.Error()
		}
		if !strings.HasPrefix(text, want) {
			t.Errorf("%s: got %s, want %s", name, text, want)
		}
	}
	f("po", "pods v1 Pod pod true")
	f("deploy", "deployments.apps apps/v1 Deployment deployment true")
	f("deployments.v1.apps", "deployments.apps apps/v1 Deployment deployment true")
	f("ing", "ingresses.networking.k8s.io networking.k8s.io/v1 Ingress ingress true")
	f("svc", "services v1 Service service true")
	f("pvc", "persistentvolumeclaims v1 PersistentVolumeClaim persistentvolumeclaim true")
	f("no", "nodes v1 Node node false")
	f("ns", "namespaces v1 Namespace namespace false")
	f("events", "events v1 Event event true")
	f("ev.events.k8s.io", "events.events.k8s.io events.k8s.io/v1 Event event true")
	f("tokenreviews", `resource "tokenreviews": tokenreviews.authentication.k8s.io cannot be listed and watched: not supported`)
	f("podz", `resource "podz": no such resource on this API server; did you mean pods?`)
	f("foo.bar.io", `resource "foo.bar.io": no such resource on this API server`)
}

// A broken aggregated API hides only itself.
func TestRealResolveBesideABrokenAPI(t *testing.T) {
	c := live(t, Options{})
	group := unique("krm") + ".example.com"
	const path = "/apis/apiregistration.k8s.io/v1/apiservices"
	write(t, c, "POST", path, fmt.Sprintf(`{"metadata":{"name":"v1.%s"},"spec":{"group":%q,"version":"v1","groupPriorityMinimum":100,"versionPriority":1,"insecureSkipTLSVerify":true,"service":{"namespace":"default","name":"none"}}}`, group, group))
	defer func() { _, _ = send(c, "DELETE", path+"/v1."+group, "") }()
	for range 100 {
		_, err := c.Resolve(t.Context(), "things."+group)
		if err == nil {
			t.Fatal("resolved a resource of an API without a server")
		}
		if !errors.Is(err, object.ErrNotFound) { // the server knows by now that the group is broken
			t.Log(err)
			resolve(t, live(t, Options{}), "deploy")
			_, err := c.Resolve(t.Context(), "podz")
			if !errors.Is(err, object.ErrNotFound) || !strings.Contains(err.Error(), "did you mean pods?") {
				t.Errorf("podz: %v", err)
			}
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatal("the server did not name the broken group within 20 s")
}

// sample is one object of each resource that nobody but the test changes, or that
// settles soon.
func samples(ns string) []struct{ resource, name, body string } {
	return []struct{ resource, name, body string }{
		{"pods", "x", `{"metadata":{"name":"x"},"spec":{"schedulerName":"nobody","containers":[{"name":"c","image":"images.invalid/<c>&co:1","env":[{"name":"A","value":"ä\u2028\"\\\u0001"}]}]}}`},
		{"deployments", "x", `{"metadata":{"name":"x"},"spec":{"replicas":0,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"images.invalid/c:1"}]}}}}`},
		{"services", "x", `{"metadata":{"name":"x"},"spec":{"selector":{"a":"b"},"ports":[{"port":80}]}}`},
		{"ingresses", "x", `{"metadata":{"name":"x"},"spec":{"rules":[{"host":"x.example.com","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"x","port":{"number":80}}}}]}}]}}`},
		{"persistentvolumeclaims", "x", `{"metadata":{"name":"x"},"spec":{"storageClassName":"none","accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}`},
		{"nodes", ns, fmt.Sprintf(`{"metadata":{"name":%q},"spec":{"unschedulable":true}}`, ns)},
		{"namespaces", ns + "-2", fmt.Sprintf(`{"metadata":{"name":%q}}`, ns+"-2")},
		{"widgets", "x", `{"metadata":{"name":"x"},"spec":{"z":[1.50,1e3,"<&>"],"size":3,"note":"n"}}`},
	}
}

// One object has the same text at the same version wherever it comes from: a
// watch, initial events, lists, exact lists. Full verification rests on this.
func TestRealBodiesAreTheSameEverywhere(t *testing.T) {
	for _, keep := range []bool{false, true} {
		c := live(t, Options{PageSize: 3, KeepManagedFields: keep})
		ns := namespace(t, c)
		custom := widgets(t, c)
		for _, s := range samples(ns) {
			name := s.resource
			if name == "widgets" {
				name = custom.String()
			}
			r := resolve(t, c, name)
			t.Run(fmt.Sprintf("%s/keep=%v", s.resource, keep), func(t *testing.T) {
				testSameEverywhere(t, c, r, ns, s.name, s.body, keep)
			})
		}
	}
}

func testSameEverywhere(t *testing.T, c *Client, r object.Resource, ns, name, body string, keep bool) {
	before := probe(t, c, r)
	key := object.Key{Name: name}
	if r.Namespaced {
		key.Namespace = ns
	}
	made := write(t, c, "POST", r.Path(key.Namespace), strings.Replace(body, `{"metadata"`, fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata"`, r.GroupVersion(), r.Kind), 1))
	item := r.Path(key.Namespace) + "/" + name
	t.Cleanup(func() { _, _ = send(c, "DELETE", item, "") })
	write(t, c, "PATCH", item, `{"metadata":{"annotations":{"test":"<b> & \u00e9"},"labels":{"l":"1"}}}`)

	for try := range 20 {
		got := everywhere(t, c, r, key, before)
		if got["watch"].Version != got["list"].Version || got["initial"].Version != got["list"].Version {
			t.Logf("try %d: it changed meanwhile", try)
			continue
		}
		want := got["watch"]
		if want.UID != made.Metadata.UID || bytes.Contains(want.Body, []byte("managedFields")) != keep || !json.Valid(want.Body) {
			t.Errorf("the watch brought %+v %s", want.Head, want.Body)
		}
		for source, record := range got {
			if !bytes.Equal(record.Body, want.Body) || record.UID != want.UID || record.Version != want.Version {
				t.Errorf("%s has another body than the watch:\n%s\n%s", source, record.Body, want.Body)
			}
			if len(record.Cells) == 0 {
				t.Errorf("%s has no cells", source)
			}
		}
		if len(got) != 6 {
			t.Errorf("%d sources", len(got))
		}
		plain, err := send(c, "GET", item, "")
		if err != nil {
			t.Fatal(err)
		}
		if keep && !bytes.Equal(bytes.TrimSpace(plain), want.Body) {
			t.Errorf("a plain GET has another body:\n%s\n%s", plain, want.Body)
		}
		return
	}
	t.Error("it never stands still")
}

// everywhere reads one object in all ways, at the version that the list had.
func everywhere(t *testing.T, c *Client, r object.Resource, key object.Key, before object.Version) map[string]object.Record {
	t.Helper()
	got := map[string]object.Record{}
	keep := func(source string, e object.Event, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if e.Record.Key == key {
			got[source] = e.Record
		}
	}
	for e, err := range c.Watch(t.Context(), r, before, time.Second) {
		keep("watch", e, err)
	}
	for e, err := range c.Initial(t.Context(), r) {
		keep("initial", e, err)
		if e.Type == object.InitialEnd {
			break
		}
	}
	var at object.Version
	for e, err := range c.List(t.Context(), r) {
		keep("list", e, err)
		at = e.Version
	}
	record, err := c.At(t.Context(), r, key, at)
	keep("at", object.Event{Record: record}, err)
	for record, err := range c.AllAt(t.Context(), r, at) {
		keep("all at", object.Event{Record: record}, err)
	}
	_, items, err := c.Bodies(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		if item.Key == key && item.Version == got["list"].Version && item.Hash == object.Hash(got["list"].Body) {
			got["bodies"] = got["list"]
		}
	}
	return got
}

func probe(t *testing.T, c *Client, r object.Resource) object.Version {
	t.Helper()
	version, err := c.Probe(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func TestRealColumnsOfACustomResource(t *testing.T) {
	c := live(t, Options{})
	ns, r := namespace(t, c), widgets(t, c)
	write(t, c, "POST", r.Path(ns), fmt.Sprintf(`{"apiVersion":%q,"kind":"Widget","metadata":{"name":"x"},"spec":{"size":3,"note":"n"}}`, r.GroupVersion()))
	for source, events := range map[string]func() ([]object.Column, string){
		"list":    func() ([]object.Column, string) { return columnsAndCells(t, c.List(t.Context(), r)) },
		"initial": func() ([]object.Column, string) { return columnsAndCells(t, c.Initial(t.Context(), r)) },
	} {
		columns, cells := events()
		if len(columns) != 3 || columns[1].Name != "Size" || columns[2].Priority != 1 || !strings.HasPrefix(cells, `["x",3,"n"`) {
			t.Errorf("%s: columns %v, cells %s", source, columns, cells)
		}
	}
}

func columnsAndCells(t *testing.T, events func(func(object.Event, error) bool)) (columns []object.Column, cells string) {
	t.Helper()
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		switch e.Type {
		case object.Columns:
			columns = e.Columns
		case object.Added:
			cells = string(e.Record.Cells)
		case object.InitialEnd:
			return columns, cells
		}
	}
	return columns, cells
}

// The life of an object: what the watch says of its end, and what Exact says of
// its past.
func TestRealDeletion(t *testing.T) {
	c := live(t, Options{})
	ns, r := namespace(t, c), resolve(t, c, "services")
	key := object.Key{Namespace: ns, Name: "x"}
	write(t, c, "POST", r.Path(ns), `{"metadata":{"name":"x"},"spec":{"ports":[{"port":80}]}}`)
	alive := probe(t, c, r)
	write(t, c, "DELETE", r.Path(ns)+"/x", "")
	gone := probe(t, c, r)

	var deleted object.Record
	for e, err := range c.Watch(t.Context(), r, alive, time.Second) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == object.Deleted && e.Record.Key == key {
			deleted = e.Record
		}
	}
	if !deleted.Deleted || !deleted.Version.Newer(alive) || deleted.Version.Newer(gone) {
		t.Errorf("tombstone %+v, alive at %s, gone at %s", deleted.Head, alive, gone)
	}
	record, err := c.At(t.Context(), r, key, alive)
	if err != nil || record.UID != deleted.UID || record.Deleted {
		t.Errorf("at %s: %+v, %v", alive, record.Head, err)
	}
	if last := strings.ReplaceAll(string(deleted.Body), string(deleted.Version), string(record.Version)); last != string(record.Body) {
		t.Errorf("the tombstone's body is not the last state:\n%s\n%s", deleted.Body, record.Body)
	}
	if _, err := c.At(t.Context(), r, key, gone); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("at %s: %v", gone, err)
	}
}

func TestRealExpiry(t *testing.T) {
	etcd := os.Getenv("KRM_TEST_ETCD")
	if etcd == "" {
		t.Fatal("KRM_TEST_ETCD must name etcd's address, to drop its history; hack/with-cluster.sh and hack/test-integration.sh set it")
	}
	c := live(t, Options{})
	services := resolve(t, c, "services")
	early := probe(t, c, services)
	ns, r := namespace(t, c), widgets(t, c)
	made := write(t, c, "POST", r.Path(ns), fmt.Sprintf(`{"apiVersion":%q,"kind":"Widget","metadata":{"name":"x"}}`, r.GroupVersion()))
	key := object.Key{Namespace: ns, Name: "x"}

	// The watch cache of the new resource begins later: it tells so within the stream.
	if _, err := told(c.Watch(t.Context(), r, early, time.Second)); !errors.Is(err, object.ErrExpired) {
		t.Errorf("watch from before the cache: %v", err)
	}
	if _, err := c.At(t.Context(), r, key, early); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("before there was any: %v", err)
	}
	compact(t, etcd, made.Metadata.ResourceVersion)
	if _, err := c.At(t.Context(), r, key, early); !errors.Is(err, object.ErrExpired) {
		t.Errorf("exactly, after compaction: %v", err)
	}
	for _, err := range c.AllAt(t.Context(), r, early) {
		if !errors.Is(err, object.ErrExpired) {
			t.Errorf("all exactly, after compaction: %v", err)
		}
	}
	var retry *object.RetryError
	if _, err := c.At(t.Context(), r, key, "99999999999"); !errors.As(err, &retry) || retry.After < time.Second {
		t.Errorf("exactly, of the future: %v", err)
	}
}

// compact drops etcd's history below revision: one gRPC call, KV.Compact.
func compact(t *testing.T, etcd, revision string) {
	t.Helper()
	n, err := strconv.ParseUint(revision, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	message := append(binary.AppendUvarint([]byte{1 << 3}, n), 2<<3, 1) // revision, physical
	frame := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	req, err := http.NewRequestWithContext(t.Context(), "POST", etcd+"/etcdserverpb.KV/Compact", bytes.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("TE", "trailers")
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if status := resp.Trailer.Get("Grpc-Status") + resp.Header.Get("Grpc-Status"); status != "0" {
		t.Fatalf("compaction: %s, gRPC status %q %s", resp.Status, status, resp.Trailer.Get("Grpc-Message")+resp.Header.Get("Grpc-Message"))
	}
}

func TestRealProbeAndCount(t *testing.T) {
	c := live(t, Options{})
	ns, r := namespace(t, c), resolve(t, c, "services")
	var took time.Duration
	const rounds = 20
	for i := range rounds {
		made := write(t, c, "POST", r.Path(ns), fmt.Sprintf(`{"metadata":{"name":"s%d"},"spec":{"ports":[{"port":80}]}}`, i))
		began := time.Now()
		version := probe(t, c, r)
		took += time.Since(began)
		if version.Compare(object.Version(made.Metadata.ResourceVersion)) < 0 {
			t.Fatalf("probe says %s after a write at %s", version, made.Metadata.ResourceVersion)
		}
		if listed, err := c.probeByList(t.Context(), r); err != nil || listed.Compare(version) < 0 {
			t.Fatalf("the list says %s, %v after %s", listed, err, version)
		}
	}
	t.Logf("probe: %v on average", took/rounds)
	version, items, err := c.Metadata(t.Context(), r)
	count, countErr := c.Count(t.Context(), r)
	if err != nil || countErr != nil || len(items) < rounds || count < rounds || version == "" {
		t.Errorf("%d items at %q, %v; count %d, %v", len(items), version, err, count, countErr)
	}
}

// The proof of being current on a quiet resource: a short watch from a position
// that is behind brings a bookmark, and then ends without an error.
func TestRealShortWatchBringsABookmark(t *testing.T) {
	c := live(t, Options{})
	ns, r := namespace(t, c), resolve(t, c, "ingresses")
	position := probe(t, c, r)
	write(t, c, "POST", "/api/v1/namespaces/"+ns+"/configmaps", `{"metadata":{"name":"x"}}`) // moves etcd's revision
	now := probe(t, c, r)
	var bookmark object.Version
	for e, err := range c.Watch(t.Context(), r, position, 4*time.Second) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == object.Bookmark {
			bookmark = e.Version
		}
	}
	if bookmark.Compare(now) < 0 || now.Compare(position) <= 0 {
		t.Errorf("bookmark %q, position %s, now %s", bookmark, position, now)
	}
}

func TestRealForbidden(t *testing.T) {
	c := live(t, Options{}, func(config *rest.Config) {
		config.Impersonate = rest.ImpersonationConfig{UserName: "krm-nobody", Groups: []string{"system:authenticated"}}
	})
	want := `pods is forbidden: User "krm-nobody" cannot %s resource "pods" in API group "" at the cluster scope: grant verbs list, watch on resource "pods" in API group ""`
	_, err := told(c.Watch(t.Context(), pods, "1", 0))
	if !errors.Is(err, object.ErrForbidden) || err.Error() != "watch pods: forbidden: "+fmt.Sprintf(want, "watch") {
		t.Errorf("watch: %v", err)
	}
	_, _, err = c.Metadata(t.Context(), pods)
	if !errors.Is(err, object.ErrForbidden) || err.Error() != "list pods: forbidden: "+fmt.Sprintf(want, "list") {
		t.Errorf("list: %v", err)
	}
	if uid, schema, err := c.Identity(t.Context(), pods); uid != "" || !strings.HasPrefix(schema, "v1.") || err != nil {
		t.Errorf("identity %q %q %v", uid, schema, err)
	}
}

func TestRealUnauthorized(t *testing.T) {
	c := live(t, Options{}, func(config *rest.Config) {
		config.CertData, config.KeyData, config.BearerToken = nil, nil, "wrong"
	})
	_, err := told(c.Watch(t.Context(), pods, "1", 0))
	if err == nil || !strings.Contains(err.Error(), "does not accept our credentials") {
		t.Errorf("error %v", err)
	}
}

func TestRealAbsentResource(t *testing.T) {
	c := live(t, Options{})
	r := object.Resource{Group: "none.example.com", Version: "v1", Name: "things", Namespaced: true}
	if _, err := told(c.Initial(t.Context(), r)); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("initial: %v", err)
	}
	if _, _, err := c.Metadata(t.Context(), r); !errors.Is(err, object.ErrNotFound) {
		t.Errorf("metadata: %v", err)
	}
}

func TestRealIdentity(t *testing.T) {
	c := live(t, Options{})
	uid, schema, err := c.Identity(t.Context(), pods)
	if len(uid) != 36 || !strings.HasPrefix(schema, "v1.") || strings.Contains(schema, "none") || err != nil {
		t.Errorf("identity %q %q %v", uid, schema, err)
	}
	r := widgets(t, c)
	for range 100 { // the document follows the CRD
		again, schema, err := c.Identity(t.Context(), r)
		if err != nil || again != uid {
			t.Fatalf("identity %q %q %v", again, schema, err)
		}
		if !strings.Contains(schema, "openapi=none") {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Error("the CRD never got an OpenAPI document")
}
