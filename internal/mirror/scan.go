package mirror

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unique"
	"unsafe"
)

var errSyntax = errors.New("body is not a JSON object")

// found is what a mirror wants to know of a body.
type found struct {
	metadata span
	labels   Labels
	node     string
}

// scanBody finds the metadata and its labels, and if node is wanted also
// spec.nodeName, without decoding anything else: it steps over values by their
// brackets and quotes and stops when it has what it wants.
func scanBody(body []byte, wantNode bool) (f found, err error) {
	s := scanner{b: body}
	s.object(func(key []byte) bool {
		switch string(key) {
		case "metadata":
			s.next()
			f.metadata.from = uint32(s.i)
			f.labels = s.metadata()
			f.metadata.to = uint32(s.i)
			return s.err == nil && wantNode // else nothing behind it is wanted
		case "spec":
			if !wantNode {
				return s.skip()
			}
			s.object(func(key []byte) bool {
				if string(key) != "nodeName" {
					return s.skip()
				}
				f.node = s.text()
				return false
			})
			wantNode = false
			return f.metadata.to == 0 && s.close()
		}
		return s.skip()
	})
	return f, s.err
}

// metadata takes an object's metadata whole and returns its labels.
func (s *scanner) metadata() (labels Labels) {
	s.object(func(key []byte) bool {
		if string(key) != "labels" {
			return s.skip()
		}
		labels = s.labels()
		return s.err == nil
	})
	return labels
}

// scanner reads JSON that an API server has encoded: it checks no more than it
// needs to find its way. After the first fault err is set and nothing moves.
type scanner struct {
	b    []byte
	i    int
	open bool // the innermost object that was left early has not been closed yet
	err  error
}

func (s *scanner) fail() bool {
	if s.err == nil {
		s.err = errSyntax
	}
	s.i = len(s.b)
	return false
}

// next skips white space and returns the byte after it without taking it; 0 at the end.
func (s *scanner) next() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// object calls field for each key, standing before its value. field takes the
// value and returns true, or leaves the object by returning false.
func (s *scanner) object(field func(key []byte) bool) {
	s.open = false
	if s.next() != '{' {
		s.null()
		return
	}
	s.i++
	if s.next() == '}' {
		s.i++
		return
	}
	for {
		key, _ := s.quoted()
		if s.next() != ':' {
			s.fail()
			return
		}
		s.i++
		if !field(key) {
			s.open = s.err == nil
			return
		}
		switch s.next() {
		case ',':
			s.i++
			s.next()
		case '}':
			s.i++
			s.open = false
			return
		default:
			s.fail()
			return
		}
	}
}

// close steps over what is left of the object that was left early, if one was.
func (s *scanner) close() bool {
	if s.open {
		s.open = false
		return s.rest()
	}
	return s.err == nil
}

// null takes a null where an object was expected.
func (s *scanner) null() {
	if !bytes.HasPrefix(s.b[s.i:], []byte("null")) {
		s.fail()
		return
	}
	s.i += len("null")
}

// quoted takes a string and returns what stands between its quotes.
func (s *scanner) quoted() (inner []byte, escaped bool) {
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		s.fail()
		return nil, false
	}
	start := s.i + 1
	for at := start; ; {
		quote := bytes.IndexByte(s.b[at:], '"')
		if quote < 0 {
			s.fail()
			return nil, false
		}
		end := at + quote
		slashes := 0
		for end-slashes > start && s.b[end-slashes-1] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			s.i = end + 1
			inner = s.b[start:end]
			return inner, bytes.IndexByte(inner, '\\') >= 0
		}
		at = end + 1
	}
}

// text takes a string value, or null, which is "".
func (s *scanner) text() string {
	if s.next() != '"' {
		s.null()
		return ""
	}
	start := s.i
	inner, escaped := s.quoted()
	if !escaped {
		return alias(inner)
	}
	var text string
	if err := json.Unmarshal(s.b[start:s.i], &text); err != nil {
		s.fail()
	}
	return text
}

// labels takes an object of strings.
func (s *scanner) labels() Labels {
	var room [16]Label
	list := room[:0]
	s.object(func(key []byte) bool {
		if bytes.IndexByte(key, '\\') >= 0 { // no valid label has one
			return s.skip()
		}
		list = append(list, Label{intern(alias(key)), intern(s.text())})
		return s.err == nil
	})
	if len(list) == 0 || s.err != nil {
		return nil
	}
	byKey := func(a, b Label) int { return strings.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(list, byKey) {
		slices.SortFunc(list, byKey)
	}
	return slices.Clone(list)
}

// intern returns the one copy of text that all objects share. Selectors compare labels
// of all objects: shared ones stay in the processor's cache, parts of bodies do not.
func intern(text string) string { return unique.Make(text).Value() }

// skip steps over one value.
func (s *scanner) skip() bool {
	switch s.next() {
	case '"':
		s.quoted()
		return s.err == nil
	case '{', '[':
		s.i++
		return s.rest()
	case 0:
		return s.fail()
	}
	for s.i < len(s.b) { // a number, true, false or null
		switch s.b[s.i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return true
		}
		s.i++
	}
	return true
}

// rest steps to the end of the object or array whose bracket has been taken.
func (s *scanner) rest() bool {
	depth := 1
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case '"':
			if s.quoted(); s.err != nil {
				return false
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s.i++
				return true
			}
		}
		s.i++
	}
	return s.fail()
}

// alias is part of a body as a string, without a copy: a Record's bytes are never
// changed after it is built.
func alias(part []byte) string { return unsafe.String(unsafe.SliceData(part), len(part)) }
