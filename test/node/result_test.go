package main

import (
	"strings"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/node/figures"
)

func TestResult(t *testing.T) {
	good := figures.Check{Key: figures.Key{Kind: figures.Pod, Namespace: "burn", Pod: "cpu", Metric: "cpu/usage"}, Points: 3, Deviation: 0.01}
	whole := func() *result {
		r := &result{truths: 11, restarts: 2, values: 100, planted: 7, plantable: 7}
		r.add([]figures.Check{good}, "in peace")
		return r
	}
	f := func(name string, code int, spoil func(*result)) {
		t.Helper()
		r := whole()
		spoil(r)
		if got := r.exitCode(); got != code {
			t.Errorf("%s: exit code %d, want %d: %s, faults %v", name, got, code, r, r.faults)
		}
	}
	with := func(change func(*figures.Check)) func(*result) {
		return func(r *result) {
			check := good
			change(&check)
			r.add([]figures.Check{check}, "later")
		}
	}
	f("as it is", 0, func(*result) {})
	f("nothing checked", 1, func(r *result) { *r = result{truths: 11, restarts: 2, values: 100, planted: 7, plantable: 7} })
	f("far apart", 1, with(func(c *figures.Check) { c.Deviation = 0.051 }))
	f("KRM has it not", 1, with(func(c *figures.Check) { c.Fault = "missing" }))
	f("no points", 1, with(func(c *figures.Check) { c.Points = 0 }))
	f("a planted fault not found", 1, func(r *result) { r.planted-- })
	f("no fault planted", 1, func(r *result) { r.planted, r.plantable = 0, 0 })
	f("absurd values", 1, func(r *result) { r.absurd++ })
	f("no restart", 1, func(r *result) { r.restarts-- })
	f("the truth not known", 1, func(r *result) { r.truths = 0 })
	f("a fault", 1, func(r *result) { r.fault("it broke") })

	r := whole()
	with(func(c *figures.Check) { c.Deviation = 0.0321 })(r)
	if line := r.String(); !strings.HasPrefix(line, "RESULT pods=1 metrics=2/2 accuracy_pct=3.21 ") {
		t.Errorf("got %s", line)
	}
}

// Less than nothing is shown as nothing: it must be found all the same.
func TestCheckBurners(t *testing.T) {
	key := figures.Key{Kind: figures.Container, Namespace: namespace, Pod: "again", Container: "main", Metric: "cpu/usage_rate"}
	began := time.Date(2026, 11, 22, 1, 0, 0, 0, time.UTC)
	f := func(absurd int, values ...float64) {
		t.Helper()
		var points []figures.Point
		for i, value := range values {
			points = append(points, figures.Point{At: began.Add(time.Duration(i) * time.Minute), Value: value})
		}
		var r result
		checkBurners(&r, map[figures.Key][]figures.Point{key: points}, began.Add(time.Minute))
		if r.absurd != absurd {
			t.Errorf("%v: found %v", values, r.faults)
		}
	}
	f(0)
	f(0, 0, 40, 38, 43) // the first is from before all was settled
	f(1, 40, 40, 0, 43)
	f(1, 40, 40, 400, 43)
}

// A story that compares too little must not pass.
func TestCheckComplete(t *testing.T) {
	if err := checkComplete(nil); err == nil || strings.Count(err.Error(), "was not compared") < 20 {
		t.Errorf("nothing compared: %v", err)
	}
}
