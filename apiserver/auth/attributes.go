package auth

import (
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
)

// AttributesOf says what a request to one of the Kubernetes API's paths asks for,
// as the API server would understand it. Paths of anything else give their Path.
// https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb
func AttributesOf(r *http.Request) Attributes {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	a := Attributes{Verb: strings.ToLower(r.Method), Path: r.URL.Path}
	switch {
	case parts[0] == "api" && len(parts) >= 3:
		parts = parts[1:]
	case parts[0] == "apis" && len(parts) >= 4:
		a.Group, parts = parts[1], parts[2:]
	default:
		return a
	}
	a.Path, a.Version, parts = "", parts[0], parts[1:]
	a.Verb = verbs[r.Method]
	if parts[0] == "watch" || parts[0] == "proxy" { // the old way of asking, the verb in the path
		a.Verb, parts = parts[0], parts[1:]
	}
	if len(parts) > 1 && parts[0] == "namespaces" {
		a.Namespace = parts[1]
		if len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
			parts = parts[2:]
		}
	}
	// A path without one, as with two slashes, must not pass for a document that
	// everyone may read: it takes a right to all resources.
	a.Resource = "*"
	if len(parts) > 0 && parts[0] != "" {
		a.Resource = parts[0]
	}
	if len(parts) > 1 {
		a.Name = parts[1]
	}
	if len(parts) > 2 && a.Verb != "proxy" {
		a.Subresource = parts[2]
	}
	if a.Name == "" {
		a.collection(r)
	}
	return a
}

var verbs = map[string]string{
	http.MethodGet: "get", http.MethodHead: "get", http.MethodPost: "create",
	http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
}

// collection corrects the verb of a request that names no object. A field selector
// may do so instead.
func (a *Attributes) collection(r *http.Request) {
	switch a.Verb {
	case "delete":
		a.Verb = "deletecollection"
	case "get":
		query := r.URL.Query()
		a.Verb = "list"
		if watch := query.Get("watch"); query.Has("watch") && watch != "0" && !strings.EqualFold(watch, "false") {
			a.Verb = "watch"
		}
		if selector, err := fields.ParseSelector(query.Get("fieldSelector")); err == nil {
			if name, ok := selector.RequiresExactMatch("metadata.name"); ok && !strings.ContainsAny(name, "/%") && name != "." && name != ".." {
				a.Name = name
			}
		}
	}
}
