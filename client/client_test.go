package client_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// serve answers every request of the client that it returns with handler.
func serve(t *testing.T, handler http.HandlerFunc) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return connect(t, server.URL, client.Options{Retries: -1})
}

func connect(t *testing.T, url string, opts client.Options) *client.Client {
	t.Helper()
	krm, err := client.New(url, opts)
	if err != nil {
		t.Fatal(err)
	}
	return krm
}

// reply answers with a body of JSON.
func reply(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// wire is a network without a network: it works inside a synctest bubble.
type wire func(*http.Request) (*http.Response, error)

func (w wire) RoundTrip(request *http.Request) (*http.Response, error) { return w(request) }

func response(code int, body string, header ...string) *http.Response {
	answer := &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
	for i := 0; i < len(header); i += 2 {
		answer.Header.Set(header[i], header[i+1])
	}
	return answer
}

const onePod = `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"42"},"items":[{"metadata":{"name":"web-1","namespace":"default"}}]}`

func TestNewRefuses(t *testing.T) {
	f := func(url string, opts client.Options, wants ...string) {
		t.Helper()
		krm, err := client.New(url, opts)
		if err == nil || krm != nil {
			t.Fatalf("New(%q) = %v, %v, want an error", url, krm, err)
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("New(%q): %q does not say %q", url, err, want)
			}
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("New(%q): %q tells the password", url, err)
		}
	}
	const accepted = "want http://HOST[:PORT]"
	f("", client.Options{}, `""`, accepted)
	f("localhost:8080", client.Options{}, `"localhost:8080"`, accepted)
	f("127.0.0.1:8080", client.Options{}, `"127.0.0.1:8080"`, accepted)
	f("ftp://host", client.Options{}, `"ftp://host"`, accepted)
	f("http://", client.Options{}, accepted)
	f("http://:8080", client.Options{}, accepted)
	f("http://host:port", client.Options{}, `"http://host:port"`, accepted)
	f("http://a b", client.Options{}, accepted)
	f("http://me:s3cret@host", client.Options{}, "credentials", "host", accepted)
	f("http://me:s3cret@ho st", client.Options{}, "ho st", accepted)
	f("http://host?x=1", client.Options{}, "query", accepted)
	f("http://host#x", client.Options{}, "fragment", accepted)
	f("http://host", client.Options{Token: "s3cret", TokenFile: "file"}, "Token", "TokenFile")
	f("http://host", client.Options{Token: "s3cret\n"}, "line break")
	f("http://host", client.Options{Timeout: -time.Second}, "-1s", "30s")
}

