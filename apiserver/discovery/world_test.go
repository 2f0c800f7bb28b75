package discovery

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with testdata/name, or writes it there with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update accepts it):\n%s", path, diff)
	}
}

var (
	pods        = object.Resource{Version: "v1", Name: "pods", Kind: "Pod", Singular: "pod", Short: "po", Namespaced: true}
	secrets     = object.Resource{Version: "v1", Name: "secrets", Kind: "Secret", Singular: "secret", Namespaced: true}
	deployments = object.Resource{Group: "apps", Version: "v1", Name: "deployments", Kind: "Deployment", Singular: "deployment", Namespaced: true}
	scalers     = object.Resource{Group: "autoscaling", Version: "v1", Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", Singular: "horizontalpodautoscaler", Namespaced: true}
	gadgets     = object.Resource{Group: "example.com", Version: "v1", Name: "gadgets", Kind: "Gadget", Singular: "gadget", Short: "gd", Namespaced: true}
	gizmos      = object.Resource{Group: "new.example.com", Version: "v1alpha1", Name: "gizmos", Kind: "Gizmo", Singular: "gizmo", Short: "gi,gz"}
	configs     = object.Resource{Version: "v2", Name: "configs", Kind: "Config", Singular: "config"} // in a version that the core group lacks
)

// captured are excerpts of a real API server's documents.
func captured(t testing.TB) object.Documents {
	t.Helper()
	files := map[string]string{
		"/version": "version", "/api": "api", "/apis": "apis", object.AggregatedCore: "api-aggregated", object.AggregatedGroups: "apis-aggregated",
		"/api/v1": "api_v1", "/apis/apps/v1": "apis_apps_v1", "/apis/example.com/v1": "apis_example.com_v1",
		"/openapi/v2": "openapi_v2", "/openapi/v3": "openapi_v3", "/openapi/v3/version": "openapi_v3_version",
		"/openapi/v3/api/v1": "openapi_v3_api_v1", "/openapi/v3/apis/example.com/v1": "openapi_v3_apis_example.com_v1",
	}
	set := object.Documents{Revision: "1", ByPath: map[string]object.PackedDocument{}}
	for path, file := range files {
		body, err := os.ReadFile(filepath.Join("testdata", "documents", file+".json"))
		if err != nil {
			t.Fatal(err)
		}
		set.ByPath[path] = object.PackedDocument{Revision: "REV" + strings.ToUpper(file), Data: body}
	}
	return set
}

// shelf is a store of documents that are not packed.
type shelf struct {
	mu     sync.Mutex
	set    object.Documents
	err    error
	opened map[string]int // by revision
}

func (s *shelf) Documents(context.Context, object.Documents) (object.Documents, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set, s.err
}

func (s *shelf) UnpackDocument(d object.PackedDocument) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opened == nil {
		s.opened = map[string]int{}
	}
	s.opened[d.Revision]++
	if d.Data == nil {
		return nil, object.ErrUnreadable
	}
	return d.Data, nil
}

func (s *shelf) count(revision string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened[revision]
}

// stand is a Discovery over a shelf.
type stand struct {
	t       testing.TB
	shelf   *shelf
	served  []object.Resource
	handler *Discovery
}

func stock(t testing.TB, documents object.Documents, scope Scope, served ...object.Resource) *stand {
	t.Helper()
	s := &stand{t: t, shelf: &shelf{set: documents}, served: served}
	s.handler = New(s.shelf, func() []object.Resource { return s.served }, Options{Scope: scope}, slog.New(slog.DiscardHandler))
	if err := s.handler.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// get asks for path with headers NAME, VALUE, …; code 0 is what is not handled.
func (s *stand) get(path string, header ...string) *httptest.ResponseRecorder {
	return s.do(http.MethodGet, path, header...)
}

func (s *stand) do(method, path string, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	if !s.handler.Serve(w, r) {
		if w.Body.Len() > 0 || len(w.Header()) > 0 {
			s.t.Errorf("%s is not handled, but answered", path)
		}
		w.Code = 0
	}
	return w
}

const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

// transcript asks for each path ("aggregated " before it asks for that form) and writes down what came.
func (s *stand) transcript(paths ...string) string {
	var b strings.Builder
	for _, path := range paths {
		accept := ""
		name, is := strings.CutPrefix(path, "aggregated ")
		if is {
			accept = aggregated
		}
		w := s.get(name, "Accept", accept)
		fmt.Fprintf(&b, ">>> GET %s\n<<< %d %s\n", path, w.Code, w.Header().Get("Content-Type"))
		for _, name := range []string{"Cache-Control", "Retry-After", "Vary"} {
			if value := w.Header().Get(name); value != "" {
				fmt.Fprintf(&b, "%s: %s\n", name, value)
			}
		}
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(w.Body.String()))
	}
	return b.String()
}
