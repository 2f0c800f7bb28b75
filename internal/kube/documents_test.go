package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// described is an API server that describes its API.
type described struct {
	mu    sync.Mutex
	uid   string
	texts map[string]string // by path; the aggregated forms by their names
	codes map[string]int    // what is refused, by path
	asked []string
}

func describe() *described {
	return &described{uid: "u1", codes: map[string]int{}, texts: map[string]string{
		"/version":              `{"gitVersion":"v1.36.3"}`,
		"/api":                  `{"kind":"APIVersions","versions":["v1"]}`,
		"/apis":                 `{"kind":"APIGroupList","groups":[{"name":"apps","versions":[{"groupVersion":"apps/v1","version":"v1"}]},{"name":"x.io","versions":[{"groupVersion":"x.io/v1","version":"v1"}]}]}`,
		object.AggregatedCore:   `{"kind":"APIGroupDiscoveryList","items":[1]}`,
		object.AggregatedGroups: `{"kind":"APIGroupDiscoveryList","items":[2]}`,
		"/api/v1":               `{"groupVersion":"v1"}`,
		"/apis/apps/v1":         `{"groupVersion":"apps/v1"}`,
		"/apis/x.io/v1":         `{"groupVersion":"x.io/v1"}`,
		"/openapi/v2":           `{"swagger":"2.0"}`,
		"/openapi/v3":           `{"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=H1"},"version":{"serverRelativeURL":"/openapi/v3/version?hash=H2"}}}`,
		"/openapi/v3/api/v1":    `{"openapi":"3.0.0"}`,
		"/openapi/v3/version":   `{"openapi":"3.0.0","info":1}`,
	}}
}

func (d *described) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name, etag := r.URL.Path, ""
	if strings.Contains(r.Header.Get("Accept"), "APIGroupDiscoveryList") {
		if name += " APIGroupDiscoveryList"; d.texts[name] != "" {
			w.Header().Set("Content-Type", asAggregated)
			etag = fmt.Sprintf("%x", d.texts[name])
		} else {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
	}
	switch {
	case name == "/api/v1/namespaces/kube-system":
		fmt.Fprintf(w, `{"metadata":{"uid":%q}}`, d.uid)
		return
	case name == "/openapi/v2":
		etag = fmt.Sprintf("%x", d.texts[name])
	case strings.HasPrefix(name, "/openapi/v3/"):
		etag = r.URL.Query().Get("hash")
	}
	w.Header().Set("ETag", `"`+etag+`"`)
	switch {
	case d.codes[name] != 0:
		d.asked = append(d.asked, fmt.Sprint(d.codes[name], " ", name))
		w.WriteHeader(d.codes[name])
	case etag != "" && r.Header.Get("If-None-Match") == `"`+etag+`"`:
		d.asked = append(d.asked, "304 "+name)
		w.WriteHeader(http.StatusNotModified)
	case d.texts[name] == "":
		d.asked = append(d.asked, "404 "+name)
		w.WriteHeader(http.StatusNotFound)
	default:
		d.asked = append(d.asked, "200 "+name)
		fmt.Fprint(w, d.texts[name])
	}
}

// reader reads documents as the streamer does, and remembers what it read.
type reader struct {
	t      *testing.T
	server *described
	client *Client
	known  object.Documents
	bodies map[string]string
}

func newReader(t *testing.T) *reader {
	server := describe()
	c, _ := serve(t, Options{}, server.ServeHTTP)
	return &reader{t: t, server: server, client: c, known: object.Documents{ByPath: map[string]object.PackedDocument{}}, bodies: map[string]string{}}
}

// read reads part and returns what changed and what was asked.
func (r *reader) read(part string) (changed, asked []string) {
	r.t.Helper()
	r.server.asked = nil
	read, err := r.client.ReadDocuments(r.t.Context(), part, r.known)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.known.ClusterUID != read.ClusterUID {
		clear(r.known.ByPath)
	}
	r.known.ClusterUID = read.ClusterUID
	for path := range r.known.ByPath {
		if _, there := read.Revisions[path]; !there && strings.HasPrefix(path, "/openapi/") == (part == object.OpenAPIPart) {
			delete(r.known.ByPath, path)
			delete(r.bodies, path)
		}
	}
	for _, d := range read.Changed {
		changed = append(changed, d.Path)
		r.known.ByPath[d.Path] = object.PackedDocument{Revision: d.Revision}
		r.bodies[d.Path] = string(d.Body)
		if read.Revisions[d.Path] != d.Revision || d.Revision == "" {
			r.t.Errorf("%s: revisions %q and %q", d.Path, read.Revisions[d.Path], d.Revision)
		}
	}
	for path, revision := range read.Revisions {
		if r.known.ByPath[path].Revision != revision {
			r.t.Errorf("%s: revision %q is neither known nor read", path, revision)
		}
	}
	slices.Sort(changed)
	return changed, r.server.asked
}

func (r *reader) equal(got []string, want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("-want +got:\n%s", diff)
	}
}

