package main

import (
	"bytes"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
)

// What krm token prints lets its token in, and nobody else.
func TestTokensOpenWhatTheySay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	var entries bytes.Buffer
	made := func(args ...string) (token string) {
		t.Helper()
		var shown bytes.Buffer
		cmd := newTokenCommand()
		cmd.SetArgs(args)
		cmd.SetOut(&entries)
		cmd.SetErr(&shown)
		if err := cmd.Execute(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Fields(shown.String())
		token = lines[len(lines)-1]
		if strings.Contains(entries.String(), token) {
			t.Errorf("the entry shows the token: %s", &entries)
		}
		return token
	}
	all, some := made("all"), made("some", "--namespaces", "a,b", "--resources", "pods,deployments.apps")
	if all == some || len(all) < 40 {
		t.Errorf("tokens %q and %q", all, some)
	}
	if err := os.WriteFile(file, entries.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	guard, err := auth.Open(auth.Config{Mode: auth.ModeToken, TokenFile: file}, nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	may := func(token, path string) (string, bool) {
		t.Helper()
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		user, err := guard.Authenticate(t.Context(), r)
		if err == nil {
			_, err = guard.Authorize(t.Context(), user, auth.AttributesOf(r))
		}
		return user.Name, err == nil
	}
	f := func(token, path, name string, want bool) {
		t.Helper()
		if user, ok := may(token, path); user != name || ok != want {
			t.Errorf("%s: %s, %v; want %s, %v", path, user, ok, name, want)
		}
	}
	f(all, "/api/v1/secrets", "all", true)
	f(some, "/api/v1/namespaces/b/pods", "some", true)
	f(some, "/apis/apps/v1/namespaces/a/deployments/d", "some", true)
	f(some, "/api/v1/namespaces/c/pods", "some", false)
	f(some, "/api/v1/pods", "some", false)
	f(some+"x", "/api/v1/namespaces/a/pods", "", false)
}

func TestTokensThatAreNotMade(t *testing.T) {
	f := func(want string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		cmd := newTokenCommand()
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(args)
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(out.String(), "krm_") {
			t.Errorf("%v: %v, want %q; printed %s", args, err, want, &out)
		}
	}
	f("name", "")
	f("name", "a b")
	f(`namespaces: "X"`, "a", "--namespaces", "X")
	f(`resources: "Pod"`, "a", "--resources", "Pod")
	f("resources: say which", "a", "--resources", "")
}
