package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// differ compares two outputs line by line. Ages may be a second or one unit apart,
// and where they are, so may the width of columns. It returns "" or the lines that
// differ.
func differ(a, b string) string {
	if a == b {
		return ""
	}
	left, right := strings.Split(a, "\n"), strings.Split(b, "\n")
	var faults, spaced []string
	aged := false
	for i := range max(len(left), len(right)) {
		switch {
		case i >= len(left):
			faults = append(faults, "+ "+right[i])
		case i >= len(right):
			faults = append(faults, "- "+left[i])
		case left[i] == right[i]:
		default:
			same, older := sameWords(left[i], right[i])
			aged = aged || older
			lines := []string{"- " + left[i], "+ " + right[i]}
			if !same {
				faults = append(faults, lines...)
			} else if !older {
				spaced = append(spaced, lines...)
			}
		}
	}
	if !aged {
		faults = append(faults, spaced...)
	}
	if len(faults) == 0 {
		return ""
	}
	const most = 12
	more := ""
	if len(faults) > most {
		more = fmt.Sprintf("\n… and %d lines more", len(faults)-most)
		faults = faults[:most]
	}
	for i, fault := range faults {
		faults[i] = clip(fault)
	}
	return "the outputs differ (- API server, + KRM)\n" + strings.Join(faults, "\n") + more
}

// sameWords says whether two lines have the same words, and whether some of them
// are ages that differ as they may.
func sameWords(a, b string) (same, aged bool) {
	left, right := strings.Fields(a), strings.Fields(b)
	if len(left) != len(right) {
		return false, false
	}
	for i := range left {
		if left[i] == right[i] {
			continue
		}
		if !sameAge(left[i], right[i]) {
			return false, false
		}
		aged = true
	}
	return true, aged
}

var age = regexp.MustCompile(`^\(?(?:(\d+)y)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?\)?$`)

// sameAge says whether two words are ages that are a second, or one of the smallest
// unit that either shows, apart.
func sameAge(a, b string) bool {
	left, unitA, okA := parseAge(a)
	right, unitB, okB := parseAge(b)
	return okA && okB && (left-right).Abs() <= max(unitA, unitB, 2*time.Second)
}

func parseAge(text string) (total, unit time.Duration, ok bool) {
	parts := age.FindStringSubmatch(text)
	if parts == nil {
		return 0, 0, false
	}
	units := []time.Duration{365 * 24 * time.Hour, 24 * time.Hour, time.Hour, time.Minute, time.Second}
	for i, part := range parts[1:] {
		if part == "" {
			continue
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			return 0, 0, false
		}
		total += time.Duration(n) * units[i]
		unit, ok = units[i], true
	}
	return total, unit, ok
}

// onlyWatched leaves of the lines of api-resources those of what KRM serves.
func onlyWatched(text string) string {
	names := map[string]bool{}
	for _, name := range watched() {
		names[name] = true
	}
	var kept []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		name := fields[0]
		if len(fields) > 3 { // NAME SHORTNAMES APIVERSION NAMESPACED KIND
			if group, _, found := strings.Cut(fields[len(fields)-3], "/"); found {
				name += "." + group
			}
		}
		if names[name] {
			kept = append(kept, strings.Join(fields, " "))
		}
	}
	return strings.Join(kept, "\n")
}

// onlyWatchedGroups leaves of the lines of api-versions those that hold what KRM serves.
func onlyWatchedGroups(text string) string {
	groups := map[string]bool{}
	for _, name := range watched() {
		_, group, _ := strings.Cut(name, ".")
		groups[group] = true
	}
	var kept []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		group, version, found := strings.Cut(line, "/")
		if !found {
			group, version = "", line
		}
		// Other versions of a group are the API server's alone.
		if groups[group] && (version == "v1" || version == "v2" && group == "autoscaling") && line != "autoscaling/v1" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}