func TestReadDiscoveryDocuments(t *testing.T) {
	r := newReader(t)
	changed, _ := r.read(object.DiscoveryPart)
	r.equal(changed, "/api", object.AggregatedCore, "/api/v1", "/apis", object.AggregatedGroups, "/apis/apps/v1", "/apis/x.io/v1", "/version")
	for path, body := range r.bodies {
		if body != r.server.texts[path] {
			t.Errorf("%s: %s", path, body)
		}
	}
	changed, asked := r.read(object.DiscoveryPart) // nothing happened
	r.equal(changed)
	r.equal(asked, "200 /version", "304 "+object.AggregatedCore, "304 "+object.AggregatedGroups)

	r.server.texts["/apis/apps/v1"] += " "
	r.server.texts[object.AggregatedGroups] = `{"items":[3]}`
	changed, _ = r.read(object.DiscoveryPart)
	r.equal(changed, object.AggregatedGroups, "/apis/apps/v1")

	r.server.texts["/apis"] = `{"groups":[{"name":"x.io","versions":[{"groupVersion":"x.io/v1","version":"v1"}]}]}` // a group goes
	r.server.texts[object.AggregatedGroups] = `{"items":[4]}`
	changed, _ = r.read(object.DiscoveryPart)
	r.equal(changed, "/apis", object.AggregatedGroups)
	if _, there := r.known.ByPath["/apis/apps/v1"]; there {
		t.Error("a group that is gone is known")
	}

	r.server.uid = "u2" // another cluster: everything, though it says the same
	changed, _ = r.read(object.DiscoveryPart)
	r.equal(changed, "/api", object.AggregatedCore, "/api/v1", "/apis", object.AggregatedGroups, "/apis/x.io/v1", "/version")
}

// A group whose own server is away keeps its list, and is asked for again.
func TestReadDocumentsOfAGroupThatIsAway(t *testing.T) {
	r := newReader(t)
	r.read(object.DiscoveryPart)
	r.server.codes["/apis/x.io/v1"] = http.StatusServiceUnavailable
	r.server.texts[object.AggregatedGroups] = `{"items":["stale"]}`
	changed, _ := r.read(object.DiscoveryPart)
	r.equal(changed, object.AggregatedGroups)
	if _, there := r.known.ByPath["/apis/x.io/v1"]; !there {
		t.Error("its list is gone")
	}
	r.server.codes = map[string]int{}
	r.server.texts["/apis/x.io/v1"] += " "
	changed, asked := r.read(object.DiscoveryPart) // the aggregated text is the same
	r.equal(changed, object.AggregatedGroups, "/apis/x.io/v1")
	if !slices.Contains(asked, "200 /apis/x.io/v1") {
		t.Errorf("asked %q", asked)
	}
	changed, asked = r.read(object.DiscoveryPart)
	r.equal(changed)
	if len(asked) != 3 {
		t.Errorf("asked %q", asked)
	}
}

func TestReadDocumentsOfAServerWithoutAggregation(t *testing.T) {
	r := newReader(t)
	delete(r.server.texts, object.AggregatedCore)
	delete(r.server.texts, object.AggregatedGroups)
	r.read(object.DiscoveryPart)
	if got := slices.Sorted(maps.Keys(r.known.ByPath)); !slices.Equal(got, []string{"/api", "/api/v1", "/apis", "/apis/apps/v1", "/apis/x.io/v1", "/version"}) {
		t.Errorf("%q", got)
	}
	changed, _ := r.read(object.DiscoveryPart)
	r.equal(changed)
}

func TestReadOpenAPIDocuments(t *testing.T) {
	r := newReader(t)
	changed, _ := r.read(object.OpenAPIPart)
	r.equal(changed, "/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1", "/openapi/v3/version")
	changed, asked := r.read(object.OpenAPIPart)
	r.equal(changed)
	r.equal(asked, "304 /openapi/v2", "200 /openapi/v3")

	r.server.texts["/openapi/v3"] = strings.Replace(r.server.texts["/openapi/v3"], "H1", "H3", 1)
	changed, asked = r.read(object.OpenAPIPart)
	r.equal(changed, "/openapi/v3", "/openapi/v3/api/v1")
	r.equal(asked, "304 /openapi/v2", "200 /openapi/v3", "200 /openapi/v3/api/v1")

	r.server.texts["/openapi/v3"] = `{"paths":{"version":{"serverRelativeURL":"/openapi/v3/version?hash=H2"}}}`
	changed, _ = r.read(object.OpenAPIPart)
	r.equal(changed, "/openapi/v3")
	if len(r.known.ByPath) != 3 {
		t.Errorf("%v", r.known.ByPath)
	}
	r.server.codes["/openapi/v3"] = http.StatusNotFound // no OpenAPI v3
	r.read(object.OpenAPIPart)
	if len(r.known.ByPath) != 1 {
		t.Errorf("%v", r.known.ByPath)
	}
}

// What is no answer, or none that can be used, is an error: what is known stays.
func TestReadDocumentsFails(t *testing.T) {
	f := func(what string, breaking func(*described), want error) {
		t.Helper()
		r := newReader(t)
		breaking(r.server)
		for _, part := range []string{object.DiscoveryPart, object.OpenAPIPart} {
			_, err := r.client.ReadDocuments(t.Context(), part, r.known)
			if err == nil || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: %s: %v", what, part, err)
			}
		}
	}
	f("forbidden", func(d *described) { d.codes["/version"], d.codes["/openapi/v3"] = 403, 403 }, object.ErrForbidden)
	f("garbled", func(d *described) { d.texts["/version"], d.texts["/openapi/v3"] = "<html>", "<html>" }, object.ErrGarbled)
	f("of another form", func(d *described) { d.texts["/apis"], d.texts["/openapi/v3"] = "[]", `{"paths":[]}` }, nil)

	r := newReader(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("told to stop")
	cancel(gone)
	if _, err := r.client.ReadDocuments(ctx, object.OpenAPIPart, r.known); !errors.Is(err, gone) {
		t.Errorf("error %v, want %v", err, gone)
	}
}
