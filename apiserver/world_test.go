package apiserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with testdata/name, or writes it there with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update accepts it):\n%s", path, diff)
	}
}

// fakeFeed is a snapshot that does not change by itself.
type fakeFeed struct {
	mu      sync.Mutex
	state   object.SnapshotState
	records []object.Record
	err     error
}

func (f *fakeFeed) edit(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeFeed) State(context.Context) (object.SnapshotState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state, f.err
}

func (f *fakeFeed) Scan(context.Context) iter.Seq2[object.Record, error] {
	return func(yield func(object.Record, error) bool) {
		for _, r := range f.records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (f *fakeFeed) Read(ctx context.Context, _ object.LogID, wait time.Duration) ([]object.FeedEntry, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(wait):
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, f.err
}

func (f *fakeFeed) Tail(context.Context) (object.LogID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Tail, f.err
}

func (f *fakeFeed) Unpack(context.Context, object.Packed) (object.Record, error) {
	return object.Record{}, errors.New("nothing is packed here")
}

// fakeRedis is what several resources have in common.
type fakeRedis struct {
	mu         sync.Mutex
	registered []object.Registered
	feeds      map[string]*fakeFeed
	asked      []string
	err        error
}

func (f *fakeRedis) Resources(context.Context) ([]object.Registered, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.registered), f.err
}

func (f *fakeRedis) Ask(_ context.Context, r object.Resource, ask object.Ask) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, r.String()+" "+string(ask))
	return f.err
}

func (f *fakeRedis) setErr(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	for _, feed := range f.feeds {
		feed.edit(func() { feed.err = err })
	}
}

var (
	pods        = object.Resource{Version: "v1", Name: "pods", Kind: "Pod", Singular: "pod", Short: "po", Namespaced: true}
	nodes       = object.Resource{Version: "v1", Name: "nodes", Kind: "Node", Singular: "node"}
	namespaces  = object.Resource{Version: "v1", Name: "namespaces", Kind: "Namespace", Singular: "namespace", Short: "ns"}
	services    = object.Resource{Version: "v1", Name: "services", Kind: "Service", Singular: "service", Namespaced: true}
	deployments = object.Resource{Group: "apps", Version: "v1", Name: "deployments", Kind: "Deployment", Singular: "deployment", Short: "deploy", Namespaced: true}
	ingresses   = object.Resource{Group: "networking.k8s.io", Version: "v1", Name: "ingresses", Kind: "Ingress", Singular: "ingress", Namespaced: true}
	oldIngress  = object.Resource{Group: "extensions", Version: "v1beta1", Name: "ingresses", Kind: "Ingress", Singular: "ingress", Namespaced: true}
	widgets     = object.Resource{Group: "example.com", Name: "widgets"}
)

// body is an object whose spec is extra, the inside of a JSON object.
func body(r object.Resource, namespace, name, labels, spec string) object.Record {
	in := ""
	if namespace != "" {
		in = fmt.Sprintf(`"namespace":%q,`, namespace)
	}
	return object.Record{
		Head: object.Head{Key: object.Key{Namespace: namespace, Name: name}, UID: "uid-" + name, Version: "7"},
		Body: []byte(fmt.Sprintf(`{"kind":%q,"apiVersion":%q,"metadata":{"name":%q,%s"labels":{%s}},"spec":{%s}}`, r.Kind, r.GroupVersion(), name, in, labels, spec)),
	}
}

// nodeRow is a node that was made when the bubble began, and seen half an hour later.
func nodeRow(name, zone, cells string) object.Record {
	r := body(nodes, "", name, `"zone":"`+zone+`"`, "")
	r.Body = []byte(strings.Replace(string(r.Body), `"metadata":{`, `"metadata":{"creationTimestamp":"2000-01-01T00:00:00Z",`, 1))
	r.Cells, r.SeenAt = []byte(cells), time.Now().Add(-30*time.Minute)
	return r
}

func heartbeat(role string, state object.State, message string) object.Status {
	return object.Status{Role: role, Instance: "host-1", State: state, Message: message, At: time.Now().UTC().Add(-time.Second)}
}

