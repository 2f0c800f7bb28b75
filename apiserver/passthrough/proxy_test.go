package passthrough

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/apiserver/auth"
)

// front is KRM with a pass-through to an API server that the test plays.
func front(t *testing.T, mode string, user auth.User, upstream http.HandlerFunc) *httptest.Server {
	t.Helper()
	above := httptest.NewServer(upstream)
	t.Cleanup(above.Close)
	return facing(t, mode, user, above.URL)
}

func facing(t *testing.T, mode string, user auth.User, upstream string) *httptest.Server {
	t.Helper()
	base, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	p := New(Config{Mode: mode}, base, &http.Transport{}, nil, slog.New(slog.DiscardHandler))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.Forward(w, r, user) }))
	server.EnableHTTP2 = true
	server.Config.ReadTimeout = 500 * time.Millisecond // pass-through outlives both
	server.Config.WriteTimeout = 500 * time.Millisecond
	return start(t, server)
}

func start(t *testing.T, server *httptest.Server) *httptest.Server {
	t.Helper()
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

var alice = auth.User{Name: "alice", Token: "hers"}

// ask sends a request and returns the answer and its body.
func ask(t *testing.T, server *httptest.Server, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestARequestGoesUpAsItCame(t *testing.T) {
	server := front(t, ModeAll, alice, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "yes")
		w.Header().Set("Warning", `299 - "old"`)
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.RequestURI(), body)
	})
	resp, text := ask(t, server, "PATCH", "/api/v1/namespaces/a/pods/b%2Fc?fieldManager=x&a=1;2&b=%20", `{"a":1}`)
	if resp.StatusCode != http.StatusConflict || resp.Header.Get("X-Answer") != "yes" || resp.Header.Get("Warning") == "" || resp.Header.Get(Header) != "true" {
		t.Errorf("answer %d %v", resp.StatusCode, resp.Header)
	}
	if want := `PATCH /api/v1/namespaces/a/pods/b%2Fc?fieldManager=x&a=1;2&b=%20 {"a":1}`; text != want {
		t.Errorf("upstream saw %s, want %s", text, want)
	}
}

func TestOnlyTheCallersCredentialsGoUp(t *testing.T) {
	f := func(user auth.User, want http.Header, sent ...string) {
		t.Helper()
		var got http.Header
		server := front(t, ModeAll, user, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })
		ask(t, server, "GET", "/api/v1/x", "", sent...)
		for name := range got {
			if strings.HasPrefix(name, "X-Forwarded-") || name == "User-Agent" || name == "Accept-Encoding" {
				got.Del(name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("header that goes up (-want +got):\n%s", diff)
		}
	}
	f(alice, http.Header{"Authorization": {"Bearer hers"}, "Accept": {"a/b"}},
		"Authorization", "Bearer another", "Cookie", "krm=session", "Accept", "a/b",
		"X-Remote-User", "admin", "X-Remote-Group", "system:masters", "X-Remote-Extra-A", "b", "X-Remote-Uid", "1",
		"Proxy-Authorization", "Basic eDp5", "Proxy-Connection", "close")
	f(alice, http.Header{"Authorization": {"Bearer hers"}, "Impersonate-User": {"bob"}, "Impersonate-Group": {"g", "h"}, "Impersonate-Extra-Scopes": {"s"}},
		"Impersonate-User", "bob", "Impersonate-Group", "g", "Impersonate-Group", "h", "Impersonate-Extra-Scopes", "s")
	f(auth.User{Name: "system:anonymous"}, http.Header{}, // --auth=none, nothing sent
		"Impersonate-User", "admin", "Impersonate-Extra-A", "b", "Authorization", "Basic eDp5")
}

func TestWhatConcernsTheConnectionStaysBehind(t *testing.T) {
	var got http.Header
	server := front(t, ModeAll, alice, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })
	conn := dial(t, server)
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, X-Hop, Authorization\r\nX-Hop: 1\r\nTe: gzip\r\nKeep-Alive: 5\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
		t.Fatal(err)
	}
	if got.Get("X-Hop")+got.Get("Te")+got.Get("Keep-Alive")+got.Get("Connection") != "" || got.Get("Authorization") != "Bearer hers" {
		t.Errorf("header that goes up: %v", got)
	}
}

func TestXForwardedFor(t *testing.T) {
	var got http.Header
	server := front(t, ModeAll, alice, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })
	ask(t, server, "GET", "/", "", "X-Forwarded-For", "6.6.6.6", "Forwarded", "for=6.6.6.6", "X-Real-Ip", "6.6.6.6")
	if got.Get("X-Forwarded-For") != "127.0.0.1" || got.Get("Forwarded") != "" || got.Get("Accept-Encoding") == "" {
		t.Errorf("header %v", got)
	}
}

