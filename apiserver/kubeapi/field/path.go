package field

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/theory/jsonpath/spec"
	"github.com/tidwall/gjson"
)

const (
	// MaxPath bounds the text of one path, in bytes.
	MaxPath = 1024
	// MaxParameter bounds a parameter that is made of paths, in bytes.
	MaxParameter = 4096

	maxSteps    = 64  // of one path
	maxNest     = 8   // of brackets and parentheses in one path
	maxUnion    = 16  // selectors in one pair of brackets
	maxQueries  = 16  // @ and $ in the filters of one parameter
	maxDescents = 4   // ".." in one parameter; a path has one at most
	maxDepth    = 128 // of a body, below which ".." does not look
)

// Path finds values in a body. It is comparable to nothing: keep its text instead.
type Path struct {
	text  string
	steps []step
}

// step is what one or several segments of a path do.
type step struct {
	members   string // a path for gjson: plain members, one within the other
	descend   bool   // apply selectors to the value and to everything within
	rooted    bool   // a filter reads the whole body
	selectors []spec.Selector
}

// ParsePath reads a JSONPath (RFC 9535) or what kubectl takes for one:
//
//	.status.phase  {.status.phase}  $.status.phase  status.phase
//	spec.containers[*].image        spec.containers[-1].name
//	status.conditions[?(@.type=="Ready")].status
//	metadata.labels['app.kubernetes.io/name']  metadata.labels.app\.kubernetes\.io/name
//	..image
//
// A path has at most MaxPath bytes and one "..". Within a filter there is no union
// and no "..", and what begins with $ has only members and indexes. With this and
// limits on lengths, what a path costs grows with the body's size times its depth.
func ParsePath(text string) (Path, error) {
	s := scanner{text: text}
	path, err := s.path()
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return Path{}, apierrors.NewBadRequest(fmt.Sprintf(
			"path %q: %v; want a JSONPath such as .status.phase or spec.containers[*].image", clip(text), err))
	}
	return path, nil
}

// path scans one path and leaves the scanner behind it.
func (s *scanner) path() (Path, error) {
	if !utf8.ValidString(s.text) {
		return Path{}, errors.New("want UTF-8")
	}
	s.space()
	begin := s.at
	rewritten, err := s.rewrite()
	if err != nil {
		return Path{}, err
	}
	text := s.text[begin:s.at]
	if len(text) > MaxPath {
		return Path{}, fmt.Errorf("%d bytes are more than the %d that a path may have", len(text), MaxPath)
	}
	parsed, err := parse(rewritten)
	if err != nil {
		return Path{}, fmt.Errorf("%s: %w", text, withoutPosition(err))
	}
	segments := parsed.Query().Segments()
	if len(segments) == 0 {
		return Path{}, fmt.Errorf("at %d: want a path", begin+1)
	}
	if len(segments) > maxSteps {
		return Path{}, fmt.Errorf("%d steps are more than the %d that a path may have", len(segments), maxSteps)
	}
	for _, segment := range segments {
		if n := len(segment.Selectors()); n > maxUnion {
			return Path{}, fmt.Errorf("%d selectors in brackets are more than %d", n, maxUnion)
		}
	}
	return Path{text: text, steps: compile(segments)}, nil
}

// withoutPosition cuts where in the rewritten text the fault is: it is not the
// client's text.
func withoutPosition(err error) error {
	message, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "jsonpath: "), " at position ")
	return errors.New(strings.NewReplacer(matchName, "match", searchName, "search").Replace(message))
}

// compile joins plain members into one step each.
func compile(segments []*spec.Segment) []step {
	var steps []step
	for _, segment := range segments {
		member, plain := plainMember(segment)
		last := len(steps) - 1
		switch {
		case !plain:
			steps = append(steps, step{descend: segment.IsDescendant(), rooted: isRooted(segment), selectors: segment.Selectors()})
		case last >= 0 && steps[last].members != "":
			steps[last].members += "." + member
		default:
			steps = append(steps, step{members: member})
		}
	}
	return steps
}

// isRooted may be true of a filter that only has a $ in a string.
func isRooted(segment *spec.Segment) bool {
	return slices.ContainsFunc(segment.Selectors(), func(selector spec.Selector) bool {
		filter, ok := selector.(*spec.FilterSelector)
		return ok && strings.Contains(filter.String(), "$")
	})
}

// plainMember says whether the segment is one member whose name means nothing
// special to gjson and could not be taken for an index.
func plainMember(segment *spec.Segment) (name string, ok bool) {
	selectors := segment.Selectors()
	if segment.IsDescendant() || len(selectors) != 1 {
		return "", false
	}
	member, ok := selectors[0].(spec.Name)
	return string(member), ok && isPlain(string(member))
}

func isPlain(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_':
		case i > 0 && ('0' <= c && c <= '9' || c == '-'):
		default:
			return false
		}
	}
	return name != ""
}

// String is the path as it was written.
func (p Path) String() string { return p.text }

// Value is one value that a Path found. It shares the body's memory.
type Value struct{ result gjson.Result }

// String is the value as selectors compare it and people read it: a string without
// its quotes, everything else as it is written in the body.
func (v Value) String() string {
	if v.result.Type == gjson.String {
		return v.result.Str
	}
	return v.result.Raw
}

// JSON is the value as it is written in the body.
func (v Value) JSON() string { return v.result.Raw }

// IsNull says whether the value is there and null.
func (v Value) IsNull() bool { return v.result.Type == gjson.Null }

// Values returns every value at the path, each once, in the order of the body. A
// path of plain members is one scan of the body up to the value.
func (p Path) Values(body []byte) []Value {
	var values []Value
	p.visit(body, func(found gjson.Result) bool {
		values = append(values, Value{found})
		return true
	})
	return values
}

// First returns the first of Values and stops there. It does not allocate for a path
// of plain members.
func (p Path) First(body []byte) (value Value, found bool) {
	if !p.plain() {
		return p.search(body)
	}
	value.result = gjson.Get(view(body), p.steps[0].members)
	return value, value.result.Exists()
}

// plain says whether the path is one of plain members.
func (p Path) plain() bool { return len(p.steps) == 1 && p.steps[0].members != "" }

// search is First for every path.
func (p Path) search(body []byte) (value Value, found bool) {
	p.visit(body, func(result gjson.Result) bool {
		value.result, found = result, true
		return false
	})
	return value, found
}

// clip shortens what an error repeats of a client's text.
func clip(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// has says whether one of the values at the path is text.
func (p Path) has(body []byte, text string) bool {
	if p.plain() {
		value, found := p.First(body)
		return found && value.String() == text
	}
	found := false
	p.visit(body, func(result gjson.Result) bool {
		found = Value{result}.String() == text
		return !found
	})
	return found
}
