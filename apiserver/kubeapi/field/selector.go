package field

import (
	"unsafe"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Object is what selectors and groupings look at. Namespace, Name and Node stand
// beside the body so that the commonest questions need not touch it.
type Object struct {
	Namespace string // "" for cluster-scoped resources
	Name      string
	Node      string // spec.nodeName of a pod; "" for everything else
	Body      []byte // the object as JSON; never written to
}

// Selector is a parsed fieldSelector of one resource. The zero value selects
// everything.
type Selector struct {
	text  string
	terms []term
}

type term struct {
	label string // as kube-apiserver calls it within: spec.nodeName where the client wrote spec.host
	value string
	not   bool
	read  reader
}

// Parse reads a fieldSelector as kube-apiserver 1.36 does for r, which must have
// Group, Version, Name and Namespaced. extra are the JSON paths of the
// selectableFields that the CRD of r gives for that version, such as ".spec.color".
// The error's text, code and reason are kube-apiserver's.
func Parse(text string, r object.Resource, extra []string) (Selector, error) {
	if text == "" {
		return Selector{}, nil
	}
	parsed, err := fields.ParseSelector(text)
	if err != nil {
		return Selector{}, apierrors.NewBadRequest(err.Error())
	}
	known := supported(r, extra)
	parsed, err = parsed.Transform(known.convert)
	if err != nil {
		return Selector{}, apierrors.NewBadRequest(err.Error())
	}
	if parsed.Empty() {
		return Selector{}, nil
	}
	s := Selector{text: parsed.String()}
	for _, requirement := range parsed.Requirements() {
		s.terms = append(s.terms, term{
			label: requirement.Field,
			value: requirement.Value,
			not:   requirement.Operator == selection.NotEquals,
			read:  known.readers[requirement.Field],
		})
	}
	return s, nil
}

// Matches says whether every requirement agrees to o. It costs a comparison for
// metadata.name, metadata.namespace and a pod's spec.nodeName, and a scan of the
// body up to the field for the others. It does not allocate unless the field's text
// is escaped in the body.
func (s *Selector) Matches(o *Object) bool {
	for i := range s.terms {
		t := &s.terms[i]
		if (t.read(o) == t.value) == t.not {
			return false
		}
	}
	return true
}

// Exact returns the value that the field must have, if s requires one: a selector
// of metadata.name=x is a read of x. label is kube-apiserver's inner one:
// "involvedObject.name" for events of both groups. Whether other requirements hold
// is still for Matches to say.
func (s *Selector) Exact(label string) (value string, ok bool) {
	for i := range s.terms {
		if t := &s.terms[i]; t.label == label && !t.not {
			return t.value, true
		}
	}
	return "", false
}

// Empty says whether s selects everything.
func (s *Selector) Empty() bool { return len(s.terms) == 0 }

// String is the selector in its normal form: requirements sorted, "==" as "=".
func (s *Selector) String() string { return s.text }

// view returns body as a string without a copy. It is safe because bodies are never
// written to.
func view(body []byte) string { return unsafe.String(unsafe.SliceData(body), len(body)) }
