package discovery

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestGolden(t *testing.T) {
	all := []string{
		"/version", "/api", "/api/", "aggregated /api", "/apis", "aggregated /apis", "/apis/apps", "/apis/autoscaling", "/apis/example.com",
		"/api/v1", "/api/v1/", "/apis/apps/v1", "/apis/autoscaling/v1", "/apis/autoscaling/v2", "/apis/example.com/v1", "/apis/example.com/v1beta1",
		"/api/v2", "/apis/new.example.com", "/apis/new.example.com/v1alpha1", "/apis/absent", "/openapi/v3", "/openapi/v3/",
	}
	f := func(name string, documents object.Documents, scope Scope, served ...object.Resource) {
		t.Helper()
		golden(t, name+".txt", stock(t, documents, scope, served...).transcript(all...))
	}
	documents := captured(t)
	f("served", documents, ScopeServed, pods, deployments, gadgets)
	f("added", documents, ScopeServed, scalers, gizmos, configs) // the documents lack what they can
	f("reads", documents, ScopeReads, deployments, gizmos)
	f("all", documents, ScopeAll, deployments, gizmos)
	f("none", documents, ScopeServed)
	f("early", object.Documents{}, ScopeServed, pods, gadgets)
	f("nothing", object.Documents{}, ScopeServed)
	f("early_all", object.Documents{}, ScopeAll)
}

// What the API server says stays, byte by byte.
func TestScopeAllIsTheAPIServers(t *testing.T) {
	documents := captured(t)
	s := stock(t, documents, ScopeAll, pods, deployments, gadgets)
	for path, d := range documents.ByPath {
		path, accept := path, ""
		if name, is := strings.CutSuffix(path, " APIGroupDiscoveryList"); is {
			path, accept = name, aggregated
		}
		if path == openAPIRoot {
			continue
		}
		w := s.get(path, "Accept", accept)
		if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), d.Data) || w.Header().Get("ETag") != `"`+d.Revision+`"` {
			t.Errorf("%s: %d %s %.200s, want %s %.200s", path, w.Code, w.Header().Get("ETag"), w.Body, d.Revision, d.Data)
		}
	}
}

// The groups that the API server calls stale because their own server is away are
// served from KRM's copy.
func TestStaleGroupsAreServed(t *testing.T) {
	documents := captured(t)
	d := documents.ByPath[object.AggregatedGroups]
	d.Data = bytes.ReplaceAll(d.Data, []byte(`"Current"`), []byte(`"Stale"`))
	documents.ByPath[object.AggregatedGroups] = d
	if body := stock(t, documents, ScopeServed, gadgets).get("/apis", "Accept", aggregated).Body.String(); strings.Contains(body, "Stale") || !strings.Contains(body, "gadgets") {
		t.Error(body)
	}
	if body := stock(t, documents, ScopeAll, gadgets).get("/apis", "Accept", aggregated).Body.String(); !strings.Contains(body, "Stale") {
		t.Error(body)
	}
}

func TestConditional(t *testing.T) {
	s := stock(t, captured(t), ScopeServed, pods)
	path := "/openapi/v3/api/v1"
	first := s.get(path)
	etag := first.Header().Get("ETag")
	if first.Code != 200 || len(etag) != 130 {
		t.Fatalf("%d, ETag %s", first.Code, etag)
	}
	f := func(header string, code int) {
		t.Helper()
		w := s.get(path, "If-None-Match", header)
		if w.Code != code || w.Header().Get("ETag") != etag || (w.Body.Len() == 0) != (code == 304) {
			t.Errorf("If-None-Match %s: %d, %d bytes", header, w.Code, w.Body.Len())
		}
	}
	f(etag, 304)
	f("W/"+etag, 304)
	f(`"x", `+etag, 304)
	f("*", 304)
	f(`"x"`, 200)
	f("", 200)

	hash := strings.Trim(etag, `"`)
	w := s.get(path + "?hash=" + hash)
	if w.Code != 200 || w.Header().Get("Cache-Control") != "public, immutable" || w.Header().Get("Expires") == "" || w.Header().Get("Vary") == "" {
		t.Errorf("by its hash: %d %v", w.Code, w.Header())
	}
	w = s.get(path + "?hash=OLD")
	if w.Code != 301 || w.Header().Get("Location") != path+"?hash="+hash {
		t.Errorf("by another hash: %d %v", w.Code, w.Header())
	}
	if index := s.get("/openapi/v3").Body.String(); !strings.Contains(index, `"api/v1":{"serverRelativeURL":"`+path+"?hash="+hash+`"}`) {
		t.Error(index)
	}

	w = s.do(http.MethodHead, path)
	if w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != first.Header().Get("Content-Length") {
		t.Errorf("HEAD: %d %d %v", w.Code, w.Body.Len(), w.Header())
	}
	if w := s.do(http.MethodPost, path); w.Code != 0 {
		t.Errorf("POST is answered: %d", w.Code)
	}
}

func TestGzip(t *testing.T) {
	s := stock(t, captured(t), ScopeServed, pods)
	plain := s.get("/openapi/v2")
	f := func(accept string, want bool) {
		t.Helper()
		w := s.get("/openapi/v2", "Accept-Encoding", accept)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("%q: gzip %v", accept, got)
		}
		body := io.Reader(w.Body)
		if want {
			reader, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = reader
		}
		text, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(text, plain.Body.Bytes()) {
			t.Errorf("%q: %d bytes, %v", accept, len(text), err)
		}
		if !slices.Contains(w.Header().Values("Vary"), "Accept-Encoding") {
			t.Errorf("%q: Vary %v", accept, w.Header().Values("Vary"))
		}
	}
	f("gzip", true)
	f("deflate, gzip;q=1.0", true)
	f("gzip;q=0", false)
	f("identity", false)
	f("", false)
	if w := s.get("/api", "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "" {
		t.Error("a few bytes were compressed")
	}
}

