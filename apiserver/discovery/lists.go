package discovery

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// reading are the verbs of what KRM mirrors.
func reading() []string { return []string{"get", "list", "watch"} }

// reading are the verbs of what KRM serves of gv.
func (c *cutter) reading(gv string) []string {
	if group, _ := splitGroupVersion(gv); slices.Contains(c.unwatched, group) {
		return []string{"get", "list"}
	}
	return reading()
}

// cutter cuts discovery's documents.
type cutter struct {
	scope     Scope
	unwatched []string                     // groups
	served    map[string][]object.Resource // by group and version: "v1", "apps/v1"
	ordered   []string                     // sorted, those of which we know enough to add them
}

func newCutter(options Options, served []object.Resource) *cutter {
	c := &cutter{scope: options.Scope, unwatched: options.Unwatched, served: map[string][]object.Resource{}}
	for _, r := range served {
		gv := r.GroupVersion()
		if r.Kind != "" && !slices.Contains(c.ordered, gv) {
			c.ordered = append(c.ordered, gv)
		}
		c.served[gv] = append(c.served[gv], r)
	}
	slices.Sort(c.ordered)
	return c
}

// names says whether resources of gv are left.
func (c *cutter) names(gv string) bool { return c.scope != ScopeServed || len(c.served[gv]) > 0 }

// verbs returns the verbs that are left of those of a resource or subresource, nil
// if it is left out.
func (c *cutter) verbs(gv, name string, upstream text) text {
	if c.scope == ScopeAll {
		return upstream
	}
	if slices.ContainsFunc(c.served[gv], func(r object.Resource) bool { return r.Name == name }) {
		return marshal(c.reading(gv))
	}
	if c.scope == ScopeServed {
		return nil
	}
	var all, left []string
	if json.Unmarshal(upstream, &all) != nil {
		return nil
	}
	for _, verb := range reading() {
		if slices.Contains(all, verb) {
			left = append(left, verb)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return marshal(left)
}

// resources cuts an array of resources, plain or aggregated; nameField is where an
// element has its name. add makes the element of a resource that the array lacks.
func (c *cutter) resources(gv string, array text, nameField string, add func(object.Resource) text) (text, error) {
	all, err := elements(array)
	if err != nil {
		return nil, err
	}
	var left []text
	named := map[string]bool{}
	for _, e := range all {
		fields, err := members(e)
		if err != nil {
			return nil, err
		}
		name := str(get(fields, nameField))
		named[name] = true
		verbs := c.verbs(gv, name, get(fields, "verbs"))
		if verbs == nil {
			continue
		}
		if c.scope != ScopeAll {
			if fields, err = c.subresources(gv, name, set(fields, "verbs", verbs)); err != nil {
				return nil, err
			}
			e = joinObject(fields)
		}
		left = append(left, e)
	}
	for _, r := range c.served[gv] {
		if !named[r.Name] && r.Kind != "" {
			left = append(left, add(r))
		}
	}
	return joinArray(left), nil
}

// resourceList cuts an APIResourceList; nil is one that is not there yet.
func (c *cutter) resourceList(gv string, list text) (text, error) {
	if list == nil {
		version := `"apiVersion":"v1",`
		if !strings.Contains(gv, "/") {
			version = "" // the core group's list has none
		}
		list = text(fmt.Sprintf(`{"kind":"APIResourceList",%s"groupVersion":%s,"resources":[]}`, version, quoted(gv)))
	}
	fields, err := members(list)
	if err != nil {
		return nil, err
	}
	left, err := c.resources(gv, get(fields, "resources"), "name", func(r object.Resource) text {
		return marshal(metav1.APIResource{
			Name: r.Name, SingularName: r.Singular, Namespaced: r.Namespaced, Kind: r.Kind, Verbs: c.reading(gv), ShortNames: shortNames(r),
		})
	})
	if err != nil {
		return nil, err
	}
	return joinObject(set(fields, "resources", left)), nil
}

func shortNames(r object.Resource) []string {
	if r.Short == "" {
		return nil
	}
	return strings.Split(r.Short, ",")
}

// versions cuts /api; nil is one that is not there yet.
func (c *cutter) versions(document text) (text, error) {
	if document == nil {
		document = text(`{"kind":"APIVersions","versions":[],"serverAddressByClientCIDRs":[]}`)
	}
	fields, err := members(document)
	if err != nil {
		return nil, err
	}
	all, err := elements(get(fields, "versions"))
	if err != nil {
		return nil, err
	}
	var left []text
	named := map[string]bool{}
	for _, e := range all {
		version := str(e)
		named[version] = true
		if c.names(version) {
			left = append(left, e)
		}
	}
	for _, gv := range c.ordered {
		if !strings.Contains(gv, "/") && !named[gv] {
			left = append(left, quoted(gv))
		}
	}
	return joinObject(set(fields, "versions", joinArray(left))), nil
}

// group is one group of /apis, as text.
type group struct {
	name  string
	value text
}

// groups cuts /apis; nil is one that is not there yet.
func (c *cutter) groups(document text) (list text, left []group, err error) {
	if document == nil {
		document = text(`{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`)
	}
	fields, err := members(document)
	if err != nil {
		return nil, nil, err
	}
	all, err := elements(get(fields, "groups"))
	if err != nil {
		return nil, nil, err
	}
	named := map[string]bool{}
	for _, e := range all {
		g, err := c.group(e)
		if err != nil {
			return nil, nil, err
		}
		named[g.name] = true
		if g.value != nil {
			left = append(left, g)
		}
	}
	for _, gv := range c.ordered {
		name, _, found := strings.Cut(gv, "/")
		if !found || named[name] {
			continue
		}
		named[name] = true
		g, err := c.group(marshal(metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{}}))
		if err != nil {
			return nil, nil, err
		}
		left = append(left, g)
	}
	var texts []text
	for _, g := range left {
		texts = append(texts, g.value)
	}
	return joinObject(set(fields, "groups", joinArray(texts))), left, nil
}

// group cuts one group; its value is nil if nothing is left.
func (c *cutter) group(value text) (g group, err error) {
	fields, err := members(value)
	if err != nil {
		return g, err
	}
	g.name = str(get(fields, "name"))
	all, err := elements(get(fields, "versions"))
	if err != nil {
		return g, err
	}
	preferred, err := versionOf(get(fields, "preferredVersion"))
	if err != nil {
		return g, err
	}
	var left []text
	named := map[string]bool{}
	hasPreferred := false
	for _, e := range all {
		gv, err := versionOf(e)
		if err != nil {
			return g, err
		}
		named[gv] = true
		if c.names(gv) {
			left = append(left, e)
			hasPreferred = hasPreferred || gv == preferred
		}
	}
	for _, gv := range c.ordered {
		if name, version, found := strings.Cut(gv, "/"); found && name == g.name && !named[gv] {
			left = append(left, marshal(metav1.GroupVersionForDiscovery{GroupVersion: gv, Version: version}))
		}
	}
	if len(left) == 0 {
		return g, nil
	}
	fields = set(fields, "versions", joinArray(left))
	if !hasPreferred {
		fields = set(fields, "preferredVersion", left[0])
	}
	g.value = joinObject(fields)
	return g, nil
}

// versionOf returns the groupVersion of a GroupVersionForDiscovery, "" of none.
func versionOf(v text) (string, error) {
	if v == nil {
		return "", nil
	}
	fields, err := members(v)
	return str(get(fields, "groupVersion")), err
}

// marshal is json.Marshal of what cannot fail.
func marshal(v any) text {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: encode discovery: " + err.Error())
	}
	return b
}
