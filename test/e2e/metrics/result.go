package main

import "fmt"

// The least that the suite must have checked.
const (
	leastVectors   = 65
	leastEndpoints = 156
	leastFaults    = 30
)

// tally counts what one part checked.
type tally struct{ right, total int }

func (t tally) String() string { return fmt.Sprintf("%d/%d", t.right, t.total) }

// whole says that at least so much was checked, and all was right.
func (t tally) whole(least int) bool { return t.total >= least && t.right == t.total }

// add counts one check.
func (t *tally) add(err error) {
	t.total++
	if err == nil {
		t.right++
	}
}

// result is what was checked, and what of it was wrong.
type result struct {
	endpoints, vectors, faulty tally

	planted string // found once each planted fault was noticed

	faults []string
}

func (r *result) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// exitCode is 0 only if everything was checked and right.
func (r *result) exitCode() int {
	if len(r.faults) == 0 && r.endpoints.whole(leastEndpoints) && r.vectors.whole(leastVectors) && r.faulty.whole(leastFaults) && r.planted == "found" {
		return 0
	}
	return 1
}

func (r *result) String() string {
	planted := r.planted
	if planted == "" {
		planted = "no"
	}
	return fmt.Sprintf("RESULT endpoints=%v vectors=%v faults=%v planted=%s", r.endpoints, r.vectors, r.faulty, planted)
}
