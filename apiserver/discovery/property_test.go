package discovery

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// openAPIDocument is what both versions of OpenAPI have in common.
type openAPIDocument struct {
	Paths       map[string]map[string]any
	Definitions map[string]any
	Components  struct{ Schemas map[string]any }
}

func (d openAPIDocument) schemas() map[string]any {
	if d.Definitions != nil {
		return d.Definitions
	}
	return d.Components.Schemas
}

func parse(t testing.TB, body []byte) (d openAPIDocument) {
	t.Helper()
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// Whatever is served: no reference of a cut document leads nowhere, what is left is
// as it was, only reading is left, and of what is served everything is there.
func TestCutOpenAPI(t *testing.T) {
	documents := captured(t)
	whole := map[string]openAPIDocument{}
	for _, path := range []string{"/openapi/v2", "/openapi/v3/api/v1", "/openapi/v3/apis/example.com/v1"} {
		whole[path] = parse(t, documents.ByPath[path].Data)
	}
	references := 0
	rapid.Check(t, func(rt *rapid.T) {
		served := rapid.SliceOfDistinct(rapid.SampledFrom([]object.Resource{pods, secrets, deployments, gadgets, gizmos}), object.Resource.String).Draw(rt, "served")
		scope := rapid.SampledFrom([]Scope{ScopeServed, ScopeReads, ScopeAll}).Draw(rt, "scope")
		s := stock(t, documents, scope, served...)
		for path, source := range whole {
			w := s.get(path)
			if w.Code == 0 {
				if scope != ScopeServed || path == "/openapi/v2" {
					rt.Fatalf("%s is not there", path)
				}
				continue
			}
			got := parse(t, w.Body.Bytes())
			references += CheckReferences(t, path, w.Body.Bytes())
			for name, operations := range got.Paths {
				for verb, value := range operations {
					if writes(verb) && scope != ScopeAll || !reflect.DeepEqual(value, source.Paths[name][verb]) {
						rt.Fatalf("%s %s of %s", verb, name, path)
					}
				}
			}
			for name, schema := range got.schemas() {
				if !reflect.DeepEqual(schema, source.schemas()[name]) {
					rt.Fatalf("schema %s of %s", name, path)
				}
			}
			checkServed(rt, path, source, got, served)
		}
	})
	if references == 0 {
		t.Error("no reference was checked")
	}
}

// checkServed wants every path and kind of the served resources that source has.
func checkServed(t *rapid.T, path string, source, got openAPIDocument, served []object.Resource) {
	for _, r := range served {
		for _, suffix := range []string{"", "/{name}"} {
			name := r.Path("{namespace}") + suffix
			if source.Paths[name] != nil && got.Paths[name] == nil {
				t.Fatalf("%s has no %s", path, name)
			}
		}
		for name := range source.schemas() {
			if strings.HasSuffix(name, "."+r.Version+"."+r.Kind) && got.schemas()[name] == nil {
				t.Fatalf("%s has no %s", path, name)
			}
		}
	}
}

// In scope "served" nothing of the others is left.
func TestCutOpenAPIToWhatIsServed(t *testing.T) {
	s := stock(t, captured(t), ScopeServed, pods)
	got := parse(t, s.get("/openapi/v2").Body.Bytes())
	for name := range got.Paths {
		if strings.Contains(name, "secrets") || strings.Contains(name, "gadgets") || strings.HasSuffix(name, "/status") || strings.Contains(name, "/watch/") {
			t.Errorf("path %s is left", name)
		}
	}
	for name := range got.Definitions {
		if strings.HasSuffix(name, ".Secret") || strings.HasSuffix(name, ".Gadget") || strings.HasSuffix(name, "DeleteOptions") {
			t.Errorf("definition %s is left", name)
		}
	}
	if len(got.Paths) != 5 || len(got.Definitions) < 5 {
		t.Errorf("%d paths, %d definitions", len(got.Paths), len(got.Definitions))
	}
}

func TestReferences(t *testing.T) {
	f := func(document string, want ...string) {
		t.Helper()
		if got := references(text(document)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", document, got, want)
		}
	}
	f(`{}`)
	f(`{"$ref":"#/definitions/a.b"}`, "definitions/a.b")
	f(`{"a":[{"$ref" : "#/definitions/a"},{"$ref":"#/definitions/b"}]}`, "definitions/a", "definitions/b")
	f(`{"description":"\"$ref\":\"#/definitions/a\"","$ref":"#/definitions/b"}`, "definitions/b")
	f(`{"properties":{"$ref":{"type":"string"},"x":{"$ref":"#/definitions/a"}}}`, "definitions/a")
	f(`{"$ref":"#\/definitions\/a"}`, "definitions/a")
	f(`{"$ref":"other.json#/definitions/a"}`)
	f(`{"enum":["$ref","x"]}`)
	f(`{"$ref":"#/definitions/a\"`)

	form := openAPIv3()
	g := func(pointer, want string) {
		t.Helper()
		if got := form.part(pointer); got != want {
			t.Errorf("%s: %q, want %q", pointer, got, want)
		}
	}
	g("components/schemas/a", "components/schemas/a")
	g("components/schemas/a~1b~0/properties/c", "components/schemas/a/b~")
	g("components/other/a", "")
	g("paths/a", "")
}

// Splitting and joining loses nothing.
func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"a":1,"b":{"c":[1,2,{"d":"\u00e9\n"}]}}`))
	f.Add([]byte(`[{"a":null},"b",[],{}]`))
	f.Add([]byte(` { "a" : [ ] , "<": "\ud800" } `))
	f.Fuzz(func(t *testing.T, b []byte) {
		if !json.Valid(b) {
			_, _ = members(b)
			_, _ = elements(b)
			_ = references(b)
			return
		}
		var joined text
		switch text(bytes.TrimSpace(b)).Kind() {
		case '{':
			all, err := members(b)
			if err != nil {
				t.Fatal(err)
			}
			joined = joinObject(all)
		case '[':
			all, err := elements(b)
			if err != nil {
				t.Fatal(err)
			}
			joined = joinArray(all)
		default:
			return
		}
		var got, want any
		if err := json.Unmarshal(joined, &got); err != nil {
			t.Fatalf("%s became %s: %v", b, joined, err)
		}
		if err := json.Unmarshal(b, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s became %s", b, joined)
		}
	})
}

// Whatever a client accepts: it gets what it accepts, or 406 with a Status.
func FuzzNegotiation(f *testing.F) {
	for _, accept := range []string{
		"", "*/*", aggregated, "application/json", "application/yaml;q=0.1, application/json;q=0.9", "application/vnd.kubernetes.protobuf",
		"application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", "text/*", ";;,=", "application/json;as=Table;v=v1;g=meta.k8s.io",
		"application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "application/json;stream=watch;sv=x", "application/json;pretty=1",
	} {
		f.Add(accept, "/apis", "gzip")
	}
	f.Add("*/*", "/openapi/v2", "gzip;q=0")
	f.Add("", "/openapi/v3/api/v1", "")
	f.Add("", "/apis/apps/v1/", "")
	f.Add("x/y", "/version", "")
	s := stock(f, captured(f), ScopeServed, pods, gadgets)
	f.Fuzz(func(t *testing.T, accept, path, encoding string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.Path = path
		r.Header.Set("Accept", accept)
		r.Header.Set("Accept-Encoding", encoding)
		w := httptest.NewRecorder()
		if !s.handler.Serve(w, r) {
			return
		}
		kind, _, _ := strings.Cut(w.Header().Get("Content-Type"), ";")
		switch {
		case w.Code == http.StatusNotAcceptable && strings.HasPrefix(path, "/openapi/"):
		case w.Code == http.StatusNotAcceptable:
			var status struct{ Reason string }
			if json.Unmarshal(w.Body.Bytes(), &status) != nil || status.Reason != "NotAcceptable" {
				t.Fatalf("%s %q: %s", path, accept, w.Body)
			}
		case w.Code != http.StatusOK:
			t.Fatalf("%s %q: %d %s", path, accept, w.Code, w.Body)
		case accept != "" && path != openAPIRoot && !strings.Contains(accept, "*") && !strings.Contains(accept, kind) && !strings.Contains(accept, "proto-openapi"):
			t.Fatalf("%s: %q was asked for, %q came", path, accept, kind)
		case kind == "application/json" && w.Header().Get("Content-Encoding") == "" && !json.Valid(w.Body.Bytes()):
			t.Fatalf("%s %q: %s", path, accept, w.Body)
		}
	})
}

// What becomes protobuf says the same.
func TestProtobuf(t *testing.T) {
	s := stock(t, captured(t), ScopeServed, pods, gadgets)
	for path, kind := range map[string]string{"/api": "APIVersions", "/apis": "APIGroupList", "/apis/example.com": "APIGroup", "/api/v1": "APIResourceList"} {
		w := s.get(path, "Accept", "application/vnd.kubernetes.protobuf, application/json")
		if w.Header().Get("Content-Type") != "application/vnd.kubernetes.protobuf" || !strings.HasPrefix(w.Body.String(), "k8s\x00") || !strings.Contains(w.Body.String(), kind) {
			t.Errorf("%s: %d %v %q", path, w.Code, w.Header(), w.Body)
		}
	}
	for path, accept := range map[string]string{
		"/openapi/v2": "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "/openapi/v3/api/v1": "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
	} {
		w := s.get(path, "Accept", accept)
		if w.Code != 200 || !strings.HasSuffix(w.Header().Get("Content-Type"), ".v1.0+protobuf") || !strings.Contains(w.Body.String(), "core.v1.Pod") || json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
}

func BenchmarkServe(b *testing.B) {
	s := stock(b, captured(b), ScopeServed, pods, gadgets)
	r := httptest.NewRequest(http.MethodGet, "/apis", nil)
	r.Header.Set("Accept", aggregated)
	b.ReportAllocs()
	for b.Loop() {
		s.handler.Serve(httptest.NewRecorder(), r)
	}
}

// A served kind's schema stays though no path leads to it, with what it refers to.
func TestSchemasOfServedKinds(t *testing.T) {
	f := func(form openAPIForm, document, want string) {
		t.Helper()
		got, err := newCutter(Options{Scope: ScopeServed}, []object.Resource{gadgets}).openAPI(form, text(document))
		if err != nil || string(got) != want {
			t.Errorf("got %s, want %s (%v)", got, want, err)
		}
	}
	const gadget = `"a.Gadget":{"x-kubernetes-group-version-kind":[{"group":"other","kind":"Gadget","version":"v1"},{"group":"example.com","kind":"Gadget","version":"v1"}],"$ref":"#/definitions/b"}`
	f(openAPIv2(), `{"paths":{},"definitions":{`+gadget+`,"b":{},"c":{}},"x":1}`, `{"paths":{},"definitions":{`+gadget+`,"b":{}},"x":1}`)
	f(openAPIv2(), `{"paths":{},"definitions":{"a.Gadget":{"x-kubernetes-group-version-kind":[{"group":"other","kind":"Gadget","version":"v1"}]}}}`, `{"paths":{},"definitions":{}}`)
	f(openAPIv3(), `{"paths":{},"components":{"schemas":{"c":{}},"securitySchemes":{"BearerToken":{}}}}`, `{"paths":{},"components":{"schemas":{},"securitySchemes":{"BearerToken":{}}}}`)
}
