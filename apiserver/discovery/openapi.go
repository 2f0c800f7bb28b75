package discovery

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// openAPIForm is what differs between the two versions of OpenAPI.
type openAPIForm struct {
	sections []string // where the parts of a document that others refer to lie, from its root
	schemas  string   // the one with the schemas
	always   []string // what is kept though nothing refers to it
}

func openAPIv2() openAPIForm {
	return openAPIForm{sections: []string{"definitions", "parameters", "responses"}, schemas: "definitions"}
}

func openAPIv3() openAPIForm {
	return openAPIForm{
		sections: []string{
			"components/schemas", "components/responses", "components/parameters", "components/examples", "components/requestBodies",
			"components/headers", "components/securitySchemes", "components/links", "components/callbacks",
		},
		schemas: "components/schemas",
		always:  []string{"components/securitySchemes"},
	}
}

// openAPI cuts an OpenAPI document to what can be read: the operation GET of the
// paths of what is served, the schemas of the served kinds, and all that these
// refer to, directly or not.
func (c *cutter) openAPI(form openAPIForm, document text) (text, error) {
	if c.scope == ScopeAll {
		return document, nil
	}
	top, err := members(document)
	if err != nil {
		return nil, err
	}
	paths, err := c.paths(get(top, "paths"))
	if err != nil {
		return nil, err
	}
	top = set(top, "paths", paths)
	parts, err := sections(form, top)
	if err != nil {
		return nil, err
	}
	kept := map[string]bool{}
	var queue []text
	keep := func(pointer string, value text) {
		if !kept[pointer] {
			kept[pointer] = true
			queue = append(queue, value)
		}
	}
	queue = append(queue, paths)
	for pointer, value := range parts {
		section, _ := cutPointer(pointer)
		if slices.Contains(form.always, section) || section == form.schemas && c.ofServedKind(value) {
			keep(pointer, value)
		}
	}
	for len(queue) > 0 {
		value := queue[0]
		queue = queue[1:]
		for _, pointer := range references(value) {
			if target := form.part(pointer); parts[target] != nil {
				keep(target, parts[target])
			}
		}
	}
	return prune(form, top, kept)
}

// part returns which part of a document a reference points into, "" if into none.
func (f openAPIForm) part(pointer string) string {
	for _, section := range f.sections {
		if rest, found := strings.CutPrefix(pointer, section+"/"); found {
			name, _, _ := strings.Cut(rest, "/")
			return section + "/" + strings.NewReplacer("~1", "/", "~0", "~").Replace(name)
		}
	}
	return ""
}

// sections returns what can be referred to, by pointer: "definitions/NAME".
func sections(form openAPIForm, top []member) (map[string]text, error) {
	parts := map[string]text{}
	for _, section := range form.sections {
		holder, name, nested := strings.Cut(section, "/")
		all := top
		if nested {
			outer := get(top, holder)
			if outer == nil {
				continue
			}
			var err error
			if all, err = members(outer); err != nil {
				return nil, err
			}
		} else {
			name = holder
		}
		value := get(all, name)
		if value == nil {
			continue
		}
		entries, err := members(value)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			parts[section+"/"+e.name] = e.value
		}
	}
	return parts, nil
}

// cutPointer splits a pointer of sections into section and name.
func cutPointer(pointer string) (section, name string) {
	section, name, _ = strings.Cut(pointer, "/")
	if section == "components" {
		inner, rest, _ := strings.Cut(name, "/")
		return section + "/" + inner, rest
	}
	return section, name
}

// prune removes from the sections what is not kept.
func prune(form openAPIForm, top []member, kept map[string]bool) (text, error) {
	for i, m := range top {
		value, err := pruneSection(form, m.name, m.value, kept)
		if m.name == "components" {
			value, err = pruneComponents(form, m.value, kept)
		}
		if err != nil {
			return nil, err
		}
		top[i].value = value
	}
	return joinObject(top), nil
}

func pruneComponents(form openAPIForm, value text, kept map[string]bool) (text, error) {
	all, err := members(value)
	if err != nil {
		return nil, err
	}
	for i, m := range all {
		if all[i].value, err = pruneSection(form, "components/"+m.name, m.value, kept); err != nil {
			return nil, err
		}
	}
	return joinObject(all), nil
}