func TestRequest(t *testing.T) {
	f := func(base, token, wantPath, wantQuery string, call func(*client.Client) error) {
		t.Helper()
		var got *http.Request
		krm := connect(t, base, client.Options{Token: token, HTTPClient: &http.Client{Transport: wire(func(request *http.Request) (*http.Response, error) {
			got = request
			return response(404, `{}`), nil
		})}})
		if err := call(krm); !apierrors.IsNotFound(err) {
			t.Fatalf("got %v, want a 404 from the server", err)
		}
		wantAuthorization := ""
		if token != "" {
			wantAuthorization = "Bearer " + token
		}
		if diff := cmp.Diff([]string{wantPath, wantQuery, wantAuthorization, "application/vnd.kubernetes.protobuf,application/json", "identity"},
			[]string{got.URL.EscapedPath(), got.URL.RawQuery, got.Header.Get("Authorization"), got.Header.Get("Accept"), got.Header.Get("Accept-Encoding")}); diff != "" {
			t.Error(diff)
		}
		if agent := got.Header.Get("User-Agent"); !strings.HasPrefix(agent, "krm-client (") {
			t.Errorf("User-Agent is %q", agent)
		}
	}
	ctx := t.Context()
	all := client.ListOptions{}
	f("http://host", "", "/api/v1/pods", "", func(c *client.Client) error { _, _, err := c.Pods("").List(ctx, all); return err })
	f("http://host/", "t", "/api/v1/namespaces/a/pods", "", func(c *client.Client) error { _, _, err := c.Pods("a").List(ctx, all); return err })
	f("http://host/krm/", "t", "/krm/apis/apps/v1/namespaces/a/deployments/d", "", func(c *client.Client) error { _, _, err := c.Deployments("a").Get(ctx, "d"); return err })
	f("http://host/a%2Fb", "", "/a%2Fb/api/v1/nodes/n:1", "", func(c *client.Client) error { _, _, err := c.Nodes().Get(ctx, "n:1"); return err })
	f("http://host", "", "/api/v1/namespaces", "", func(c *client.Client) error { _, _, err := c.Namespaces().List(ctx, all); return err })
	f("http://host", "", "/api/v1/services", "", func(c *client.Client) error { _, _, err := c.Services("").List(ctx, all); return err })
	f("http://host", "", "/api/v1/persistentvolumeclaims", "", func(c *client.Client) error { _, _, err := c.PersistentVolumeClaims("").List(ctx, all); return err })
	f("http://host", "", "/apis/networking.k8s.io/v1/ingresses", "", func(c *client.Client) error { _, _, err := c.Ingresses("").List(ctx, all); return err })
	f("http://host", "", "/api/v1/pods",
		"continue=c&fieldSelector=spec.nodeName%3Dn&labelSelector=a+in+%28b%29&limit=5&resourceVersion=7&resourceVersionMatch=Exact",
		func(c *client.Client) error {
			_, _, err := c.Pods("").List(ctx, client.ListOptions{
				LabelSelector: "a in (b)", FieldSelector: "spec.nodeName=n", Limit: 5, Continue: "c",
				ResourceVersion: "7", ResourceVersionMatch: metav1.ResourceVersionMatchExact,
			})
			return err
		})
}

func TestNamesAreChecked(t *testing.T) {
	krm := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("requested %s", r.URL) })
	f := func(namespace, name, want string) {
		t.Helper()
		if _, _, err := krm.Pods(namespace).Get(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Pods(%q).Get(%q): %v, want an error about %s", namespace, name, err, want)
		}
	}
	f("", "web", "no namespace")
	f("default", "", "name of a Pod")
	f("default", "..", `".."`)
	f("a/b", "web", `"a/b"`)
	f("default", "web/log", `"web/log"`)
	if _, _, err := krm.Pods("..").List(t.Context(), client.ListOptions{}); err == nil {
		t.Error(`Pods("..").List works`)
	}
	if _, _, err := krm.Get(t.Context(), client.Request{Path: "api"}); err == nil || !strings.Contains(err.Error(), `"api"`) {
		t.Errorf(`Get("api"): %v`, err)
	}
}

