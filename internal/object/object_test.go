package object

import (
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseResource(t *testing.T) {
	f := func(text, wantName, wantVersion, wantGroup string) {
		t.Helper()
		got, err := ParseResource(text)
		if err != nil || got.Name != wantName || got.Version != wantVersion || got.Group != wantGroup {
			t.Errorf("ParseResource(%q) = %+v, %v", text, got, err)
		}
	}
	f("pods", "pods", "", "")
	f("deployments.apps", "deployments", "", "apps")
	f("deployments.v1.apps", "deployments", "v1", "apps")
	f("widgets.v1beta1.stable.example.com", "widgets", "v1beta1", "stable.example.com")
	f("widgets.stable.example.com", "widgets", "", "stable.example.com")
	f("roles.v1x.example.com", "roles", "", "v1x.example.com")
	for _, bad := range []string{"", "Pods", "pods/", "a b", "pods.", ".apps", "-a", "pods,nodes"} {
		if r, err := ParseResource(bad); err == nil || !strings.Contains(err.Error(), "want NAME") {
			t.Errorf("ParseResource(%q) = %+v, %v; want an error that says what is accepted", bad, r, err)
		}
	}
}

func TestResourceNamesAndPaths(t *testing.T) {
	pods := Resource{Version: "v1", Name: "pods", Singular: "pod", Short: "po", Kind: "Pod", Namespaced: true}
	nodes := Resource{Version: "v1", Name: "nodes", Singular: "node", Short: "no", Kind: "Node"}
	deploy := Resource{Group: "apps", Version: "v1", Name: "deployments", Singular: "deployment", Short: "deploy,dp", Kind: "Deployment", Namespaced: true}
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f(pods.String(), "pods")
	f(deploy.String(), "deployments.apps")
	f(pods.Path(""), "/api/v1/pods")
	f(pods.Path("a"), "/api/v1/namespaces/a/pods")
	f(nodes.Path("a"), "/api/v1/nodes")
	f(deploy.Path("a"), "/apis/apps/v1/namespaces/a/deployments")
	for _, name := range []string{"deployments", "deployment", "deploy", "dp", "deployments.apps", "deploy.apps"} {
		if !deploy.Answers(name) {
			t.Errorf("deployments do not answer to %q", name)
		}
	}
	for _, name := range []string{"", "dep", "pods", "deployments.extensions", ".apps"} {
		if deploy.Answers(name) {
			t.Errorf("deployments answer to %q", name)
		}
	}
}

// Versions are integers of any length; comparing them is comparing those.
func TestVersionsCompareAsIntegers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.StringMatching(`[1-9][0-9]{0,30}`)
		a, b := number.Draw(t, "a"), number.Draw(t, "b")
		x, errX := ParseVersion(a)
		y, errY := ParseVersion(b)
		if errX != nil || errY != nil {
			t.Fatal(errX, errY)
		}
		i, _ := new(big.Int).SetString(a, 10)
		j, _ := new(big.Int).SetString(b, 10)
		if x.Compare(y) != i.Cmp(j) || x.Newer(y) != (i.Cmp(j) > 0) {
			t.Fatalf("%s and %s compare as %d", a, b, x.Compare(y))
		}
		if newest := x.Newest(y); newest.Compare(x) < 0 || newest.Compare(y) < 0 {
			t.Fatalf("the newest of %s and %s is %s", a, b, newest)
		}
	})
	if !Version("1").Newer("") || Version("").Newer("1") || Version("").Newer("") {
		t.Error(`"" is not below every version`)
	}
	for _, bad := range []string{"", "0", "01", "-1", "1.5", "abc", " 1"} {
		if v, err := ParseVersion(bad); err == nil {
			t.Errorf("ParseVersion(%q) = %q", bad, v)
		}
	}
}

// Keys are ordered by the bytes of their string, as the API server orders lists.
func TestKeysCompareAsTheirStrings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringMatching(`[a-c.-]{0,3}`)
		draw := func(label string) Key {
			return Key{Namespace: part.Draw(t, label+" namespace"), Name: "n" + part.Draw(t, label+" name")}
		}
		a, b := draw("a"), draw("b")
		if a.Compare(b) != strings.Compare(a.String(), b.String()) {
			t.Fatalf("%v and %v compare as %d", a, b, a.Compare(b))
		}
		if ParseKey(a.String()) != a {
			t.Fatalf("%q is read back as %+v", a.String(), ParseKey(a.String()))
		}
	})
	keys := []Key{{"a", "zz"}, {"a-b", "zz"}}
	slices.SortFunc(keys, Key.Compare)
	if keys[0].Namespace != "a-b" {
		t.Error("a/zz sorts before a-b/zz")
	}
}
