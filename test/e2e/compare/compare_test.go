package compare

import (
	"fmt"
	"strings"
	"testing"
)

func pod(namespace, name, uid, version, label string) string {
	return fmt.Sprintf(`{"metadata":{"labels":{"x":%q},"namespace":%q,"name":%q,"uid":%q,"resourceVersion":%q},"spec":{"n":1}}`,
		label, namespace, name, uid, version)
}

func list(t *testing.T, items ...string) List {
	t.Helper()
	l, err := ReadList(strings.NewReader(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"99"},"items":[` + strings.Join(items, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestDiffFindsEveryKind(t *testing.T) {
	f := func(want string, got ...string) {
		t.Helper()
		truth := list(t, pod("a", "x", "1", "5", "l"), pod("b", "y", "2", "6", "l")).Objects
		if d := Diff(truth, list(t, got...).Objects); d.String() != want {
			t.Errorf("got %v, want %v", d, want)
		}
	}
	x, y := pod("a", "x", "1", "5", "l"), pod("b", "y", "2", "6", "l")
	f("equal", y, x)
	f("1 missing (b/y)", x)
	f("1 extra (c/z)", x, y, pod("c", "z", "3", "7", "l"))
	f("1 different (a/x)", pod("a", "x", "1", "4", "l"), y)     // an older version
	f("1 different (a/x)", pod("a", "x", "9", "5", "l"), y)     // another life
	f("1 different (a/x)", pod("a", "x", "1", "5", "other"), y) // the same version with another body
	f("2 missing (a/x b/y)")
}

func TestCanonicalLeavesOutOnlyWhatMayDiffer(t *testing.T) {
	f := func(same bool, a, b string) {
		t.Helper()
		_, first, err := Canonical([]byte(a))
		if err != nil {
			t.Fatal(err)
		}
		_, second, err := Canonical([]byte(b))
		if err != nil {
			t.Fatal(err)
		}
		if (first == second) != same {
			t.Errorf("%s and %s: same is %v", a, b, !same)
		}
	}
	const meta = `"metadata":{"name":"x","uid":"1","resourceVersion":"5"}`
	f(true, `{`+meta+`,"a":1,"b":2}`, `{"b":2,"a":1,`+meta+`}`)
	f(true, `{`+meta+`,"kind":"Pod","apiVersion":"v1"}`, `{`+meta+`}`)
	f(true, `{"metadata":{"name":"x","uid":"1","resourceVersion":"5","managedFields":[{}]}}`, `{`+meta+`}`)
	f(false, `{`+meta+`,"a":9007199254740993}`, `{`+meta+`,"a":9007199254740992}`)
	f(false, `{`+meta+`,"a":1.0}`, `{`+meta+`,"a":1}`)
	f(false, `{`+meta+`,"a":null}`, `{`+meta+`}`)
	f(false, `{`+meta+`,"a":[]}`, `{`+meta+`}`)
	f(false, `{`+meta+`,"a":{"kind":"x"}}`, `{`+meta+`,"a":{}}`)
}

func TestReadListRefusesWhatIsNoWholeList(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if _, err := ReadList(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
	f(`{"kind":"Status"}`, "no items")
	f(`{"metadata":{"resourceVersion":"1","continue":"x"},"items":[]}`, "continue token")
	f(`{"metadata":{"resourceVersion":"1"},"items":[`, "read a list")
	f(`{"metadata":{"resourceVersion":"1"},"items":[{"metadata":{"name":"x"}}]}`, "missing")
	f(`[]`, "should be")
	if l := list(t, pod("a", "x", "1", "5", "l"), pod("a", "x", "1", "5", "l")); len(l.Twice) != 1 {
		t.Errorf("a key that comes twice: %v", l.Twice)
	}
}