func TestFreshness(t *testing.T) {
	f := func(header map[string]string, want client.Freshness, wantErr string) {
		t.Helper()
		krm := serve(t, func(w http.ResponseWriter, r *http.Request) {
			for name, value := range header {
				w.Header().Set(name, value)
			}
			reply(200, onePod)(w, r)
		})
		pods, got, err := krm.Pods("").List(t.Context(), client.ListOptions{})
		if wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("got %v, want an error with %q", err, wantErr)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if pods.ResourceVersion != "42" || len(pods.Items) != 1 || pods.Items[0].Name != "web-1" {
			t.Errorf("got %+v", pods)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if zone := got.VerifiedAt.Location(); zone != time.UTC {
			t.Errorf("VerifiedAt is in %v, want UTC", zone)
		}
	}
	f(map[string]string{
		"Krm-Resource-Version": "42", "Krm-Streamed-At": "2026-03-01T12:00:00.250Z",
		"Krm-Verified-Resource-Version": "40", "Krm-Verified-At": "2026-03-01T13:59:30.000+02:00",
		"Warning": `299 krm "pods: 95 s old, more than 90 s"`,
	}, client.Freshness{
		StreamedResourceVersion: "42", StreamedAt: time.Date(2026, 3, 1, 12, 0, 0, 250e6, time.UTC),
		VerifiedResourceVersion: "40", VerifiedAt: time.Date(2026, 3, 1, 11, 59, 30, 0, time.UTC),
		Warnings: []string{"pods: 95 s old, more than 90 s"},
	}, "")
	f(map[string]string{"Warning": `299 - "one", 299 - "two"`}, client.Freshness{Warnings: []string{"one", "two"}}, "")
	f(map[string]string{"Warning": "nonsense"}, client.Freshness{}, "")
	f(nil, client.Freshness{}, "")
	f(map[string]string{"Krm-Streamed-At": "noon"}, client.Freshness{}, `header Krm-Streamed-At: "noon": want a time`)
	f(map[string]string{"Krm-Verified-At": "1772366400"}, client.Freshness{}, `header Krm-Verified-At: "1772366400"`)
}

func TestRefusals(t *testing.T) {
	f := func(code int, contentType, body string, is func(error) bool, want string) {
		t.Helper()
		krm := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		})
		_, _, err := krm.Pods("default").Get(t.Context(), "web")
		if _, ok := err.(*apierrors.StatusError); !ok { //nolint:errorlint // it has to be one itself
			t.Fatalf("got %T %v, want a StatusError", err, err)
		}
		if !is(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%d %q: got %v, want it to say %q", code, body, err, want)
		}
		if len(err.Error()) > 400 {
			t.Errorf("the text has %d bytes", len(err.Error()))
		}
	}
	status := func(reason, message string) string {
		return `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"` + reason + `","message":"` + message + `"}`
	}
	f(404, "application/json", status("NotFound", `pods \"web\" not found`), apierrors.IsNotFound, `pods "web" not found`)
	f(410, "application/json; charset=utf-8", status("Expired", "too old"), apierrors.IsResourceExpired, "too old")
	f(503, "application/json", status("ServiceUnavailable", "pods are not synced yet"), apierrors.IsServiceUnavailable, "not synced yet")
	f(403, "application/json", `{"error":"no"}`, apierrors.IsForbidden, `403 Forbidden: {"error":"no"}`)
	f(404, "text/html", "<html>\n<p>nothing</p>", apierrors.IsNotFound, "/api/v1/namespaces/default/pods/web: 404 Not Found: <html> <p>nothing</p>")
	f(502, "text/html", strings.Repeat("<p>", 1000), func(error) bool { return true }, "502 Bad Gateway: <p>")
	f(503, "", "", apierrors.IsServiceUnavailable, "503 Service Unavailable")
	f(401, "text/plain", "bad \xff\x00\x1b[31m token", apierrors.IsUnauthorized, "bad � [31m token")
	f(429, "text/plain", "slow down", func(err error) bool {
		seconds, ok := apierrors.SuggestsClientDelay(err)
		return apierrors.IsTooManyRequests(err) && ok && seconds == 7
	}, "slow down")
}

func TestGarbage(t *testing.T) {
	f := func(contentType, body, want string) {
		t.Helper()
		krm := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = io.WriteString(w, body)
		})
		pods, _, err := krm.Pods("").List(t.Context(), client.ListOptions{})
		if err == nil || pods != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %q: got %v, %v, want an error with %q", contentType, body, pods, err, want)
		}
	}
	f("text/html", "<html>hello</html>", `of type "text/html", want application/json or application/vnd.kubernetes.protobuf (is this KRM's address?): <html>hello</html>`)
	f("", onePod, "want application/json")
	f("application/jsonp", onePod, "want application/json")
	f("application/vnd.kubernetes.protobuf", "k8s", "it does not begin with k8s")
	f("application/vnd.kubernetes.protobuf", "k8s\x00\x0a", "cut off")
	f("application/vnd.kubernetes.protobuf", "k8s\x00\x0a\x0c\x0a\x02v1\x12\x06Secret", `got "Secret" of "v1"`)
	f("application/json", "", `want PodList of v1, got "" of ""`)
	f("application/json", "{}", `want PodList of v1, got "" of ""`)
	f("application/json", "null", "want PodList of v1")
	f("application/json", `{"kind":"NodeList","apiVersion":"v1","items":[]}`, `got "NodeList" of "v1"`)
	f("application/json", `{"kind":"PodList","apiVersion":"v2","items":[]}`, `got "PodList" of "v2"`)
	f("application/json", onePod[:60], "GET http://127.0.0.1:")
	f("application/json", `{"kind":"PodList","apiVersion":"v1","items":{}}`, "decode the PodList")
}

