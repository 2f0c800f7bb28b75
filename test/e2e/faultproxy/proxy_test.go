package faultproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func frame(kind, name string) string {
	return fmt.Sprintf(`{"type":%q,"object":{"kind":"Table","rows":[{"cells":[],"object":{"metadata":{"namespace":"shop","name":%q}}}]}}`, kind, name)
}

const initialEnd = `{"type":"BOOKMARK","object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"}}}}`

// upstream answers watches with the frames sent to it, and everything else with
// the credentials it saw.
func upstream(t *testing.T) (frames chan string, config *rest.Config) {
	t.Helper()
	frames = make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			fmt.Fprintln(w, r.Header.Get("Authorization"))
			return
		}
		for {
			_ = http.NewResponseController(w).Flush()
			select {
			case line := <-frames:
				fmt.Fprintln(w, line)
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return frames, &rest.Config{Host: server.URL, BearerToken: "admin"}
}

// start runs a proxy, and returns a client that goes through it.
func start(t *testing.T, config *rest.Config) (*Proxy, *http.Client, string) {
	t.Helper()
	proxy, err := New(config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := proxy.WriteKubeconfig(path); err != nil {
		t.Fatal(err)
	}
	through, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(through)
	if err != nil {
		t.Fatal(err)
	}
	return proxy, client, through.Host
}

// watch opens a watch of pods through the proxy and sends its lines to a channel;
// the last one is how it ended.
func watch(t *testing.T, client *http.Client, host, query string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/api/v1/pods?watch=true"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() {
		defer answer.Body.Close()
		reader := bufio.NewReader(answer.Body)
		for {
			line, err := reader.ReadString('\n')
			if line != "" {
				lines <- strings.TrimSuffix(line, "\n")
			}
			if err != nil {
				lines <- "end: " + err.Error()
				return
			}
		}
	}()
	t.Cleanup(cancel)
	return lines
}

func next(t *testing.T, lines <-chan string) string {
	t.Helper()
	select {
	case line := <-lines:
		return line
	case <-time.After(10 * time.Second):
		t.Fatal("no line within 10 s")
		return ""
	}
}

func TestProxyReplacesCredentials(t *testing.T) {
	_, config := upstream(t)
	_, client, host := start(t, config)
	answer, err := client.Get(host + "/version")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); strings.TrimSpace(string(body)) != "Bearer admin" {
		t.Errorf("upstream saw %q", body)
	}
	if answer.ProtoMajor != 2 {
		t.Errorf("the client speaks %s, as with a real API server it should speak HTTP/2", answer.Proto)
	}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, host+"/version", nil)
	request.Header.Set("Authorization", "Bearer other")
	refused, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer refused.Body.Close()
	if refused.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong token gets %s", refused.Status)
	}
}

