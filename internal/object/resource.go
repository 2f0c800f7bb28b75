package object

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Resource is one kind of thing that the API server serves and KRM watches. It
// is comparable: use it as a map key. Discovery fills every field; a Resource
// made by ParseResource has only Group, Version and Name.
type Resource struct {
	Group      string `json:"group,omitempty"`   // "" is the core group
	Version    string `json:"version,omitempty"` // "v1"; the server's preferred one unless asked otherwise
	Name       string `json:"name"`              // plural, lower case: "pods"
	Kind       string `json:"kind,omitempty"`    // "Pod"
	Singular   string `json:"singular,omitempty"`
	Short      string `json:"short,omitempty"` // short names, joined by commas: "po"
	Namespaced bool   `json:"namespaced,omitempty"`
}

// Answers says whether users may mean r by name: "deployments.apps",
// "deployments", "deployment", "deploy", "deployment.apps".
func (r Resource) Answers(name string) bool {
	if r.Group != "" {
		name = strings.TrimSuffix(name, "."+r.Group)
	}
	return name != "" && (name == r.Name || name == r.Singular || slices.Contains(strings.Split(r.Short, ","), name))
}

// String is the resource's name as users write it and as it stands in keys,
// labels and logs: "pods", "deployments.apps".
func (r Resource) String() string {
	if r.Group == "" {
		return r.Name
	}
	return r.Name + "." + r.Group
}

// GroupVersion is "v1" or "apps/v1".
func (r Resource) GroupVersion() string {
	if r.Group == "" {
		return r.Version
	}
	return r.Group + "/" + r.Version
}

// Path is where the API server serves the resource's collection: all of it if
// namespace is "", else that namespace's part.
func (r Resource) Path(namespace string) string {
	root := "/apis/"
	if r.Group == "" {
		root = "/api/"
	}
	if namespace == "" || !r.Namespaced {
		return root + r.GroupVersion() + "/" + r.Name
	}
	return root + r.GroupVersion() + "/namespaces/" + namespace + "/" + r.Name
}

// Compare orders resources by group, then name.
func (r Resource) Compare(other Resource) int {
	return cmp.Or(strings.Compare(r.Group, other.Group), strings.Compare(r.Name, other.Name))
}

var resourceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// ParseResource reads "pods", "deploy", "deployments.apps" or
// "deployments.v1.apps" as kubectl does. What it returns is a question to
// discovery: the name may be a short or singular one, and Version may be "".
func ParseResource(text string) (Resource, error) {
	if !resourceName.MatchString(text) {
		return Resource{}, fmt.Errorf("resource %q: want NAME, NAME.GROUP or NAME.VERSION.GROUP in lower case, such as pods or deployments.apps", text)
	}
	name, rest, found := strings.Cut(text, ".")
	if !found {
		return Resource{Name: name}, nil
	}
	if version, group, found := strings.Cut(rest, "."); found && apiVersion.MatchString(version) {
		return Resource{Name: name, Version: version, Group: group}, nil
	}
	return Resource{Name: name, Group: rest}, nil
}

var apiVersion = regexp.MustCompile(`^v[0-9]+((alpha|beta)[0-9]+)?$`)