func TestRetries(t *testing.T) {
	const never = -1
	broken := func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
	cut := func(*http.Request) (*http.Response, error) {
		answer := response(200, "")
		answer.Body = io.NopCloser(io.MultiReader(strings.NewReader(onePod[:9]), failing{}))
		return answer, nil
	}
	says := func(code int, header ...string) wire {
		return func(*http.Request) (*http.Response, error) { return response(code, "{}", header...), nil }
	}
	hangs := func(request *http.Request) (*http.Response, error) {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}
	// fails is what the first tries meet; afterwards all is well. From and to bound
	// the time that the call takes.
	f := func(retries, wantTries int, from, to time.Duration, wantErr string, fails ...wire) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			krm := connect(t, "http://host", client.Options{Retries: retries, HTTPClient: &http.Client{Transport: wire(func(request *http.Request) (*http.Response, error) {
				if tries++; tries <= len(fails) {
					return fails[tries-1](request)
				}
				return response(200, onePod), nil
			})}})
			began := time.Now()
			_, _, err := krm.Pods("").List(t.Context(), client.ListOptions{})
			took := time.Since(began)
			if tries != wantTries || took < from || took > to {
				t.Errorf("%d tries in %v, want %d in %v to %v", tries, took, wantTries, from, to)
			}
			if wantErr == "" && err != nil || wantErr != "" && (err == nil || !strings.Contains(err.Error(), wantErr)) {
				t.Errorf("got error %v, want %q", err, wantErr)
			}
		})
	}
	ms := time.Millisecond
	f(0, 1, 0, 0, "")
	f(0, 2, 50*ms, 100*ms, "", broken)
	f(0, 2, 50*ms, 100*ms, "", cut)
	f(0, 5, 750*ms, 1500*ms, "", says(429), says(502), says(503), says(504))
	f(0, 5, 750*ms, 1500*ms, "503", says(502), says(502), says(502), says(502), says(503))
	f(0, 5, 750*ms, 1500*ms, "GET http://host/api/v1/pods: unexpected EOF", broken, broken, broken, broken, broken)
	f(8, 9, 6050*ms, 12100*ms, "", broken, broken, broken, broken, broken, broken, broken, broken)
	f(never, 1, 0, 0, "503", says(503))
	f(0, 1, 0, 0, "500", says(500))
	f(0, 1, 0, 0, "404", says(404))
	f(0, 1, 0, 0, "410", says(410))
	f(0, 2, 30050*ms, 30100*ms, "", hangs)
	f(never, 1, 30*time.Second, 30*time.Second, "no whole answer within 30s", hangs)

	// Retry-After is the least that is waited.
	f(0, 2, 5*time.Second, 5*time.Second, "", says(503, "Retry-After", "5"))
	f(0, 2, 50*ms, 100*ms, "", says(503, "Retry-After", "0"))
	f(0, 2, 50*ms, 100*ms, "", says(503, "Retry-After", "soon"))
	f(0, 2, 10*time.Second, 10*time.Second, "", says(503, "Retry-After", "Sun, 01 Mar 2026 12:00:10 GMT", "Date", "Sun, 01 Mar 2026 12:00:00 GMT"))
	f(0, 2, 60*time.Second, 60*time.Second, "", says(429, "Retry-After", "60"))
	f(0, 1, 0, 0, "429", says(429, "Retry-After", "61"))
}