// Cutting costs once per document and what is served of it, however many ask.
func TestCutOnce(t *testing.T) {
	documents := captured(t)
	s := stock(t, documents, ScopeServed, pods)
	core, custom := documents.ByPath["/openapi/v3/api/v1"].Revision, documents.ByPath["/openapi/v3/apis/example.com/v1"].Revision
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				s.get("/openapi/v3/api/v1")
				s.get("/openapi/v3/api/v1", "Accept", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf")
			}
		})
	}
	all.Wait()
	if n := s.shelf.count(core); n != 1 {
		t.Errorf("opened %d times", n)
	}
	etag := s.get("/openapi/v3/api/v1").Header().Get("ETag")

	s.served = []object.Resource{gadgets, pods} // another group's
	if s.get("/openapi/v3/apis/example.com/v1").Code != 200 || s.get("/openapi/v3/api/v1").Header().Get("ETag") != etag {
		t.Error("what is served of one group changed another's document")
	}
	if n, m := s.shelf.count(core), s.shelf.count(custom); n != 1 || m != 1 {
		t.Errorf("opened %d and %d times", n, m)
	}

	s.served = []object.Resource{secrets, pods, gadgets}
	if w := s.get("/openapi/v3/api/v1"); w.Header().Get("ETag") == etag || !strings.Contains(w.Body.String(), "v1.Secret") {
		t.Error("a newly served resource is not there")
	}
	d := documents.ByPath["/openapi/v3/apis/example.com/v1"]
	d.Revision = "NEXT"
	s.shelf.set.ByPath = map[string]object.PackedDocument{}
	for path, known := range documents.ByPath {
		s.shelf.set.ByPath[path] = known
	}
	s.shelf.set.ByPath["/openapi/v3/apis/example.com/v1"], s.shelf.set.Revision = d, "2"
	if err := s.handler.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := s.shelf.count(core)
	s.get("/openapi/v3/api/v1")
	s.get("/openapi/v3/apis/example.com/v1")
	if n, m := s.shelf.count(core), s.shelf.count("NEXT"); n != before || m != 1 {
		t.Errorf("opened %d (%d before) and %d times", n, before, m)
	}
}

func TestSelectableFields(t *testing.T) {
	s := stock(t, captured(t), ScopeServed, gadgets)
	f := func(group, version, kind string, want ...string) {
		t.Helper()
		for range 2 {
			if got := s.handler.SelectableFields(group, version, kind); !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", kind, got, want)
			}
		}
	}
	f("example.com", "v1", "Gadget", "spec.color", "spec.size")
	f("example.com", "v1", "GadgetList", "spec.color", "spec.size") // the API server says so of lists, too
	f("example.com", "v2", "Gadget")
	f("", "v1", "Pod")
	if n := s.shelf.count(captured(t).ByPath["/openapi/v3/apis/example.com/v1"].Revision); n != 2 { // one per kind
		t.Errorf("opened %d times", n)
	}
}

// A document that cannot be opened is an error of its own, and no reason to forget the others.
func TestUnreadableDocument(t *testing.T) {
	documents := captured(t)
	for _, path := range []string{"/apis", "/openapi/v2", "/api/v1"} {
		documents.ByPath[path] = object.PackedDocument{Revision: "BROKEN"}
	}
	s := stock(t, documents, ScopeServed, pods, deployments)
	for path, code := range map[string]int{"/apis": 500, "/openapi/v2": 500, "/api/v1": 500, "/api": 200, "/apis/apps/v1": 200, "/version": 200} {
		w := s.get(path)
		if w.Code != code {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		var status struct{ Kind, Reason string }
		if code == 500 && (json.Unmarshal(w.Body.Bytes(), &status) != nil || status.Reason != "InternalError" || w.Header().Get("ETag") != "") {
			t.Errorf("%s: %v %s", path, w.Header(), w.Body)
		}
	}
	if _, there := s.handler.Document("/apis"); there {
		t.Error("an unreadable document is there")
	}
	if text, there := s.handler.Document("/version"); !there || !json.Valid(text) {
		t.Errorf("%s", text)
	}
}

// Run follows the store, and keeps what it has while that is away or empty.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{err: errors.New("away")}
		d := New(s, func() []object.Resource { return nil }, Options{}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		f := func(documents object.Documents, err error, want string) {
			t.Helper()
			s.mu.Lock()
			s.set, s.err = documents, err
			s.mu.Unlock()
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if got := d.documents.Load().Revision; got != want || d.Ready() != (want != "") {
				t.Errorf("revision %q, want %q", got, want)
			}
		}
		f(object.Documents{}, errors.New("away"), "")
		f(object.Documents{}, nil, "")
		f(object.Documents{Revision: "1"}, nil, "1")
		f(object.Documents{Revision: "2"}, errors.New("away"), "1")
		f(object.Documents{}, nil, "1") // Redis was emptied
		f(object.Documents{Revision: "3"}, nil, "3")
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A resource without a kind, of a process that has not asked discovery yet, is
// shown as the documents show it, and not made up.
func TestServedWithoutKind(t *testing.T) {
	s := stock(t, captured(t), ScopeServed, object.Resource{Version: "v1", Name: "pods"}, object.Resource{Group: "x.io", Version: "v1", Name: "things"})
	if body := s.get("/api/v1").Body.String(); !strings.Contains(body, `"kind":"Pod"`) {
		t.Error(body)
	}
	if w := s.get("/apis/x.io/v1"); w.Code != 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if body := s.get("/apis").Body.String(); strings.Contains(body, "x.io") {
		t.Error(body)
	}
}
