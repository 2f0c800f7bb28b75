package discovery

import (
	"encoding/json"
	"slices"
	"strings"
)

// SelectableFields returns the fields, beside metadata.name and
// metadata.namespace, that field selectors of a custom resource's kind may name,
// as its CRD says ("spec.color"); nil if it names none or is not known. The slice
// is shared: do not write to it. The first call per kind and document costs the
// reading of an OpenAPI document, later ones a look-up.
func (d *Discovery) SelectableFields(group, version, kindName string) []string {
	v := d.current()
	k := kind{group, version, kindName}
	if fields, known := v.fields.Load(k); known {
		return fields.([]string)
	}
	fields, err := v.selectableFields(k)
	if err != nil {
		d.log.Warn("the selectable fields of a kind cannot be read", "group", group, "version", version, "kind", kindName, "err", err)
	}
	v.fields.Store(k, fields)
	return fields
}

func (v *view) selectableFields(k kind) ([]string, error) {
	document, err := v.open(openAPIRoot + listPath(groupVersion(k.Group, k.Version)))
	if document == nil || err != nil {
		return nil, err
	}
	top, err := members(document)
	if err != nil {
		return nil, err
	}
	parts, err := sections(openAPIForm{sections: []string{"components/schemas"}}, top)
	if err != nil {
		return nil, err
	}
	for _, schema := range parts {
		if !slices.Contains(kindsOf(schema), k) {
			continue
		}
		var extension struct {
			Fields []struct{ FieldPath string } `json:"x-kubernetes-selectable-fields"`
		}
		if err := json.Unmarshal(schema, &extension); err != nil {
			return nil, err
		}
		var fields []string
		for _, f := range extension.Fields {
			fields = append(fields, strings.TrimPrefix(f.FieldPath, "."))
		}
		return fields, nil
	}
	return nil, nil
}