// failing is a body that breaks.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestContextEndsTheCall(t *testing.T) {
	down := wire(func(*http.Request) (*http.Response, error) { return response(503, "{}", "Retry-After", "20"), nil })
	synctest.Test(t, func(t *testing.T) { // while it waits before the next try
		krm := connect(t, "http://host", client.Options{HTTPClient: &http.Client{Transport: down}})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(7*time.Second, cancel)
		began := time.Now()
		_, _, err := krm.Pods("").List(ctx, client.ListOptions{})
		if took := time.Since(began); took != 7*time.Second || !errors.Is(err, context.Canceled) || !apierrors.IsServiceUnavailable(err) {
			t.Errorf("after %v: %v, want after 7s: canceled, and why it waited", took, err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // no waiting for what cannot be reached
		krm := connect(t, "http://host", client.Options{HTTPClient: &http.Client{Transport: down}})
		ctx, cancel := context.WithTimeout(t.Context(), 19*time.Second)
		defer cancel()
		began := time.Now()
		_, _, err := krm.Pods("").List(ctx, client.ListOptions{})
		if took := time.Since(began); took != 0 || !apierrors.IsServiceUnavailable(err) {
			t.Errorf("after %v: %v, want the server's answer at once", took, err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // during a try
		krm := connect(t, "http://host", client.Options{HTTPClient: &http.Client{Transport: wire(func(request *http.Request) (*http.Response, error) {
			<-request.Context().Done()
			return nil, request.Context().Err()
		})}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, _, err := krm.Pods("").List(ctx, client.ListOptions{})
		var connection *client.ConnectionError
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &connection) || strings.Contains(err.Error(), "30s") {
			t.Errorf("got %v, want the call's own deadline", err)
		}
	})
}

func TestConnectionError(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	krm := connect(t, server.URL, client.Options{Retries: 1})
	_, _, err := krm.Pods("").List(t.Context(), client.ListOptions{LabelSelector: "a=b"})
	var connection *client.ConnectionError
	if !errors.As(err, &connection) {
		t.Fatalf("got %T %v", err, err)
	}
	if text := err.Error(); !strings.HasPrefix(text, "GET "+server.URL+"/api/v1/pods: dial tcp") || strings.Contains(text, "a=b") {
		t.Errorf("got %q", text)
	}
}

func TestCertificates(t *testing.T) {
	tries := 0
	server := httptest.NewUnstartedServer(reply(200, onePod))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	counting := &http.Client{Transport: wire(func(request *http.Request) (*http.Response, error) {
		tries++
		return http.DefaultTransport.RoundTrip(request)
	})}
	_, _, err := connect(t, server.URL, client.Options{HTTPClient: counting}).Pods("").List(t.Context(), client.ListOptions{})
	if err == nil || tries != 1 {
		t.Errorf("an unknown certificate: %v after %d tries, want an error after 1", err, tries)
	}
	if _, _, err := connect(t, server.URL, client.Options{HTTPClient: server.Client()}).Pods("").List(t.Context(), client.ListOptions{}); err != nil {
		t.Errorf("a known certificate: %v", err)
	}
}

func TestTokenFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	var sent string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = r.Header.Get("Authorization")
		reply(200, onePod)(w, r)
	}))
	t.Cleanup(server.Close)
	krm := connect(t, server.URL, client.Options{TokenFile: file})
	f := func(content, want, wantErr string) {
		t.Helper()
		sent = ""
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := krm.Pods("").List(t.Context(), client.ListOptions{})
		if sent != want || (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
			t.Errorf("%q: sent %q, error %v", content, sent, err)
		}
	}
	if _, _, err := krm.Pods("").List(t.Context(), client.ListOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without the file: %v", err)
	}
	f("first\n", "Bearer first", "")
	f("second", "Bearer second", "")
	f("\n", "", "is empty")
	f("a\nb", "", "several lines")
}