func TestSwallowDropsLiveFramesOnly(t *testing.T) {
	frames, config := upstream(t)
	proxy, client, host := start(t, config)
	proxy.Frames.Swallow([]Ref{{"pods", "shop/lost"}, {"services", "shop/kept"}})
	lines := watch(t, client, host, "&sendInitialEvents=true")
	for _, line := range []string{
		frame("ADDED", "lost"), initialEnd, frame("ADDED", "kept"), frame("MODIFIED", "lost"),
		frame("BOOKMARK", ""), frame("DELETED", "lost"), frame("DELETED", "kept"),
	} {
		frames <- line
	}
	for _, want := range []string{frame("ADDED", "lost"), initialEnd, frame("ADDED", "kept"), frame("BOOKMARK", ""), frame("DELETED", "kept")} {
		if got := next(t, lines); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
	if got := proxy.Frames.Swallowed(); got != 1 {
		t.Errorf("%d objects lost frames, want 1", got)
	}
}

func TestDamage(t *testing.T) {
	frames, config := upstream(t)
	proxy, client, host := start(t, config)
	one, two := frame("MODIFIED", "one"), frame("MODIFIED", "two")

	proxy.Frames.Damage(Garbled, 1, "pods")
	lines := watch(t, client, host, "")
	frames <- one
	frames <- two
	if got := next(t, lines); got != one[:(len(one)+1)/2] {
		t.Errorf("garbled: %q", got)
	}
	if got := next(t, lines); got != two {
		t.Errorf("after a garbled frame: %q", got)
	}

	proxy.Frames.Damage(Halved, 1, "pods")
	frames <- one
	if got := next(t, lines); got != one[:(len(one)+1)/2] {
		t.Errorf("halved: %q", got)
	}
	if got := next(t, lines); !strings.HasPrefix(got, "end: ") || strings.HasSuffix(got, "EOF") && !strings.Contains(got, "unexpected") {
		t.Errorf("after half a frame: %q, want a broken connection", got)
	}
	if got := proxy.Frames.Damaged(); got != 1 {
		t.Errorf("%d frames damaged, want 1", got)
	}
}

func TestNetworkFaults(t *testing.T) {
	frames, config := upstream(t)
	proxy, client, host := start(t, config)
	get := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/version", nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err == nil {
			_ = answer.Body.Close()
		}
		return err
	}

	lines := watch(t, client, host, "")
	frames <- frame("ADDED", "one")
	next(t, lines)
	if n := proxy.Network.Cut(); n != 1 {
		t.Errorf("cut %d connections, want 1", n)
	}
	if got := next(t, lines); !strings.HasPrefix(got, "end: ") {
		t.Errorf("a cut watch says %q", got)
	}

	proxy.Network.Refuse(true)
	if err := get(5 * time.Second); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an unreachable server: %v", err)
	}
	proxy.Network.Refuse(false)
	if err := get(5 * time.Second); err != nil {
		t.Errorf("a server that is back: %v", err)
	}

	lines = watch(t, client, host, "")
	frames <- frame("ADDED", "two")
	next(t, lines)
	proxy.Network.Swallow(true)
	frames <- frame("ADDED", "three")
	if err := get(300 * time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a swallowed request: %v, want a deadline", err)
	}
	proxy.Network.Swallow(false)
	select {
	case line := <-lines:
		t.Errorf("a half-open watch said %q", line)
	case <-time.After(100 * time.Millisecond):
	}
	client.CloseIdleConnections()
}

func TestForgottenConnectionsStayDead(t *testing.T) {
	frames, config := upstream(t)
	proxy, client, host := start(t, config)
	lines := watch(t, client, host, "")
	frames <- frame("ADDED", "one")
	next(t, lines)
	proxy.Network.Forget()
	frames <- frame("ADDED", "two")
	select {
	case line := <-lines:
		t.Errorf("a forgotten watch said %q", line)
	case <-time.After(100 * time.Millisecond):
	}
	if err := getAnew(proxy, host); err != nil {
		t.Fatalf("a new connection: %v", err)
	}
}

// getAnew makes a request over a connection of its own.
func getAnew(proxy *Proxy, host string) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(proxy.ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest(http.MethodGet, host+"/version", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+proxy.token)
	answer, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func TestSlow(t *testing.T) {
	frames, config := upstream(t)
	proxy, client, host := start(t, config)
	lines := watch(t, client, host, "")
	frames <- frame("ADDED", "one")
	next(t, lines)
	proxy.Network.Slow(0, 20_000)
	long := frame("ADDED", strings.Repeat("x", 10_000))
	began := time.Now()
	frames <- long
	if got := next(t, lines); got != long {
		t.Error("a slow frame is another frame")
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("10 kB at 20 kB/s took %v", took)
	}
}

func TestResourceOf(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		if got := resourceOf(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	f("/api/v1/pods", "pods")
	f("/api/v1/namespaces", "namespaces")
	f("/api/v1/namespaces/shop/pods", "pods")
	f("/api/v1/namespaces/shop", "namespaces")
	f("/apis/apps/v1/deployments", "deployments.apps")
	f("/apis/krm.test/v1/namespaces/a/widgets", "widgets.krm.test")
	f("/version", "")
}
