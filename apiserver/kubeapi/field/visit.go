package field

import (
	"strings"
	"unsafe"

	"github.com/theory/jsonpath/spec"
	"github.com/tidwall/gjson"
)

// visit calls yield with each value at the path until that returns false.
func (p Path) visit(body []byte, yield func(gjson.Result) bool) {
	v := visitor{body: view(body), yield: yield}
	v.walk(gjson.Parse(v.body), p.steps)
}

// visitor follows the steps of one path through one body.
type visitor struct {
	body  string
	yield func(gjson.Result) bool
	root  any // the decoded body, once a filter needs it
}

// walk reports whether to go on. node is a value of the body.
func (v *visitor) walk(node gjson.Result, steps []step) bool {
	if len(steps) == 0 {
		return v.yield(node)
	}
	next, rest := &steps[0], steps[1:]
	if next.rooted && v.root == nil {
		v.root = gjson.Parse(v.body).Value()
	}
	if next.members != "" {
		if !node.IsObject() {
			return true
		}
		found := gjson.Get(node.Raw, next.members)
		return !found.Exists() || v.walk(found, rest)
	}
	if next.descend {
		return v.descend(node, next.selectors, rest, maxDepth)
	}
	return v.selectFrom(node, next.selectors, rest)
}

// descend applies the selectors to node and then to everything within it.
func (v *visitor) descend(node gjson.Result, selectors []spec.Selector, rest []step, depth int) bool {
	if node.Type != gjson.JSON || depth == 0 || lacks(node.Raw, selectors) {
		return true
	}
	if !v.selectFrom(node, selectors, rest) {
		return false
	}
	more := true
	node.ForEach(func(_, child gjson.Result) bool {
		more = v.descend(child, selectors, rest, depth-1)
		return more
	})
	return more
}

// lacks says that no member within can have the name that is looked for. A search for
// bytes is far cheaper than reading the structure at every depth anew.
func lacks(raw string, selectors []spec.Selector) bool {
	if len(selectors) != 1 {
		return false
	}
	name, ok := selectors[0].(spec.Name)
	return ok && isPlain(string(name)) && !strings.Contains(raw, string(name)) && strings.IndexByte(raw, '\\') < 0
}

// selectFrom walks on from the children of node that any selector picks, from each
// one once: a child that is picked twice would double the work with every step.
func (v *visitor) selectFrom(node gjson.Result, selectors []spec.Selector, rest []step) bool {
	if node.Type != gjson.JSON {
		return true
	}
	var seen map[*byte]bool
	if len(selectors) > 1 {
		seen = make(map[*byte]bool)
	}
	for _, selector := range selectors {
		more := v.pick(node, selector, func(child gjson.Result) bool {
			if seen != nil {
				at := unsafe.StringData(child.Raw)
				if seen[at] {
					return true
				}
				seen[at] = true
			}
			return v.walk(child, rest)
		})
		if !more {
			return false
		}
	}
	return true
}

// pick calls yield with each child of node that the selector picks.
func (v *visitor) pick(node gjson.Result, selector spec.Selector, yield func(gjson.Result) bool) bool {
	more := true
	each := func(choose func(key gjson.Result, child gjson.Result) bool) bool {
		node.ForEach(func(key, child gjson.Result) bool {
			if choose(key, child) {
				more = yield(child)
			}
			return more
		})
		return more
	}
	switch selector := selector.(type) {
	case spec.Name:
		return !node.IsObject() || each(func(key, _ gjson.Result) bool { return key.Str == string(selector) })
	case spec.WildcardSelector:
		return each(func(_, _ gjson.Result) bool { return true })
	case *spec.FilterSelector:
		return each(func(_, child gjson.Result) bool { return selector.Eval(child.Value(), v.root) })
	case spec.Index:
		return !node.IsArray() || pickIndex(node.Array(), int(selector), yield)
	case spec.SliceSelector:
		return !node.IsArray() || pickSlice(node.Array(), selector, yield)
	}
	return true
}

func pickIndex(elements []gjson.Result, i int, yield func(gjson.Result) bool) bool {
	if i < 0 {
		i += len(elements)
	}
	if i < 0 || i >= len(elements) {
		return true
	}
	return yield(elements[i])
}

// pickSlice follows RFC 9535, 2.3.4.2.2.
func pickSlice(elements []gjson.Result, s spec.SliceSelector, yield func(gjson.Result) bool) bool {
	lower, upper := s.Bounds(len(elements))
	switch step := s.Step(); {
	case step > 0:
		for i := lower; i < upper; i += step {
			if !yield(elements[i]) {
				return false
			}
		}
	case step < 0:
		for i := upper; i > lower; i += step {
			if !yield(elements[i]) {
				return false
			}
		}
	}
	return true
}
