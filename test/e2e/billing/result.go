package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The least that the suite must have checked.
const (
	leastFigures    = 140000
	leastInjections = 250
)

// tally counts what one part checked.
type tally struct{ right, total int }

func (t tally) String() string { return fmt.Sprintf("%d/%d", t.right, t.total) }

// add counts one check.
func (t *tally) add(right bool) {
	t.total++
	if right {
		t.right++
	}
}

// result is what was checked, and what of it was wrong.
type result struct {
	checker
	requests, injections tally
	databases            []string
	planted              string // found once each plant was noticed, and nothing else
	faults               []string
	whole                bool // all parts were asked for
}

func (r *result) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// judge adds what is missing to the faults.
func (r *result) judge() {
	if !r.whole {
		return
	}
	for what, missing := range map[string]bool{
		fmt.Sprintf("only %d figures were checked, want at least %d", r.figures, leastFigures):  r.figures < leastFigures,
		fmt.Sprintf("requests: %v, want all of %d", r.requests, requestsWanted):                 r.requests != tally{requestsWanted, requestsWanted},
		fmt.Sprintf("injections: %v, want all, and at least %d", r.injections, leastInjections): r.injections.right != r.injections.total || r.injections.total < leastInjections,
		fmt.Sprintf("databases: %s, want both", strings.Join(r.databases, ", ")):                len(r.databases) != 2,
		fmt.Sprintf("planted: %s, want each to be found", r.planted):                            r.planted != "found",
	} {
		if missing {
			r.faults = append(r.faults, what)
		}
	}
	slices.Sort(r.faults)
}

// exitCode is 0 only if everything that was asked for was checked, and right.
func (r *result) exitCode() int {
	if len(r.faults) == 0 && len(r.wrong) == 0 {
		return 0
	}
	return 1
}

func (r *result) line(began time.Time) string {
	planted := r.planted
	if planted == "" {
		planted = "missed"
	}
	return fmt.Sprintf("RESULT figures=%d wrong=%d requests=%v injections=%v databases=%d planted=%s seconds=%.0f",
		r.figures, len(r.wrong), r.requests, r.injections, len(r.databases), planted, time.Since(began).Seconds())
}