func TestWhatDoesNotPass(t *testing.T) {
	f := func(mode string, user auth.User, method, path string, want string, header ...string) {
		t.Helper()
		passed := false
		server := front(t, mode, user, func(http.ResponseWriter, *http.Request) { passed = true })
		resp, text := ask(t, server, method, path, "", header...)
		var status metav1.Status
		if want == "" {
			if !passed || resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s %s did not pass: %d %s", mode, method, path, resp.StatusCode, text)
			}
			return
		}
		if err := json.Unmarshal([]byte(text), &status); err != nil || passed || resp.StatusCode != http.StatusForbidden ||
			status.Code != http.StatusForbidden || status.Reason != metav1.StatusReasonForbidden || status.Status != "Failure" || status.Kind != "Status" ||
			!strings.Contains(status.Message, want) || resp.Header.Get(Header) != "" {
			t.Errorf("%s: %s %s: %d %s, want %q", mode, method, path, resp.StatusCode, text, want)
		}
	}
	const pod = "/api/v1/namespaces/a/pods/b"
	f(ModeNone, alice, "GET", pod, "start KRM with --passthrough=reads")
	f("", alice, "GET", pod, "start KRM with --passthrough=reads")
	f(ModeAll, auth.User{Name: "x", Static: true}, "GET", pod, "does not send its own tokens")
	f(ModeAll, auth.User{Name: "x", Certificate: true}, "GET", pod, "kubectl create token")
	f(ModeAll, alice, "DELETE", pod, "")
	f(ModeAll, alice, "POST", pod+"/exec?command=sh", "")

	const refused = "start KRM with --passthrough=all"
	for _, path := range []string{
		pod, pod + "/log?follow=true", pod + "/status", "/api/v1/namespaces/a/pods/exec", "/api/v1/namespaces/exec/pods/proxy/log", "/api/v1/events",
		"/apis", "/metrics", "/", "/api/v1/namespaces/proxy",
	} {
		f(ModeReads, alice, "GET", path, "")
		f(ModeReads, alice, "HEAD", path, "")
	}
	for _, path := range []string{
		pod + "/exec?command=sh", pod + "/attach", pod + "/portforward", pod + "/proxy", pod + "/proxy/admin", pod + "/e%78ec", pod + "/EXEC",
		"/api/v1/nodes/n/proxy/run", "/api/v1/namespaces/a/services/s:80/proxy/", "/api/v1/proxy/nodes/n", "/api/v1/proxy/namespaces/a/pods/b",
		"/api/v1/namespaces/a//pods/b/exec", "/api/v1/namespaces/a/../a/pods/b", "//api/v1/namespaces/a/pods/b/exec",
	} {
		f(ModeReads, alice, "GET", path, refused)
	}
	f(ModeReads, alice, "GET", pod, refused, "Connection", "Upgrade", "Upgrade", "websocket")
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "FOO"} {
		f(ModeReads, alice, method, pod, refused)
	}
	f(ModeReads, alice, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "")
	f(ModeReads, alice, "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "")
	f(ModeReads, alice, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "")
	f(ModeReads, alice, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", refused)
	f(ModeReads, alice, "POST", "/apis/example.com/v1/selfsubjectreviews", refused)
	f(ModeReads, alice, "DELETE", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", refused)
}

// A stream's pieces come when they are sent, over both protocols, and longer than
// the server's timeouts for requests and answers last.
func TestStreams(t *testing.T) {
	next := make(chan struct{})
	server := front(t, ModeReads, alice, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(700 * time.Millisecond) // nothing to tell for a while: real time, as connections' deadlines are
		w.Header().Set("Content-Type", "application/json")
		for i := range 4 {
			fmt.Fprintf(w, "event %d\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	})
	for _, version := range []string{"HTTP/1.1", "HTTP/2.0"} {
		client := server.Client()
		if version == "HTTP/1.1" {
			transport := client.Transport.(*http.Transport).Clone()
			transport.ForceAttemptHTTP2, transport.TLSClientConfig.NextProtos = false, nil
			client = &http.Client{Transport: transport}
		}
		resp, err := client.Get(server.URL + "/api/v1/pods?watch=1")
		if err != nil {
			t.Fatal(err)
		}
		if resp.Proto != version {
			t.Errorf("got %s, want %s", resp.Proto, version)
		}
		lines := bufio.NewReader(resp.Body)
		for i := range 4 {
			line, err := lines.ReadString('\n')
			if err != nil || line != fmt.Sprintf("event %d\n", i) {
				t.Fatalf("%s: %q, %v; want event %d", version, line, err, i)
			}
			time.Sleep(200 * time.Millisecond)
			select {
			case next <- struct{}{}:
			case <-time.After(5 * time.Second):
				t.Fatalf("%s: the stream ended after event %d", version, i)
			}
		}
		resp.Body.Close()
	}
}

// A body may come slowly.
func TestSlowBody(t *testing.T) {
	server := front(t, ModeAll, alice, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	from, to := io.Pipe()
	go func() {
		for range 4 {
			fmt.Fprint(to, "piece ")
			time.Sleep(200 * time.Millisecond)
		}
		to.Close()
	}()
	conn := dial(t, server)
	defer conn.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, from)
	if err != nil {
		t.Fatal(err)
	}
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || string(text) != strings.Repeat("piece ", 4) {
		t.Errorf("%s: %s, %v", resp.Status, text, err)
	}
}

func TestUpgrade(t *testing.T) {
	above := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer hers" || r.Header.Get("X-Stream-Protocol-Version") != "v4" || r.URL.RawQuery != "command=sh" {
			t.Errorf("upstream saw %v %v", r.URL, r.Header)
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nX-Stream-Protocol-Version: v4\r\n\r\nhello\n", r.Header.Get("Upgrade"))
		for {
			line, err := buffered.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprint(conn, strings.ToUpper(line))
		}
	}))
	t.Cleanup(above.Close)
	base, err := url.Parse(above.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := New(Config{Mode: ModeAll}, base, &http.Transport{}, nil, slog.New(slog.DiscardHandler))
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New() // whose writers wrap the connection, as in KRM
	engine.NoRoute(func(c *gin.Context) { p.Forward(c.Writer, c.Request, alice) })
	server := httptest.NewUnstartedServer(engine)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 500*time.Millisecond, 500*time.Millisecond
	start(t, server)
	for _, protocol := range []string{"SPDY/3.1", "websocket"} {
		conn := dial(t, server)
		fmt.Fprintf(conn, "POST /api/v1/namespaces/a/pods/b/exec?command=sh HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %s\r\nX-Stream-Protocol-Version: v4\r\n\r\n", protocol)
		from := bufio.NewReader(conn)
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != protocol || resp.Header.Get("X-Stream-Protocol-Version") != "v4" || resp.Header.Get(Header) != "true" {
			t.Errorf("%s: %s %v", protocol, resp.Status, resp.Header)
		}
		for _, say := range []string{"", "one\n", "two\n", "three\n"} {
			fmt.Fprint(conn, say)
			want := strings.ToUpper(say)
			if say == "" {
				want = "hello\n"
			}
			if line, err := from.ReadString('\n'); err != nil || line != want {
				t.Fatalf("%s: %q, %v; want %q", protocol, line, err, want)
			}
			time.Sleep(250 * time.Millisecond) // longer together than the server's timeouts
		}
		conn.Close()
	}
}

// dial connects to the server with TLS, for HTTP/1.1.
func dial(t *testing.T, server *httptest.Server) net.Conn {
	t.Helper()
	config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	conn, err := tls.Dial("tcp", server.Listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestMethodsOfNoUse(t *testing.T) {
	server := front(t, ModeAll, alice, func(http.ResponseWriter, *http.Request) { t.Error("it passed") })
	for _, method := range []string{"TRACE", "CONNECT"} {
		if resp, text := ask(t, server, method, "/api/v1/pods", ""); resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", method, resp.StatusCode, text)
		}
	}
}

func TestUpstreamAway(t *testing.T) {
	above := httptest.NewServer(http.NotFoundHandler())
	above.Close()
	server := facing(t, ModeReads, alice, above.URL)
	resp, text := ask(t, server, "GET", "/api/v1/events", "")
	var status metav1.Status
	if err := json.Unmarshal([]byte(text), &status); err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" ||
		status.Reason != metav1.StatusReasonServiceUnavailable || status.Details.RetryAfterSeconds != 1 || strings.Contains(text, "127.0.0.1") {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, text)
	}
}

// An answer that breaks off must not look complete.
func TestUpstreamBreaksOff(t *testing.T) {
	server := front(t, ModeReads, alice, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	resp, err := server.Client().Get(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err == nil || errors.Is(err, io.EOF) || text.String() != "half" {
		t.Errorf("%q, %v", text.String(), err)
	}
}

func TestConfig(t *testing.T) {
	for mode, want := range map[string]string{"none": "", "reads": "", "all": "", "": "want one of", "writes": "want one of none, reads, all"} {
		c := Config{Mode: mode}
		if err := c.Validate(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", mode, err)
		}
		if c.Enabled() != (mode == "reads" || mode == "all") {
			t.Errorf("%s enabled: %v", mode, c.Enabled())
		}
	}
}
