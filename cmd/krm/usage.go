package main

import (
	"fmt"
	"strings"
)

// usageError says that krm was called wrongly: exit code 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, values ...any) error { return usageError{fmt.Errorf(format, values...)} }

// checkedFlag is a flag's text that is checked when it is set, wherever it comes
// from. cobra puts the flag's name and the value before what check says.
type checkedFlag struct {
	text  *string
	kind  string // shown in the help, such as "NAMESPACE"
	check func(string) error
}

func (f checkedFlag) String() string {
	if f.text == nil { // pflag asks a zero value for its default
		return ""
	}
	return *f.text
}

// Set takes text if it is acceptable.
func (f checkedFlag) Set(text string) error {
	if err := f.check(text); err != nil {
		return err
	}
	*f.text = text
	return nil
}

// Type is shown in the help.
func (f checkedFlag) Type() string { return f.kind }

// oneOf is a check that accepts the words only.
func oneOf(words ...string) func(string) error {
	return func(text string) error {
		for _, word := range words {
			if text == word {
				return nil
			}
		}
		return fmt.Errorf("want %s", orList(words))
	}
}

// orList is "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
