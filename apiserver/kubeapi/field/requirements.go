package field

import (
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// The parameters that are made of paths.
const (
	ParameterSelector   = "krm.io/fieldSelector"
	ParameterOrder      = "orderBy"
	ParameterProjection = "fields"
	ParameterGrouping   = "by"
)

// maxItems bounds how many paths one parameter may have.
const maxItems = 32

// fault is the error for a parameter that cannot be read.
func fault(parameter, text string, err error, want string) error {
	return apierrors.NewBadRequest(fmt.Sprintf("parameter %s=%q: %v; want %s", parameter, clip(text), err, want))
}

// list scans items between commas. item leaves the scanner before a comma or the end.
func list(text string, item func(*scanner) error) error {
	if len(text) > MaxParameter {
		return fmt.Errorf("%d bytes are more than the %d that it may have", len(text), MaxParameter)
	}
	s := scanner{text: text}
	for n := 1; ; n++ {
		if n > maxItems {
			return fmt.Errorf("more than %d items", maxItems)
		}
		if err := item(&s); err != nil {
			return err
		}
		if s.space(); s.done() {
			return nil
		}
		if !s.accept(",") {
			return s.unexpected()
		}
	}
}

// PathSelector is a selector whose fields are any paths. The zero value selects
// everything.
type PathSelector struct {
	text         string
	requirements []requirement
}

type requirement struct {
	path     Path
	operator operator
	value    string
}

type operator int

const (
	exists operator = iota
	absent
	equals
	differs
)

// ParseSelector reads the parameter krm.io/fieldSelector: requirements between
// commas, all of which must hold.
//
//	PATH          there is a value at the path, be it null
//	!PATH         there is none
//	PATH=VALUE    (or ==) one of the values at the path is VALUE
//	PATH!=VALUE   none is; so an object without the field matches
//
// PATH is what ParsePath takes. VALUE is compared with the values' text: strings
// without quotes, numbers as they are written in the object, true, false, null. It
// ends at the next comma and may be quoted by ' or ", with the backslash escapes of
// JSON; spaces around it do not count unless quoted.
func ParseSelector(text string) (PathSelector, error) {
	if strings.TrimSpace(text) == "" {
		return PathSelector{}, nil
	}
	selector := PathSelector{text: text}
	err := list(text, func(s *scanner) error {
		r, err := s.requirement()
		selector.requirements = append(selector.requirements, r)
		return err
	})
	if err != nil {
		return PathSelector{}, fault(ParameterSelector, text, err,
			"PATH, !PATH, PATH=VALUE or PATH!=VALUE between commas, such as .status.phase!=Running,spec.containers[*].image='a:1'")
	}
	return selector, nil
}

func (s *scanner) requirement() (r requirement, err error) {
	s.space()
	negated := s.accept("!")
	if r.path, err = s.path(); err != nil {
		return r, err
	}
	s.space()
	switch {
	case negated:
		r.operator = absent
		return r, nil
	case s.accept("!="):
		r.operator = differs
	case s.accept("=="), s.accept("="):
		r.operator = equals
	default:
		return r, nil
	}
	r.value, err = s.value()
	return r, err
}

// value scans a quoted string or everything up to the next comma.
func (s *scanner) value() (string, error) {
	s.space()
	begin := s.at
	if mark := s.peek(); mark == '\'' || mark == '"' {
		if err := s.skipLiteral(); err != nil {
			return "", err
		}
		value, err := unquote(s.text[begin:s.at])
		if err != nil {
			return "", fmt.Errorf("at %d: %s: want a string as in JSON", begin+1, clip(s.text[begin:s.at]))
		}
		return value, nil
	}
	if comma := strings.IndexByte(s.text[begin:], ','); comma >= 0 {
		s.at += comma
	} else {
		s.at = len(s.text)
	}
	return strings.TrimSpace(s.text[begin:s.at]), nil
}

// unquote reads 'text' or "text", both with the escapes of a JSON string.
func unquote(quoted string) (value string, err error) {
	if quoted[0] == '\'' {
		inner := quoted[1 : len(quoted)-1]
		quoted = `"` + strings.NewReplacer(`\\`, `\\`, `\"`, `\"`, `\'`, `'`, `"`, `\"`).Replace(inner) + `"`
	}
	err = json.Unmarshal([]byte(quoted), &value)
	return value, err
}

// Matches says whether every requirement agrees to the body.
func (s *PathSelector) Matches(body []byte) bool {
	for i := range s.requirements {
		if !s.requirements[i].matches(body) {
			return false
		}
	}
	return true
}

func (r *requirement) matches(body []byte) bool {
	switch r.operator {
	case exists, absent:
		_, found := r.path.First(body)
		return found == (r.operator == exists)
	}
	return r.path.has(body, r.value) == (r.operator == equals)
}

// Empty says whether s selects everything.
func (s *PathSelector) Empty() bool { return len(s.requirements) == 0 }

// String is the selector as it was written.
func (s *PathSelector) String() string { return s.text }
