package main

import (
	"fmt"

	"github.com/kubernetes-resource-monitor/krm/test/node/figures"
)

const (
	mostApart  = 0.05 // of KRM and the kubelet
	mostUntrue = 0.15 // of KRM and what the pods were told: the machine may be busy, packets have headers
)

// result is what was checked, and what of it was wrong.
type result struct {
	pods      map[string]bool
	checked   int
	right     int
	worst     float64
	truths    int
	truth     float64
	restarts  int
	values    int // that were looked at for absurd ones
	absurd    int
	planted   int // faults that were planted and found
	plantable int
	seconds   float64
	faults    []string
}

func (r *result) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// add notes comparisons and returns the worst.
func (r *result) add(checks []figures.Check, when string) (worst figures.Check) {
	if r.pods == nil {
		r.pods = map[string]bool{}
	}
	for _, c := range checks {
		r.checked++
		if c.Key.Pod != "" {
			r.pods[c.Key.Namespace+"/"+c.Key.Pod] = true
		}
		r.worst = max(r.worst, c.Deviation)
		if c.Deviation >= worst.Deviation {
			worst = c
		}
		if wrong(c) {
			r.fault("%s: %s", when, c)
		} else {
			r.right++
		}
	}
	return worst
}

// wrong says that KRM and the kubelet do not agree.
func wrong(c figures.Check) bool { return c.Fault != "" || c.Points == 0 || c.Deviation > mostApart }

// exitCode is 0 only if everything was checked and nothing was wrong.
func (r *result) exitCode() int {
	if len(r.faults) == 0 && len(r.pods) > 0 && r.checked > 0 && r.right == r.checked && r.worst <= mostApart &&
		r.truths > 0 && r.restarts == 2 && r.values > 0 && r.absurd == 0 && r.plantable > 0 && r.planted == r.plantable {
		return 0
	}
	return 1
}

func (r *result) String() string {
	accuracy := "unknown"
	if r.checked > 0 {
		accuracy = fmt.Sprintf("%.2f", 100*r.worst)
	}
	return fmt.Sprintf("RESULT pods=%d metrics=%d/%d accuracy_pct=%s truth_pct=%.1f restarts=%d values=%d absurd=%d planted=%d/%d seconds=%.0f",
		len(r.pods), r.right, r.checked, accuracy, 100*r.truth, r.restarts, r.values, r.absurd, r.planted, r.plantable, r.seconds)
}
