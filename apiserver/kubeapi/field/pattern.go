package field

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/theory/jsonpath"
	"github.com/theory/jsonpath/registry"
	"github.com/theory/jsonpath/spec"
)

// maxPattern bounds the instructions of a regular expression: what a filter spends on
// each byte of a value.
const maxPattern = 1000

// The names under which the parser knows RFC 9535's match() and search(). Its own
// compile the pattern for each value; ours once, and they bound it.
const (
	matchName  = "match_pattern"
	searchName = "search_pattern"
)

// patterns are the regular expressions of one path, by their text. They are only
// written while the path is parsed.
type patterns map[string]*regexp.Regexp

// parse reads a path in RFC 9535's dialect.
func parse(text string) (*jsonpath.Path, error) {
	known := registry.New()
	whole, part := patterns{}, patterns{}
	if err := known.Register(matchName, spec.FuncLogical, whole.validate(`\A(?:%s)\z`), whole.match); err != nil {
		panic("BUG: " + err.Error())
	}
	if err := known.Register(searchName, spec.FuncLogical, part.validate("%s"), part.match); err != nil {
		panic("BUG: " + err.Error())
	}
	return jsonpath.NewParser(jsonpath.WithRegistry(known)).Parse(text)
}

// validate returns what checks a call's arguments and compiles its pattern.
func (p patterns) validate(format string) spec.Validator {
	return func(args []spec.FuncExprArg) error {
		if len(args) != 2 || !args[0].ConvertsTo(spec.FuncValue) {
			return errors.New("want a value and a regular expression")
		}
		literal, ok := args[1].(*spec.LiteralArg)
		if !ok {
			return errors.New("want a regular expression in quotes")
		}
		text, ok := literal.Value().(string)
		if !ok {
			return errors.New("want a regular expression in quotes")
		}
		compiled, err := compilePattern(text, format)
		p[text] = compiled
		return err
	}
}

// match is false for what is no string.
func (p patterns) match(args []spec.PathValue) spec.PathValue {
	text, ok := stringOf(args[0])
	pattern, _ := stringOf(args[1])
	compiled := p[pattern]
	return spec.Logical(ok && compiled != nil && compiled.MatchString(text))
}

func stringOf(arg spec.PathValue) (text string, ok bool) {
	value := spec.ValueFrom(arg)
	if value == nil {
		return "", false
	}
	text, ok = value.Value().(string)
	return text, ok
}

// compilePattern reads an I-Regexp (RFC 9485), in which a dot is neither \n nor \r.
func compilePattern(text, format string) (*regexp.Regexp, error) {
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", text, err)
	}
	noLineEnd, err := syntax.Parse(`[^\n\r]`, syntax.Perl)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	replaceDots(parsed, noLineEnd)
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", text, err)
	}
	if len(program.Inst) > maxPattern {
		return nil, fmt.Errorf("regular expression %q is too large", clip(text))
	}
	return regexp.Compile(strings.Replace(format, "%s", parsed.String(), 1))
}

func replaceDots(re, by *syntax.Regexp) {
	if re.Op == syntax.OpAnyCharNotNL {
		*re = *by
	}
	for _, sub := range re.Sub {
		replaceDots(sub, by)
	}
}
