package field

import (
	"fmt"
	"strings"

	"github.com/theory/jsonpath/spec"
	"github.com/tidwall/gjson"
)

// Projection cuts objects down to some of their fields. The zero value keeps whole
// objects.
type Projection struct {
	text string
	root *branch
}

// branch is what to keep of a value.
type branch struct {
	whole   bool               // everything
	members map[string]*branch // of an object
	each    *branch            // of every element of an array
}

// ParseProjection reads the parameter fields: paths between commas, of members and,
// for the elements of arrays, [*] alone.
//
//	status.phase,spec.containers[*].image,metadata.labels['app.kubernetes.io/name']
func ParseProjection(text string) (Projection, error) {
	if strings.TrimSpace(text) == "" {
		return Projection{}, nil
	}
	projection := Projection{text: text, root: &branch{}}
	err := list(text, func(s *scanner) error {
		path, err := s.path()
		if err != nil {
			return err
		}
		return projection.root.keep(path)
	})
	if err != nil {
		return Projection{}, fault(ParameterProjection, text, err,
			"paths of members and [*] between commas, such as status.phase,spec.containers[*].image")
	}
	for _, member := range []string{"kind", "apiVersion"} {
		projection.root.member(member).whole = true
	}
	for _, member := range []string{"name", "namespace", "uid", "resourceVersion"} {
		projection.root.member("metadata").member(member).whole = true
	}
	return projection, nil
}

func (b *branch) member(name string) *branch {
	if b.members == nil {
		b.members = make(map[string]*branch)
	}
	if b.members[name] == nil {
		b.members[name] = &branch{}
	}
	return b.members[name]
}

func (b *branch) keep(path Path) error {
	for _, step := range path.steps {
		if step.members != "" {
			for name := range strings.SplitSeq(step.members, ".") {
				b = b.member(name)
			}
			continue
		}
		if step.descend || len(step.selectors) != 1 {
			return fmt.Errorf("%s has more than members and [*]", path)
		}
		switch selector := step.selectors[0].(type) {
		case spec.Name:
			b = b.member(string(selector))
		case spec.WildcardSelector:
			if b.each == nil {
				b.each = &branch{}
			}
			b = b.each
		default:
			return fmt.Errorf("%s has more than members and [*]", path)
		}
	}
	b.whole = true
	return nil
}

// Empty says whether p keeps whole objects.
func (p Projection) Empty() bool { return p.root == nil }

// String is the projection as it was written.
func (p Projection) String() string { return p.text }

// Append appends to dst the body with only the fields of p and, always, kind,
// apiVersion, and metadata's name, namespace, uid and resourceVersion. Fields keep
// their order and structure: an object or array on the way to a field stays even
// where it is empty then, so that the elements of a [*] keep their positions. What is
// not there, or is not of the path's shape, is left out.
func (p Projection) Append(dst, body []byte) []byte {
	if p.root == nil {
		return append(dst, body...)
	}
	node := gjson.Parse(view(body))
	if !p.root.fits(node) {
		return append(dst, "{}"...)
	}
	return p.root.append(dst, node)
}

// fits says whether there is anything to keep of a value of this shape.
func (b *branch) fits(node gjson.Result) bool {
	return b.whole || b.members != nil && node.IsObject() || b.each != nil && node.IsArray()
}

// append writes what to keep of node, which fits.
func (b *branch) append(dst []byte, node gjson.Result) []byte {
	if b.whole {
		return append(dst, node.Raw...)
	}
	open, closing := byte('{'), byte('}')
	if node.IsArray() {
		open, closing = '[', ']'
	}
	dst = append(dst, open)
	first := true
	node.ForEach(func(key, child gjson.Result) bool {
		next := b.each
		if open == '{' {
			next = b.members[key.Str]
		}
		if next == nil || !next.fits(child) {
			return true
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if open == '{' {
			dst = append(append(dst, key.Raw...), ':')
		}
		dst = next.append(dst, child)
		return true
	})
	return append(dst, closing)
}
