package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
)

// counter counts the errors that are logged.
type counter struct{ errors atomic.Int32 }

func (*counter) Enabled(context.Context, slog.Level) bool { return true }
func (c *counter) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelError {
		c.errors.Add(1)
	}
	return nil
}
func (c *counter) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c *counter) WithGroup(string) slog.Handler      { return c }

func TestAUserHidesItsToken(t *testing.T) {
	user := User{Name: "u", Token: "SECRET", Groups: []string{"g"}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb, user, &user)
		fmt.Fprintf(&out, verb, struct{ U any }{user})
	}
	if err := json.NewEncoder(&out).Encode(user); err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "user", user)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "user", &user)
	if strings.Contains(out.String(), "SECRET") || strings.Contains(out.String(), "534543524554") {
		t.Errorf("the token is shown: %s", &out)
	}
}

func TestNothingOfACredentialIsLogged(t *testing.T) {
	var out bytes.Buffer
	f := newFake()
	g, err := Open(Config{Mode: ModeKubernetes, AllowTTL: 1, OutageBound: 1}, f, nil,
		slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := g.Authenticate(t.Context(), byToken("SECRET"))
	f.away = errDown
	_, err2 := g.Authenticate(t.Context(), byToken("SECRET"))
	text := out.String() + err1.Error() + err2.Error()
	if strings.Contains(text, "SECRET") || !strings.Contains(text, "request refused") || !strings.Contains(text, "gave no answer") {
		t.Errorf("logged: %s", text)
	}
}

func TestAttributesOf(t *testing.T) {
	f := func(method, target string, want Attributes) {
		t.Helper()
		if diff := cmp.Diff(want, AttributesOf(httptest.NewRequest(method, target, nil))); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", method, target, diff)
		}
	}
	pods := Attributes{Verb: "list", Version: "v1", Resource: "pods"}
	but := func(a Attributes, change func(*Attributes)) Attributes { change(&a); return a }
	f("GET", "/api/v1/pods", pods)
	f("GET", "/api/v1/pods/", pods)
	f("HEAD", "/api/v1/pods", pods)
	f("GET", "/api/v1/pods?watch=true", but(pods, func(a *Attributes) { a.Verb = "watch" }))
	f("GET", "/api/v1/pods?watch", but(pods, func(a *Attributes) { a.Verb = "watch" }))
	f("GET", "/api/v1/pods?watch=0", pods)
	f("GET", "/api/v1/watch/pods", but(pods, func(a *Attributes) { a.Verb = "watch" }))
	f("GET", "/api/v1/pods?fieldSelector=metadata.name%3Da", but(pods, func(a *Attributes) { a.Name = "a" }))
	f("GET", "/api/v1/pods?fieldSelector=metadata.name%21%3Da", pods)
	f("GET", "/api/v1/pods?fieldSelector=%3D%3D%3D", pods)
	f("POST", "/api/v1/namespaces/n/pods", Attributes{Verb: "create", Version: "v1", Resource: "pods", Namespace: "n"})
	f("DELETE", "/api/v1/namespaces/n/pods", Attributes{Verb: "deletecollection", Version: "v1", Resource: "pods", Namespace: "n"})
	f("PATCH", "/apis/apps/v1/namespaces/n/deployments/d/scale",
		Attributes{Verb: "patch", Group: "apps", Version: "v1", Resource: "deployments", Subresource: "scale", Namespace: "n", Name: "d"})
	f("GET", "/api/v1/namespaces", Attributes{Verb: "list", Version: "v1", Resource: "namespaces"})
	f("GET", "/api/v1/namespaces/n", Attributes{Verb: "get", Version: "v1", Resource: "namespaces", Namespace: "n", Name: "n"})
	f("GET", "/api/v1/namespaces/n/status", Attributes{Verb: "get", Version: "v1", Resource: "namespaces", Subresource: "status", Namespace: "n", Name: "n"})
	f("GET", "/api/v1/nodes/x/proxy/metrics", Attributes{Verb: "get", Version: "v1", Resource: "nodes", Subresource: "proxy", Name: "x"})
	f("GET", "/version", Attributes{Verb: "get", Path: "/version"})
	f("GET", "/", Attributes{Verb: "get", Path: "/"})
	f("GET", "/api/v1", Attributes{Verb: "get", Path: "/api/v1"})
	f("GET", "/apis/apps/v1", Attributes{Verb: "get", Path: "/apis/apps/v1"})
	f("POST", "/krm/v1/verify", Attributes{Verb: "post", Path: "/krm/v1/verify"})
	// Whatever is not understood takes more rights, not fewer.
	f("GET", "/api/v1//pods", Attributes{Verb: "get", Version: "v1", Resource: "*", Name: "pods"})
	f("GET", "/api/v1/watch", Attributes{Verb: "watch", Version: "v1", Resource: "*"})
	f("GET", "/api/v1/namespaces//pods", pods)
	f("GET", "/api/v1/namespaces/a//pods", Attributes{Verb: "get", Version: "v1", Resource: "*", Namespace: "a", Name: "pods"})
}

