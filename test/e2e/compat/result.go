package main

import "fmt"

// The least that the suite must have compared.
const (
	leastCommands  = 60
	leastRequests  = 150
	leastInformers = 20
)

// tally counts what one part compared.
type tally struct{ equal, total int }

func (t tally) String() string { return fmt.Sprintf("%d/%d", t.equal, t.total) }

// whole says that at least so many were compared, and all were equal.
func (t tally) whole(least int) bool { return t.total >= least && t.equal == t.total }

// result is what was compared, and what of it differed.
type result struct {
	kubectl, informers, requests tally

	replicas string // ok once all its stories went well
	planted  string // found once each fault was reported

	faults []string
}

func (r *result) fault(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// different is what was compared and not equal.
func (r *result) different() (n int) {
	for _, t := range []tally{r.kubectl, r.informers, r.requests} {
		n += t.total - t.equal
	}
	return n
}

// exitCode is 0 only if everything ran and nothing differed.
func (r *result) exitCode() int {
	right := len(r.faults) == 0 && r.kubectl.whole(leastCommands) && r.informers.whole(leastInformers) &&
		r.requests.whole(leastRequests) && r.replicas == "ok" && r.planted == "found"
	if right {
		return 0
	}
	return 1
}

func (r *result) String() string {
	return fmt.Sprintf("RESULT kubectl=%v informers=%v requests=%v replicas=%s planted=%s different=%d",
		r.kubectl, r.informers, r.requests, or(r.replicas, "no"), or(r.planted, "no"), r.different())
}

func or(text, instead string) string {
	if text == "" {
		return instead
	}
	return text
}