// newFakeRedis has pods, nodes and namespaces, no deployments and ingresses, services that are
// being read for the first time, old ingresses that we may not read, and widgets that do not exist.
func newFakeRedis() *fakeRedis {
	f := &fakeRedis{feeds: map[string]*fakeFeed{}}
	add := func(r object.Resource, status object.Status, records ...object.Record) *fakeFeed {
		now := time.Now().UTC()
		feed := &fakeFeed{records: records, state: object.SnapshotState{
			Synced: true, Lineage: "l", Objects: int64(len(records)), Tail: "5-1", Verified: 12, Late: 1,
			Drift: object.Drift{Missing: 1, Stale: 2, Ghost: 3, Altered: 4}, LastDrift: object.Drift{Stale: 1},
			Freshness: object.Freshness{Streamed: "1234", StreamedAt: now.Add(-500 * time.Millisecond), Verified: "1200", VerifiedAt: now.Add(-42 * time.Second)},
		}}
		f.registered = append(f.registered, object.Registered{Resource: r, Statuses: []object.Status{status}})
		f.feeds[r.String()] = feed
		return feed
	}
	following := heartbeat(object.RoleStreamer, object.StateFollowing, "")
	add(namespaces, following, body(namespaces, "", "default", "", ""), body(namespaces, "", "empty", "", ""))
	add(nodes, following, nodeRow("node-1", "a", `["node-1","Ready",2,"59m","3 (5m ago)"]`), nodeRow("node-2", "b", "")).state.Columns = []object.Column{
		{Name: "Name", Type: "string", Format: "name"},
		{Name: "Status", Type: "string"},
		{Name: "Pods", Type: "integer"},
		{Name: "Age", Type: "string"},
		{Name: "Restarts", Type: "string", Priority: 1},
	}
	add(pods, following,
		body(pods, "default", "web-1", `"app":"web","tier":"front"`, `"nodeName":"node-1"`),
		body(pods, "default", "web-2", `"app":"web","tier":"back","weight":"12"`, `"nodeName":"node-2"`),
		body(pods, "default", "db-1", `"app":"db"`, `"nodeName":"node-1"`),
		body(pods, "default-2", "web-1", ``, ``))
	add(services, heartbeat(object.RoleStreamer, object.StateSyncing, "initial list")).state = object.SnapshotState{Resyncing: true, Received: 1200, Expect: 5000}
	add(deployments, following)
	add(widgets, heartbeat(object.RoleStreamer, object.StateAbsent, "the API server knows no such resource"))
	add(oldIngress, heartbeat(object.RoleStreamer, object.StateForbidden, "may not list ingresses.extensions")).state = object.SnapshotState{}
	add(ingresses, following)
	f.registered[2].Statuses = append(f.registered[2].Statuses,
		heartbeat(object.RoleVerifier, object.StateFollowing, ""),
		heartbeat(object.RoleAggregator, object.StateStandby, "host-2 does the work"))
	return f
}

// site is a server over a fakeRedis.
type site struct {
	redis  *fakeRedis
	server *Server
	logs   *strings.Builder
}

func (s *site) ask(method, target string, header ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(method, "http://krm"+target, nil)
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	s.server.Handler().ServeHTTP(recorder, request)
	return recorder
}

// dump shows a request and its answer.
func (s *site) dump(method, target string, header ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ">>> %s %s\n", method, target)
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(&b, "%s: %s\n", header[i], header[i+1])
	}
	answer := s.ask(method, target, header...)
	fmt.Fprintf(&b, "<<< %d\n", answer.Code)
	if err := answer.Result().Header.Write(&b); err != nil {
		panic(err)
	}
	fmt.Fprintf(&b, "\n%s\n", strings.TrimSuffix(answer.Body.String(), "\n"))
	return strings.ReplaceAll(b.String(), "\r\n", "\n") + "\n"
}

// secret is always the same, so that tags are.
func secret(context.Context) ([]byte, error) { return []byte("the same for all"), nil }

// visit runs f in a bubble, with a site that has been running for a minute.
func visit(t *testing.T, f func(t *testing.T, s *site)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // away from the year's first second
		redis := newFakeRedis()
		set := mirror.NewSet(redis, func(r object.Resource) mirror.Feed { return redis.feeds[r.String()] }, mirror.Options{}, slog.New(slog.DiscardHandler))
		logs := new(strings.Builder)
		s := &site{redis: redis, logs: logs, server: New(set, redis, Options{Secret: secret}, slog.New(slog.NewTextHandler(logs, nil)))}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = set.Run(ctx)
		}()
		defer func() { cancel(); <-done }()
		time.Sleep(time.Second)
		f(t, s)
	})
}

func get(targets ...string) [][]string {
	var requests [][]string
	for _, target := range targets {
		requests = append(requests, []string{http.MethodGet, target})
	}
	return requests
}
