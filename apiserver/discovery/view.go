package discovery

import (
	"bytes"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// layout is part of every ETag: change it when the same documents are cut otherwise.
const layout = "1"

const (
	openAPIRoot   = "/openapi/v3"
	openAPIv2Path = "/openapi/v2"
)

// view is what is answered for one set of documents and of served resources.
type view struct {
	source    Source
	documents *object.Documents
	served    []object.Resource
	cutter    *cutter
	pages     map[string]*page // by path, as in object.Document
	err       error            // what could not be made of the documents

	fields sync.Map // kind → []string, of selectableFields
}

// is says whether v is the view of these.
func (v *view) is(documents *object.Documents, served []object.Resource) bool {
	return v != nil && v.documents == documents && slices.Equal(v.served, served)
}

// newView makes a view. Pages of old that would be the same are taken over.
func newView(source Source, documents *object.Documents, served []object.Resource, options Options, old *view) *view {
	v := &view{
		source: source, documents: documents, served: served,
		cutter: newCutter(options, served), pages: map[string]*page{},
	}
	var known map[string]*page
	if old != nil {
		known = make(map[string]*page, len(old.pages))
		for path, p := range old.pages {
			known[path+" "+p.etag] = p
		}
	}
	add := func(path string, p *page) {
		if same := known[path+" "+p.etag]; same != nil {
			p = same
		}
		v.pages[path] = p
	}
	v.lists(add)
	v.openAPI(add)
	return v
}

// lists adds /version and discovery.
func (v *view) lists(add func(string, *page)) {
	c := v.cutter
	if _, there := v.documents.ByPath["/version"]; there {
		add("/version", v.upstream("/version"))
	}
	if !v.knows("/api") && len(c.ordered) == 0 {
		return // nothing is known of the API
	}
	add("/api", v.cut("/api", "", c.versions))
	add("/apis", v.cut("/apis", "", func(document text) (text, error) {
		list, _, err := c.groups(document)
		return list, err
	}))
	for path, root := range map[string]string{object.AggregatedCore: "/api", object.AggregatedGroups: "/apis"} {
		if v.knows(path) {
			add(path, v.cut(path, "", func(document text) (text, error) { return c.aggregated(document, root) }))
		}
	}
	v.groups(add)
	paths := map[string]string{}
	for path := range v.documents.ByPath {
		if gv, is := groupVersionOf(path); is && c.names(gv) {
			paths[path] = gv
		}
	}
	for _, gv := range c.ordered {
		paths[listPath(gv)] = gv
	}
	for path, gv := range paths {
		add(path, v.cut(path, gv, func(document text) (text, error) { return c.resourceList(gv, document) }))
	}
}

// groups adds /apis/GROUP for each group of /apis.
func (v *view) groups(add func(string, *page)) {
	document, err := v.open("/apis")
	if err != nil {
		v.err = errors.Join(v.err, err)
		document = nil
	}
	_, left, err := v.cutter.groups(document)
	if err != nil {
		v.err = errors.Join(v.err, fmt.Errorf("/apis: %w", err))
		return
	}
	for _, g := range left {
		value, err := apiGroup(g.value)
		if err != nil {
			v.err = errors.Join(v.err, fmt.Errorf("/apis/%s: %w", g.name, err))
			continue
		}
		add("/apis/"+g.name, fixed(hash("/apis/"+g.name, string(value)), value))
	}
}

// apiGroup makes the document of a group of its element of /apis.
func apiGroup(element text) (text, error) {
	fields, err := members(element)
	if err != nil {
		return nil, err
	}
	head := []member{{"kind", text(`"APIGroup"`)}, {"apiVersion", text(`"v1"`)}}
	return line(joinObject(append(head, fields...))), nil
}

// openAPI adds the OpenAPI documents.
func (v *view) openAPI(add func(string, *page)) {
	c := v.cutter
	if v.knows(openAPIv2Path) {
		add(openAPIv2Path, v.cutOpenAPI(openAPIv2Path, "", openAPIv2()))
	}
	if !v.knows(openAPIRoot) {
		return
	}
	type reference struct {
		ServerRelativeURL string `json:"serverRelativeURL"`
	}
	index := struct {
		Paths map[string]reference `json:"paths"`
	}{Paths: map[string]reference{}}
	for path := range v.documents.ByPath {
		name, is := strings.CutPrefix(path, openAPIRoot+"/")
		if !is || !c.servesDocument(name) {
			continue
		}
		gv, _ := groupVersionOf("/" + name)
		p := v.cutOpenAPI(path, gv, openAPIv3())
		add(path, p)
		index.Paths[name] = reference{at(path, p.etag)}
	}
	value := text(bytes.TrimSuffix(marshal(index), []byte("\n")))
	add(openAPIRoot, fixed(hash(openAPIRoot, string(value)), value))
}

// at is where a document of OpenAPI is found for ever.
func at(path, etag string) string { return path + "?hash=" + url.QueryEscape(etag) }

// servesDocument says whether the document that the index of OpenAPI calls name is left.
func (c *cutter) servesDocument(name string) bool {
	if c.scope != ScopeServed || slices.Contains([]string{"version", "api", "apis"}, name) {
		return true
	}
	if gv, is := groupVersionOf("/" + name); is {
		return len(c.served[gv]) > 0
	}
	group, is := strings.CutPrefix(name, "apis/")
	return is && slices.ContainsFunc(c.ordered, func(gv string) bool { return strings.HasPrefix(gv, group+"/") })
}

// groupVersionOf reads "/api/v1" and "/apis/apps/v1".
func groupVersionOf(path string) (gv string, is bool) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	switch {
	case len(parts) == 2 && parts[0] == "api":
		return parts[1], true
	case len(parts) == 3 && parts[0] == "apis":
		return parts[1] + "/" + parts[2], true
	}
	return "", false
}

