package field

import (
	"errors"
	"strings"

	"github.com/tidwall/gjson"
	"k8s.io/apimachinery/pkg/labels"
)

// Grouping says into which group an object counts.
type Grouping struct {
	text  string
	label string // the label's key, if it groups by a label
	path  Path   // otherwise, unless text is one of the words
}

// ParseGrouping reads the parameter by: node, phase, namespace, label:KEY or any path
// that ParsePath takes (".node" is the path, "node" the word).
func ParseGrouping(text string) (Grouping, error) {
	const want = "node, phase, namespace, label:KEY or a path such as spec.schedulerName"
	switch text {
	case "node", "phase", "namespace":
		return Grouping{text: text}, nil
	case "":
		return Grouping{}, fault(ParameterGrouping, text, errors.New("unexpected end"), want)
	}
	if key, found := strings.CutPrefix(text, "label:"); found {
		if key == "" || len(key) > MaxPath {
			return Grouping{}, fault(ParameterGrouping, text, errors.New("want a label's key after the colon"), want)
		}
		return Grouping{text: text, label: key}, nil
	}
	s := scanner{text: text}
	path, err := s.path()
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return Grouping{}, fault(ParameterGrouping, text, err, want)
	}
	return Grouping{text: text, path: path}, nil
}

// Key returns the object's group. It is "" where the object has no such label, node,
// phase or field. An object counts into one group: several values at a path are
// joined by commas, in the order of the body.
func (g Grouping) Key(o *Object, of labels.Labels) string {
	switch {
	case g.label != "":
		return of.Get(g.label)
	case g.path.steps != nil:
		return g.path.join(o.Body)
	case g.text == "node":
		return o.Node
	case g.text == "namespace":
		return o.Namespace
	}
	return gjson.Get(view(o.Body), "status.phase").Str
}

// String is the grouping as it was written.
func (g Grouping) String() string { return g.text }

func (p Path) join(body []byte) string {
	var joined string
	for i, value := range p.Values(body) {
		if i > 0 {
			joined += ","
		}
		joined += value.String()
	}
	return joined
}
