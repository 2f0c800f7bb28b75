package kubeapi

import (
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi/field"
	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
)

// filter selects objects: those of the namespace that every part agrees to. It is
// for one goroutine.
type filter struct {
	namespace string          // "": any
	labels    labels.Selector // nil: any
	fields    field.Selector
	where     field.PathSelector
	scratch   field.Object
}

// everything says that nothing but the namespace counts.
func (f *filter) everything() bool {
	return f.labels == nil && f.fields.Empty() && f.where.Empty()
}

func (f *filter) matches(o *mirror.Object) bool {
	switch {
	case f.namespace != "" && o.Key.Namespace != f.namespace:
		return false
	case f.labels != nil && !f.labels.Matches(&o.Labels):
		return false
	case !f.fields.Empty():
		f.scratch = field.Object{Namespace: o.Key.Namespace, Name: o.Key.Name, Node: o.Node, Body: o.Body}
		if !f.fields.Matches(&f.scratch) {
			return false
		}
	}
	return f.where.Empty() || f.where.Matches(o.Body)
}

// name is what the objects must be called, if the filter says so.
func (f *filter) name() (string, bool) { return f.fields.Exact("metadata.name") }

// parseLabels returns nil for a selector of everything.
func parseLabels(text string) (labels.Selector, error) {
	selector, err := labels.Parse(text)
	if err != nil || selector.Empty() {
		return nil, err
	}
	return selector, nil
}
