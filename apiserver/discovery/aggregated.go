package discovery

import (
	"slices"
	"strings"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// aggregated cuts an APIGroupDiscoveryList of root, which is /api or /apis.
func (c *cutter) aggregated(document text, root string) (text, error) {
	fields, err := members(document)
	if err != nil {
		return nil, err
	}
	items, err := elements(get(fields, "items"))
	if err != nil {
		return nil, err
	}
	var left []text
	named := map[string]bool{}
	for _, item := range items {
		name, value, err := c.aggregatedGroup(item)
		if err != nil {
			return nil, err
		}
		named[name] = true
		if value != nil {
			left = append(left, value)
		}
	}
	for _, gv := range c.ordered {
		name, _ := splitGroupVersion(gv)
		if named[name] || (name == "") != (root == "/api") {
			continue
		}
		named[name] = true
		_, value, err := c.aggregatedGroup(marshal(apidiscovery.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: name}}))
		if err != nil {
			return nil, err
		}
		if value != nil {
			left = append(left, value)
		}
	}
	return joinObject(set(fields, "items", joinArray(left))), nil
}

// aggregatedGroup cuts one item; value is nil if nothing is left.
func (c *cutter) aggregatedGroup(item text) (name string, value text, err error) {
	fields, err := members(item)
	if err != nil {
		return "", nil, err
	}
	meta, err := members(get(fields, "metadata"))
	if err != nil {
		return "", nil, err
	}
	name = str(get(meta, "name"))
	var versions, left []text
	if array := get(fields, "versions"); array != nil {
		if versions, err = elements(array); err != nil {
			return "", nil, err
		}
	}
	named := map[string]bool{}
	for _, e := range versions {
		version, err := members(e)
		if err != nil {
			return "", nil, err
		}
		gv := groupVersion(name, str(get(version, "version")))
		named[gv] = true
		if c.names(gv) {
			cut, err := c.aggregatedVersion(gv, version)
			if err != nil {
				return "", nil, err
			}
			left = append(left, cut)
		}
	}
	for _, gv := range c.ordered {
		group, version := splitGroupVersion(gv)
		if group != name || named[gv] {
			continue
		}
		cut, err := c.aggregatedVersion(gv, []member{{"version", quoted(version)}, {"resources", text("[]")}, {"freshness", text(`"Current"`)}})
		if err != nil {
			return "", nil, err
		}
		left = append(left, cut)
	}
	if len(left) == 0 {
		return name, nil, nil
	}
	return name, joinObject(set(fields, "versions", joinArray(left))), nil
}

// aggregatedVersion cuts the resources of one version. What KRM serves is not
// stale when the group's own server is away, whatever the API server said of it.
func (c *cutter) aggregatedVersion(gv string, fields []member) (text, error) {
	array := get(fields, "resources")
	if array == nil {
		array = text("[]")
	}
	left, err := c.resources(gv, array, "resource", func(r object.Resource) text {
		scope := apidiscovery.ScopeCluster
		if r.Namespaced {
			scope = apidiscovery.ScopeNamespace
		}
		return marshal(apidiscovery.APIResourceDiscovery{
			Resource: r.Name, ResponseKind: &metav1.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}, Scope: scope,
			SingularResource: r.Singular, Verbs: c.reading(gv), ShortNames: shortNames(r),
		})
	})
	if err != nil {
		return nil, err
	}
	fields = set(fields, "resources", left)
	if c.scope == ScopeServed {
		fields = set(fields, "freshness", text(`"Current"`))
	}
	return joinObject(fields), nil
}

func groupVersion(group, version string) string {
	if group == "" {
		return version
	}
	return group + "/" + version
}

func splitGroupVersion(gv string) (group, version string) {
	group, version, found := strings.Cut(gv, "/")
	if !found {
		return "", gv
	}
	return group, version
}

// subresources cuts those of an aggregated resource.
func (c *cutter) subresources(gv, resource string, fields []member) ([]member, error) {
	array := get(fields, "subresources")
	if array == nil {
		return fields, nil
	}
	all, err := elements(array)
	if err != nil {
		return nil, err
	}
	var left []text
	for _, e := range all {
		sub, err := members(e)
		if err != nil {
			return nil, err
		}
		if verbs := c.verbs(gv, resource+"/"+str(get(sub, "subresource")), get(sub, "verbs")); verbs != nil {
			left = append(left, joinObject(set(sub, "verbs", verbs)))
		}
	}
	if left == nil {
		return slices.DeleteFunc(fields, func(m member) bool { return m.name == "subresources" }), nil
	}
	return set(fields, "subresources", joinArray(left)), nil
}
