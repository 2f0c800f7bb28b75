package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// good is the result of a suite in which everything was checked and right.
func good() *result {
	return &result{
		objects: 700, compared: 4, kills: 20, killed: 20, verified: true,
		missing: quietObjects, stale: quietObjects, ghost: quietObjects, planted: "found",
		restored: true, recovery: time.Second, recoveryFrom: "cut", informer: "poll", readerUpdates: 9,
	}
}

func TestExitCodeNeedsEveryCheck(t *testing.T) {
	if code := good().exitCode(true); code != 0 {
		t.Fatalf("all is right, exit code %d", code)
	}
	for name, spoil := range map[string]func(*result){
		"nothing compared":   func(r *result) { r.objects = 0 },
		"too few compared":   func(r *result) { r.compared = 3 },
		"one differs":        func(r *result) { r.different = 1 },
		"a kill is lacking":  func(r *result) { r.killed = 19 },
		"not verified":       func(r *result) { r.verified = false },
		"drift":              func(r *result) { r.streamDrift = 1 },
		"one missed less":    func(r *result) { r.missing-- },
		"one stale more":     func(r *result) { r.stale++ },
		"no ghost":           func(r *result) { r.ghost = 0 },
		"nothing planted":    func(r *result) { r.planted = "" },
		"not restored":       func(r *result) { r.restored = false },
		"nothing recovered":  func(r *result) { r.recovery = 0 },
		"no reader":          func(r *result) { r.readerUpdates = 0 },
		"a broken promise":   func(r *result) { r.readerFaults = 1 },
		"any fault whatever": func(r *result) { r.fault("x") },
	} {
		r := good()
		spoil(r)
		if r.exitCode(true) == 0 {
			t.Errorf("%s: exit code 0", name)
		}
	}
	r := good()
	r.restored = false
	if code := r.exitCode(false); code != 0 {
		t.Errorf("without the restore: exit code %d", code)
	}
}

func TestResultLine(t *testing.T) {
	want := "RESULT objects=700 different=0 kills=20 stream_drift=0 late=0 missing=100/100 stale=100/100 ghost=100/100 planted=found " +
		"recovery_s=1.0 recovery_after=cut restored=true informer=poll reader_faults=0 exits=0 seconds=0"
	if got := good().String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := (&result{}).String(); !strings.Contains(got, "stream_drift=unknown") || !strings.Contains(got, "planted=no") {
		t.Errorf("nothing checked: %s", got)
	}
}

func TestPaths(t *testing.T) {
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	f(pods.one("shop/web"), "/api/v1/namespaces/shop/pods/web")
	f(namespaces.one("shop"), "/api/v1/namespaces/shop")
	f(widgets.one("a/b"), "/apis/krm.test/v1/namespaces/a/widgets/b")
	f(ingresses.list(), "/apis/networking.k8s.io/v1/ingresses")
	f(deployments.name(), "deployments.apps")
	f(pods.name(), "pods")
}

// Every text in objects.go is JSON, every change that churn plans exists.
func TestObjectsAndPlans(t *testing.T) {
	w := &world{id: "x", spaces: []string{"a", "b"}, apps: []string{"a/x", "b/y", "a/z"}, pods: 75}
	for _, what := range []string{"made", "changed"} {
		pieces := w.quietPieces(what)
		if len(pieces) != quietObjects {
			t.Errorf("%d quiet objects", len(pieces))
		}
		seen := map[string]bool{}
		for _, p := range pieces {
			seen[p.kind.name()+p.key()] = true
		}
		if len(seen) != quietObjects {
			t.Errorf("%d different quiet objects", len(seen))
		}
	}
	if n := len(w.canaries()); n != len(kinds()) {
		t.Errorf("%d canaries for %d kinds", n, len(kinds()))
	}
	c := &churn{world: w, random: rand.New(rand.NewPCG(1, 1)), pods: []string{"a/p"}}
	for range 1000 {
		if c.plan() == nil {
			t.Fatal("no plan")
		}
	}
}