func pruneSection(form openAPIForm, section string, value text, kept map[string]bool) (text, error) {
	if !slices.Contains(form.sections, section) {
		return value, nil
	}
	all, err := members(value)
	if err != nil {
		return nil, err
	}
	return joinObject(slices.DeleteFunc(all, func(m member) bool { return !kept[section+"/"+m.name] })), nil
}

// paths cuts the paths of a document and their operations.
func (c *cutter) paths(value text) (text, error) {
	if value == nil {
		return text("{}"), nil
	}
	all, err := members(value)
	if err != nil {
		return nil, err
	}
	var left []member
	for _, p := range all {
		if !c.servesPath(p.name) {
			continue
		}
		operations, err := members(p.value)
		if err != nil {
			return nil, err
		}
		operations = slices.DeleteFunc(operations, func(m member) bool { return writes(m.name) })
		if get(operations, "get") != nil {
			left = append(left, member{p.name, joinObject(operations)})
		}
	}
	return joinObject(left), nil
}

func writes(operation string) bool {
	return slices.Contains([]string{"put", "post", "delete", "options", "head", "patch", "trace"}, operation)
}

// servesPath says whether a path of OpenAPI, such as
// "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", is left.
func (c *cutter) servesPath(path string) bool {
	if c.scope != ScopeServed {
		return true
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) == 1:
		return slices.Contains([]string{"version", "api", "apis"}, parts[0])
	case parts[0] == "api":
		return c.servesBelow(parts[1], parts[2:])
	case parts[0] == "apis" && len(parts) == 2:
		return slices.ContainsFunc(c.ordered, func(gv string) bool { return strings.HasPrefix(gv, parts[1]+"/") })
	case parts[0] == "apis":
		return c.servesBelow(parts[1]+"/"+parts[2], parts[3:])
	}
	return false
}

func (c *cutter) servesBelow(gv string, rest []string) bool {
	if len(rest) == 0 {
		return c.names(gv)
	}
	if len(rest) > 2 && rest[0] == "namespaces" && rest[1] == "{namespace}" {
		rest = rest[2:]
	}
	return len(rest) <= 2 && slices.ContainsFunc(c.served[gv], func(r object.Resource) bool { return r.Name == rest[0] }) &&
		(len(rest) == 1 || rest[1] == "{name}")
}

// ofServedKind says whether a schema is that of a served kind or its list.
func (c *cutter) ofServedKind(schema text) bool {
	if c.scope != ScopeServed {
		return bytes.Contains(schema, []byte(kindExtension))
	}
	for _, k := range kindsOf(schema) {
		for _, r := range c.served[groupVersion(k.Group, k.Version)] {
			if r.Kind == k.Kind || r.Kind+"List" == k.Kind {
				return true
			}
		}
	}
	return false
}

const kindExtension = `"x-kubernetes-group-version-kind"`

type kind struct{ Group, Version, Kind string }

// kindsOf returns the kinds that a schema says it is of.
func kindsOf(schema text) []kind {
	if !bytes.Contains(schema, []byte(kindExtension)) {
		return nil
	}
	var extension struct {
		Kinds json.RawMessage `json:"x-kubernetes-group-version-kind"`
	}
	if json.Unmarshal(schema, &extension) != nil {
		return nil
	}
	var kinds []kind
	if json.Unmarshal(extension.Kinds, &kinds) != nil {
		return nil
	}
	return kinds
}

// references returns the pointers of all references within value. It looks at
// text: a quotation mark within a string has a backslash before it, so that
// no description can be taken for a reference.
func references(value text) (pointers []string) {
	const key = `"$ref"`
	for {
		at := bytes.Index(value, []byte(key))
		if at < 0 {
			return pointers
		}
		value = bytes.TrimLeft(value[at+len(key):], " \t\r\n")
		if len(value) == 0 || value[0] != ':' {
			continue
		}
		value = bytes.TrimLeft(value[1:], " \t\r\n")
		if len(value) == 0 || value[0] != '"' {
			continue // a property that is called $ref
		}
		end := 1
		for end < len(value) && value[end] != '"' {
			if value[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(value) {
			return pointers
		}
		if pointer, local := strings.CutPrefix(str(value[:end+1]), "#/"); local {
			pointers = append(pointers, pointer)
		}
		value = value[end+1:]
	}
}
