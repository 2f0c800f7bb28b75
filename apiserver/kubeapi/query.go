package kubeapi

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// filter selects objects: those that every part agrees to. The zero value is all.
type filter struct {
	labels labels.Selector // nil: any
	fields []fieldTest
}

// fieldTest compares one field of an object.
type fieldTest struct {
	field string
	value string
	not   bool
}

// The fields that objects can be selected by.
const (
	fieldName      = "metadata.name"
	fieldNamespace = "metadata.namespace"
	fieldNode      = "spec.nodeName" // of pods
)

func (t *fieldTest) matches(o *mirror.Object) bool {
	var value string
	switch t.field {
	case fieldName:
		value = o.Key.Name
	case fieldNamespace:
		value = o.Key.Namespace
	case fieldNode:
		value = o.Node
	}
	return (value == t.value) != t.not
}

func (f filter) everything() bool { return f.labels == nil && len(f.fields) == 0 }

func (f filter) matches(o *mirror.Object) bool {
	for i := range f.fields {
		if !f.fields[i].matches(o) {
			return false
		}
	}
	return f.labels == nil || f.labels.Matches(&o.Labels)
}

// value returns what the field must be, if the filter says so.
func (f filter) value(field string) (value string, ok bool) {
	for _, test := range f.fields {
		if test.field == field && !test.not {
			return test.value, true
		}
	}
	return "", false
}

// parseQuery reads a URL's query. It refuses what it cannot read, where
// url.URL.Query drops it silently.
func parseQuery(raw string) (url.Values, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, BadRequest("query %q: %v", raw, err)
	}
	return values, nil
}

// listFilter reads the parameters of a list. Parameters that this server does not
// know are ignored, as the API server does; those that it knows to change the
// answer's meaning, and cannot honour, are refused. A limit alone may be exceeded:
// the API's contract allows a server to ignore it.
func listFilter(values url.Values, r object.Resource) (f filter, err error) {
	if err := refuse(values); err != nil {
		return f, err
	}
	if limit := values.Get("limit"); limit != "" {
		if _, err := strconv.ParseInt(limit, 10, 64); err != nil {
			return f, BadRequest("parameter limit=%q: want an integer", limit)
		}
	}
	if f.labels, err = parseLabels(values.Get("labelSelector")); err != nil {
		return f, BadRequest("%v", err)
	}
	f.fields, err = parseFields(values.Get("fieldSelector"), r)
	return f, err
}

// parseLabels returns nil for a selector of everything.
func parseLabels(text string) (labels.Selector, error) {
	selector, err := labels.Parse(text)
	if err != nil || selector.Empty() {
		return nil, err
	}
	return selector, nil
}

// refuse fails for what would have to change the answer, and cannot.
func refuse(values url.Values) error {
	if watch, given := values["watch"]; given && !isFalse(watch[0]) {
		return notImplemented("watch", watch[0])
	}
	version, match := values.Get("resourceVersion"), values.Get("resourceVersionMatch")
	if version != "" && version != "0" {
		return notImplemented("resourceVersion", version)
	}
	if match != "" && (match != "NotOlderThan" || version != "0") {
		return notImplemented("resourceVersionMatch", match)
	}
	for _, name := range []string{"continue", "sendInitialEvents", "shardSelector"} {
		if value := values.Get(name); value != "" {
			return notImplemented(name, value)
		}
	}
	return nil
}

// isFalse reads a boolean as the API server does: everything else is true.
func isFalse(value string) bool { return value == "0" || strings.EqualFold(value, "false") }

// parseFields reads a field selector.
func parseFields(text string, r object.Resource) ([]fieldTest, error) {
	selector, err := fields.ParseSelector(text)
	if err != nil {
		return nil, BadRequest("parameter fieldSelector=%q: %v", text, err)
	}
	known := []string{fieldName, fieldNamespace}
	if isPods(r) {
		known = append(known, fieldNode)
	}
	var tests []fieldTest
	for _, requirement := range selector.Requirements() {
		if !slices.Contains(known, requirement.Field) {
			return nil, BadRequest("parameter fieldSelector=%q: field label not supported: %s; for %v this server knows %s",
				text, requirement.Field, r, strings.Join(known, ", "))
		}
		tests = append(tests, fieldTest{requirement.Field, requirement.Value, requirement.Operator == selection.NotEquals})
	}
	return tests, nil
}

func isPods(r object.Resource) bool { return r.Group == "" && r.Name == "pods" }
