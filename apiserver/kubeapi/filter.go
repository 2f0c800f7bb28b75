package kubeapi

import (
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi/field"
	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
)

// filter selects objects: those of the namespace that every part agrees to. It is
// for one goroutine.
type filter struct {
	namespace string           // "": any
	labels    labels.Selector  // nil: any
	mask      mirror.LabelMask // of labels that labels requires
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
	case f.labels != nil && (!o.MayHave(f.mask) || !f.labels.Matches(&o.Labels)):
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

// selectLabels makes the filter take what selector selects; nil is everything.
func (f *filter) selectLabels(selector labels.Selector) {
	f.labels, f.mask = selector, 0
	if selector == nil {
		return
	}
	requirements, _ := selector.Requirements()
	for _, r := range requirements {
		switch values := r.ValuesUnsorted(); r.Operator() {
		case selection.Equals, selection.DoubleEquals, selection.In:
			if len(values) == 1 {
				f.mask |= mirror.MaskOf(r.Key(), values[0])
			}
		}
	}
}

// parseLabels returns nil for a selector of everything.
func parseLabels(text string) (labels.Selector, error) {
	selector, err := labels.Parse(text)
	if err != nil || selector.Empty() {
		return nil, err
	}
	return selector, nil
}
