package main

import (
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// quietObjects is how many objects lose their creation, as many their update, and
// as many their deletion, in the verifier's story.
const quietObjects = 100

// result is what was checked, and what of it was wrong.
type result struct {
	objects   int // compared at the end of the first story
	compared  int // comparisons of all resources that had to be equal
	different int // objects that differed in them
	kills     int
	killed    int

	verified    bool  // the forced verification after the first story was done
	streamDrift int64 // what it and all before it found
	late        int64

	missing, stale, ghost int64
	planted               string
	restored              bool // another lineage was followed
	recovery              time.Duration
	recoveryFrom          string
	informer              string
	readerFaults          int
	readerUpdates         int
	exits                 []process.Exit
	seconds               float64

	faults []string
}

func (r *result) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// recovered notes how long it took after a fault until KRM was up to date.
func (r *result) recovered(after string, took time.Duration) {
	if took > r.recovery {
		r.recovery, r.recoveryFrom = took, after
	}
}

// exitCode is 0 only if everything was checked and nothing was wrong.
func (r *result) exitCode(lineage bool) int {
	right := len(r.faults) == 0 &&
		r.objects > 0 && r.compared >= 4 && r.different == 0 && r.killed == r.kills &&
		r.verified && r.streamDrift == 0 &&
		r.missing == quietObjects && r.stale == quietObjects && r.ghost == quietObjects &&
		r.planted == "found" && (r.restored || !lineage) &&
		r.recovery > 0 && r.readerUpdates > 0 && r.readerFaults == 0
	if right {
		return 0
	}
	return 1
}

func (r *result) String() string {
	planted := r.planted
	if planted == "" {
		planted = "no"
	}
	drift := "unknown"
	if r.verified {
		drift = fmt.Sprint(r.streamDrift)
	}
	return fmt.Sprintf("RESULT objects=%d different=%d kills=%d stream_drift=%s late=%d missing=%d/%d stale=%d/%d ghost=%d/%d planted=%s "+
		"recovery_s=%.1f recovery_after=%s restored=%t informer=%s reader_faults=%d exits=%d seconds=%.0f",
		r.objects, r.different, r.killed, drift, r.late, r.missing, quietObjects, r.stale, quietObjects, r.ghost, quietObjects,
		planted, r.recovery.Seconds(), r.recoveryFrom, r.restored, r.informer, r.readerFaults, len(r.exits), r.seconds)
}
