package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func hashed(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func TestTokenFilesThatAreRefused(t *testing.T) {
	f := func(text string, wants ...string) {
		t.Helper()
		_, err := parseTokens([]byte(text))
		for _, want := range append(wants, "an entry is {name:") {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v\nwant %q", text, err, want)
			}
		}
	}
	good := "{name: a, sha256: " + hashed("a") + ", namespaces: [x], resources: [pods]}"
	f("", "holds no list")
	f("null", "holds no list")
	f("tokens: []", "holds no list")
	f("- {", "line 1")
	f("- "+good+"\n\t- b", "line ")
	f("- "+good+"\n- {name: b}", `entry 2 ("b")`, "sha256: want", "namespaces: say which", "resources: say which")
	f("- {name: b, token: secret}", `entry 1 ("b")`, `unknown field "token"`)
	f("- 7", "entry 1: ")
	f("- "+good+"\n- "+good, `entry 2 ("a")`, "entry 1 has the same name")
	f("- "+good+"\n- "+strings.Replace(good, "name: a", "name: b", 1), `entry 2 ("b")`, "entry 1 has the same token")
	f("- "+strings.Replace(good, "[x]", "[X]", 1), `namespaces: "X"`)
	f("- "+strings.Replace(good, "[x]", `["x*"]`, 1), `namespaces: "x*"`)
	f("- "+strings.Replace(good, "[pods]", "[Pods, a b]", 1), `resources: "Pods"`, `resources: "a b"`)
	f("- "+strings.Replace(good, "name: a", `name: "a\nb"`, 1), `name "a\nb"`)
	f("- "+strings.Replace(good, hashed("a"), "abc", 1), "it has 3 characters")
	if _, err := parseTokens([]byte("- {name: b, sha256: krm_SECRET, namespaces: [x], resources: [x]}")); strings.Contains(err.Error(), "SECRET") {
		t.Errorf("what may be a token is shown: %v", err)
	}
}

func TestWhatATokenMayRead(t *testing.T) {
	f := func(namespaces, resources, verb, resource, namespace string, want bool) {
		t.Helper()
		g := &grant{Entry: Entry{Namespaces: strings.Fields(namespaces), Resources: strings.Fields(resources)}}
		name, subresource, _ := strings.Cut(resource, "/")
		name, group, _ := strings.Cut(name, ".")
		a := Attributes{Verb: verb, Group: group, Resource: name, Subresource: subresource, Namespace: namespace, Name: "n"}
		if got := g.allows(a); got != want {
			t.Errorf("a token for %s in %s: %v is %v, want %v", resources, namespaces, a, got, want)
		}
	}
	f("a b", "pods", "list", "pods", "b", true)
	f("a b", "pods", "list", "pods", "c", false)
	f("a b", "pods", "list", "pods", "", false) // all namespaces are more than some
	f("*", "pods", "list", "pods", "", true)
	f("*", "pods", "watch", "pods", "c", true)
	f("a", "pods", "get", "deployments.apps", "a", false)
	f("a", "deployments.apps", "get", "deployments.apps", "a", true)
	f("a", "deployments.apps", "get", "deployments", "a", false)
	f("a", "deployments", "get", "deployments.apps", "a", false)
	f("a", "*", "get", "widgets.example.com", "a", true)
	f("a", "pods", "get", "pods/log", "a", false)
	f("a", "pods/log", "get", "pods/log", "a", true)
	f("a", "*", "get", "nodes", "", false)
	f("*", "nodes", "get", "nodes", "", true)
	for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection", "proxy", "impersonate", ""} {
		f("*", "*", verb, "pods", "a", false)
	}
}

func TestTokensAndPaths(t *testing.T) {
	g := &grant{Entry: Entry{Namespaces: []string{"a"}, Resources: []string{"pods"}}}
	f := func(verb, path string, want bool) {
		t.Helper()
		if got := g.allows(Attributes{Verb: verb, Path: path}); got != want {
			t.Errorf("%s %s: %v, want %v", verb, path, got, want)
		}
	}
	for _, path := range []string{"/", "/version", "/metrics", "/krm/v1/status", "/api", "/api/v1", "/apis/", "/apis/apps", "/apis/apps/v1", "/openapi/v3/apis/apps/v1"} {
		f("get", path, true)
		f("head", path, true)
		f("post", path, false)
	}
	f("get", "/api/v1/pods", false) // if someone takes a resource for a path
	f("get", "/api/v1//pods", false)
	f("get", "/apis/apps/v1/deployments", false)
}

func TestTokensAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	entry := func(name, token string) string {
		return "- {name: " + name + ", sha256: " + hashed(token) + ", namespaces: [a], resources: [pods]}\n"
	}
	synctest.Test(t, func(t *testing.T) {
		if _, err := Open(Config{Mode: ModeToken, TokenFile: file}, nil, nil, slog.New(slog.DiscardHandler)); err == nil {
			t.Error("a file that is missing is no fault")
		}
		put(entry("one", "1"))
		log := &counter{}
		g, err := Open(Config{Mode: ModeToken, TokenFile: file}, nil, nil, slog.New(log))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if err := g.Run(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		is := func(token, want string) {
			t.Helper()
			time.Sleep(2 * reloadEvery)
			user, err := g.Authenticate(t.Context(), byToken(token))
			if user.Name != want || (want == "") != (code(err) == 401) {
				t.Errorf("token %s is %q, %v; want %q", token, user.Name, err, want)
			}
			if user.Token != "" || want != "" && !user.Static {
				t.Errorf("token %s could be passed through", token)
			}
		}
		is("1", "one")
		is("2", "")
		is("", "")
		put(entry("one", "1") + entry("two", "2"))
		is("2", "two")
		put("- {name: broken}")
		is("2", "two")
		time.Sleep(time.Minute)
		if n := log.errors.Load(); n != 1 {
			t.Errorf("one broken file is logged %d times", n)
		}
		put("[]")
		is("1", "")
		put(entry("three", "1"))
		is("1", "three")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		is("1", "three")
		time.Sleep(time.Minute)
		if n := log.errors.Load(); n != 2 {
			t.Errorf("a broken and a missing file are logged %d times", n)
		}
	})
}

func TestTokensImpersonateNobody(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	if err := os.WriteFile(file, []byte("- {name: one, sha256: "+hashed("1")+`, namespaces: ["*"], resources: ["*"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := Open(Config{Mode: ModeToken, TokenFile: file}, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.Authenticate(t.Context(), with("Authorization", "Bearer 1", "Impersonate-User", "admin"))
	if code(err) != 403 || !strings.Contains(err.Error(), `User "one" cannot impersonate anyone`) {
		t.Errorf("got %v", err)
	}
	if _, err := g.Authorize(t.Context(), User{Name: "one"}, Attributes{Verb: "get", Resource: "pods"}); code(err) != 403 {
		t.Errorf("a user of nowhere: %v, want 403", err)
	}
}