func listPath(gv string) string {
	if strings.Contains(gv, "/") {
		return "/apis/" + gv
	}
	return "/api/" + gv
}

func (v *view) knows(path string) bool {
	_, there := v.documents.ByPath[path]
	return there
}

// open returns the API server's document at path, nil if there is none.
func (v *view) open(path string) (text, error) {
	packed, there := v.documents.ByPath[path]
	if !there {
		return nil, nil
	}
	value, err := v.source.UnpackDocument(packed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return value, nil
}

// upstream is the page of a document that is not cut.
func (v *view) upstream(path string) *page {
	return newPage(v.documents.ByPath[path].Revision, func() (text, error) { return v.open(path) })
}

// cut is the page of a document of discovery that f cuts; it depends on what is
// served of gv, of everything if that is "".
func (v *view) cut(path, gv string, f func(text) (text, error)) *page {
	if v.cutter.scope == ScopeAll && v.knows(path) {
		return v.supplement(path, gv, f)
	}
	return newPage(v.etag(path, gv), func() (text, error) {
		document, err := v.open(path)
		if err != nil {
			return nil, err
		}
		value, err := f(document)
		if err != nil {
			return nil, fmt.Errorf("cut %s: %w", path, err)
		}
		return line(value), nil
	})
}

// supplement is the page of a document that stays the API server's, its ETag
// included, unless f adds to it.
func (v *view) supplement(path, gv string, f func(text) (text, error)) *page {
	document, err := v.open(path)
	var value text
	if err == nil {
		value, err = f(document)
	}
	switch {
	case err != nil:
		v.err = errors.Join(v.err, fmt.Errorf("%s: %w", path, err))
		return v.upstream(path)
	case bytes.Equal(bytes.TrimSpace(document), value):
		return v.upstream(path)
	}
	return fixed(v.etag(path, gv), line(value))
}

func (v *view) cutOpenAPI(path, gv string, form openAPIForm) *page {
	if v.cutter.scope == ScopeAll {
		return v.upstream(path)
	}
	return newPage(v.etag(path, gv), func() (text, error) {
		document, err := v.open(path)
		if err != nil {
			return nil, err
		}
		value, err := v.cutter.openAPI(form, document)
		if err != nil {
			return nil, fmt.Errorf("cut %s: %w", path, err)
		}
		return value, nil
	})
}

// etag names what a cut document is made of; that costs less than making it.
// It is the same in every process.
func (v *view) etag(path, gv string) string {
	served := v.served
	if gv != "" {
		served = v.cutter.served[gv]
	}
	return hash(path, v.documents.ByPath[path].Revision, fmt.Sprint(v.cutter.scope), string(marshal(served)))
}

// hash has the form of the API server's own.
func hash(parts ...string) string {
	h := sha512.New()
	encoder := json.NewEncoder(h)
	if err := encoder.Encode(append(parts, layout)); err != nil {
		panic("BUG: hash strings: " + err.Error())
	}
	return fmt.Sprintf("%X", h.Sum(nil))
}

// line ends a document as the API server does.
func line(value text) text { return append(bytes.TrimSuffix(value, []byte("\n")), '\n') }
