package headers

import (
	"net/http/httptest"
	"testing"
)

func TestAcceptsGzip(t *testing.T) {
	f := func(want bool, values ...string) {
		t.Helper()
		r := httptest.NewRequest("GET", "/", nil)
		for _, value := range values {
			r.Header.Add("Accept-Encoding", value)
		}
		if got := AcceptsGzip(r); got != want {
			t.Errorf("%q: %v", values, got)
		}
	}
	f(false)
	f(false, "")
	f(true, "gzip")
	f(true, "br", "deflate, gzip;q=0.5")
	f(true, "*")
	f(false, "identity")
	f(false, "gzip;q=0")
	f(false, "gzip; q=0, *")
	f(false, "*;q=0")
	f(false, "gzip;q=nonsense")
}

func TestHasTag(t *testing.T) {
	f := func(want bool, header, tag string) {
		t.Helper()
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("If-None-Match", header)
		if got := HasTag(r, tag); got != want {
			t.Errorf("%q has %s: %v", header, tag, got)
		}
	}
	f(true, `"a"`, `"a"`)
	f(true, `W/"a"`, `"a"`)
	f(true, `"b", "a"`, `W/"a"`)
	f(true, "*", `"a"`)
	f(false, "", `"a"`)
	f(false, `"ab"`, `"a"`)
	f(false, "a", `"a"`)
}

func TestWantsPretty(t *testing.T) {
	f := func(want bool, target, agent string, params map[string]string) {
		t.Helper()
		r := httptest.NewRequest("GET", target, nil)
		r.Header.Set("User-Agent", agent)
		if got := WantsPretty(r, params); got != want {
			t.Errorf("%s of %s with %v: %v", target, agent, params, got)
		}
	}
	f(false, "/", "kubectl/v1.36", nil)
	f(true, "/", "curl/8", nil)
	f(false, "/?pretty=false", "curl/8", nil)
	f(true, "/?pretty=1", "kubectl", nil)
	f(false, "/?pretty=nonsense", "curl/8", nil)
	f(true, "/?pretty=", "curl/8", nil)
	f(true, "/?pretty=0", "x", map[string]string{"pretty": "1"})
}