// The wording is the API server's, to the letter: clients show it.
func TestForbidden(t *testing.T) {
	f := func(a Attributes, want string) {
		t.Helper()
		if err := forbidden(User{Name: "x"}, a, ""); code(err) != 403 || err.Error() != want {
			t.Errorf("%v: %q, want %q", a, err, want)
		}
	}
	f(Attributes{Verb: "list", Resource: "pods", Namespace: "y"},
		`pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y"`)
	f(Attributes{Verb: "get", Group: "apps", Resource: "deployments", Subresource: "scale", Namespace: "y", Name: "d"},
		`deployments.apps "d" is forbidden: User "x" cannot get resource "deployments/scale" in API group "apps" in the namespace "y"`)
	f(Attributes{Verb: "watch", Resource: "nodes"},
		`nodes is forbidden: User "x" cannot watch resource "nodes" in API group "" at the cluster scope`)
	f(Attributes{Verb: "get", Path: "/metrics"}, `forbidden: User "x" cannot get path "/metrics"`)
	f(Attributes{Verb: "get", Path: "/<b>"}, `forbidden: User "x" cannot get path "/&lt;b&gt;"`)
}

func TestCredentialsThatAreNone(t *testing.T) {
	f := newFake()
	g := guarded(t, f)
	for _, header := range []string{"", "Bearer", "Bearer ", "Basic dTpw", "Bearer a b", "t", "Bearer " + strings.Repeat("x", longestToken+1)} {
		if _, err := g.Authenticate(t.Context(), with("Authorization", header)); code(err) != 401 || err.Error() != "Unauthorized" {
			t.Errorf("%.20q: %v, want Unauthorized", header, err)
		}
	}
	asked(t, f)
	f.tokens["t"] = authenticationv1.UserInfo{Username: "u"}
	for _, header := range []string{"bearer t", "BEARER  t", "Bearer t "} {
		user, err := g.Authenticate(t.Context(), with("Authorization", header))
		if err != nil || user.Name != "u" || user.Token != "t" || user.Groups[0] != groupAuthenticated {
			t.Errorf("%q: %v of %v, %v", header, user, user.Groups, err)
		}
	}
}

func TestImpersonation(t *testing.T) {
	f := newFake()
	f.tokens["t"] = authenticationv1.UserInfo{Username: "u"}
	g := guarded(t, f)
	as := func(want int, name string, headers ...string) User {
		t.Helper()
		user, err := g.Authenticate(t.Context(), with(append(headers, "Authorization", "Bearer t")...))
		if code(err) != want || user.Name != name {
			t.Errorf("%v: %v, %v; want %d", headers, user, err, want)
		}
		return user
	}
	as(400, "", "Impersonate-Group", "g")
	as(403, "", "Impersonate-User", "v")
	f.rights["u impersonate users /v"] = true
	user := as(200, "v", "Impersonate-User", "v")
	if user.Token != "t" {
		t.Error("the caller's token is lost, which pass-through needs")
	}
	as(403, "", "Impersonate-User", "v", "Impersonate-Group", "g")
	f.rights["u impersonate groups /g"] = true
	user = as(200, "v", "Impersonate-User", "v", "Impersonate-Group", "g")
	if diff := cmp.Diff([]string{"g", groupAuthenticated}, user.Groups); diff != "" {
		t.Error(diff)
	}
	as(403, "", "Impersonate-User", "v", "Impersonate-Extra-Scopes%2fkey", "s")
	f.rights["u impersonate userextras /s"] = true
	user = as(200, "v", "Impersonate-User", "v", "Impersonate-Extra-Scopes%2fkey", "s")
	if diff := cmp.Diff(map[string][]string{"scopes/key": {"s"}}, user.Extra); diff != "" {
		t.Error(diff)
	}
	as(403, "", "Impersonate-User", "v", "Impersonate-Uid", "1")
	as(403, "", "Impersonate-User", "v", "Impersonate-Whatever", "1", "Impersonate-Uid", "1")
	f.rights["u impersonate serviceaccounts n/s"] = true
	user = as(200, "system:serviceaccount:n:s", "Impersonate-User", "system:serviceaccount:n:s")
	if diff := cmp.Diff([]string{"system:serviceaccounts", "system:serviceaccounts:n", groupAuthenticated}, user.Groups); diff != "" {
		t.Error(diff)
	}
	// The rights are then the other one's.
	f.rights["v list pods a/"] = true
	user = as(200, "v", "Impersonate-User", "v")
	if _, err := g.Authorize(t.Context(), user, Attributes{Verb: "list", Resource: "pods", Namespace: "a"}); err != nil {
		t.Error(err)
	}
}

func TestEveryone(t *testing.T) {
	g, err := Open(Config{Mode: ModeNone}, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	user, err := g.Authenticate(t.Context(), byToken("t"))
	if err != nil || user.Token != "t" {
		t.Errorf("%v, %v", user, err)
	}
	if _, err := g.Authorize(t.Context(), user, Attributes{Verb: http.MethodGet, Resource: "secrets"}); err != nil {
		t.Error(err)
	}
}
