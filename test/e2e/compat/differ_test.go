package main

import "testing"

func TestDiffer(t *testing.T) {
	f := func(a, b string, same bool) {
		t.Helper()
		if fault := differ(a, b); (fault == "") != same {
			t.Errorf("%q and %q: same should be %t: %s", a, b, same, fault)
		}
	}
	f("a\nb", "a\nb", true)
	f("a\nb", "a\nc", false)
	f("a\nb", "a", false)
	f("a", "a\nb", false)
	f("NAME  AGE\nweb   59s", "NAME  AGE\nweb   60s", true)
	f("NAME  AGE\nweb   59s\ndb    2d", "NAME AGE\nweb   1m1s\ndb    2d", true)
	f("NAME  AGE\nweb   9s", "NAME  AGE\nweb   19s", false)
	f("NAME  AGE\nweb   9s", "NAME AGE\nweb  9s", false) // spaces alone
	f("x (x2 over 4m10s)", "x (x2 over 4m11s)", true)
	f("x (x2 over 4m10s)", "x (x3 over 4m11s)", false)
	f("a 5m", "b 5m", false)
	f("a 5", "a 6", false)
	f("a 47h", "a 2d", true)
}

func TestWords(t *testing.T) {
	got := words("get  pods -l 'a in (b)' -o jsonpath='{.x}{\"\\n\"}'")
	want := []string{"get", "pods", "-l", "a in (b)", "-o", "jsonpath={.x}{\"\\n\"}"}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}

func TestOnlyWatched(t *testing.T) {
	const text = "NAME        SHORTNAMES APIVERSION NAMESPACED KIND\nbindings    v1 true Binding\npods po     v1 true  Pod\n" +
		"deployments deploy     apps/v1    true       Deployment\ndeployments deploy     other/v1    true       Deployment\nnodes.metrics.k8s.io\n"
	if got, want := onlyWatched(text), "pods po v1 true Pod\ndeployments deploy apps/v1 true Deployment"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := onlyWatchedGroups("apps/v1\napps/v1beta1\nautoscaling/v1\nautoscaling/v2\nother/v1\nv1\n"), "apps/v1\nautoscaling/v2\nv1"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
