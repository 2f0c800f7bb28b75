package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// environmentName is the variable that stands for a flag.
func environmentName(flag string) string {
	return "KRM_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// hasEnvironment says whether a flag has a variable. Those that only make krm print
// something have none: KRM_VERSION may mean anything.
func hasEnvironment(flag *pflag.Flag) bool {
	return !slices.Contains([]string{"help", "version"}, flag.Name)
}

// bindEnvironment gives every flag that was not set on the command line the value of
// its environment variable, unless that is empty.
func bindEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var faults []error
	flags.VisitAll(func(flag *pflag.Flag) {
		name := environmentName(flag.Name)
		text, _ := lookup(name)
		if flag.Changed || text == "" || !hasEnvironment(flag) || ofService(name, text) {
			return
		}
		for _, value := range valuesOf(flag, text) {
			if err := flags.Set(flag.Name, value); err != nil {
				faults = append(faults, fmt.Errorf("environment %s: %w", name, err))
			}
		}
	})
	if len(faults) > 0 {
		return usageError{errors.Join(faults...)}
	}
	return nil
}

// valuesOf are the values of a flag that a variable has: several, parted by blanks, if
// the flag is repeated for several.
func valuesOf(flag *pflag.Flag, text string) []string {
	if flag.Value.Type() == "stringArray" {
		return strings.Fields(text)
	}
	return []string{text}
}

// ofService says whether Kubernetes set the variable, for a Service that is called
// krm-something: KRM_SOMETHING_PORT=tcp://10.0.0.1:80.
func ofService(name, text string) bool {
	return strings.HasSuffix(name, "_PORT") && strings.HasPrefix(text, "tcp://")
}
