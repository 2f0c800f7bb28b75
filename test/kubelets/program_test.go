package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// program is this program, run in the test.
type program struct {
	t      *testing.T
	about  map[string]string // of the ready line
	client *http.Client
	ports  map[string]int
}

func start(t *testing.T, args ...string) *program {
	t.Helper()
	dir := t.TempDir()
	cfg, err := parseFlags(append(args, "--dir="+dir, "--log-level=error"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, cfg, writer)
		writer.CloseWithError(io.EOF)
		done <- err
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		t.Fatalf("no ready line: %v", err)
	}
	p := &program{t: t, about: map[string]string{}, ports: map[string]int{}}
	for _, field := range strings.Fields(line) {
		key, value, _ := strings.Cut(field, "=")
		p.about[key] = value
	}
	pool := x509.NewCertPool()
	if ca, err := os.ReadFile(p.about["ca"]); err == nil {
		pool.AppendCertsFromPEM(ca)
	}
	p.client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	t.Cleanup(p.client.CloseIdleConnections)
	_, body := p.do("GET", p.about["control"]+"/nodes", "")
	var nodes []state
	if err := json.Unmarshal(body, &nodes); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		p.ports[n.Name] = n.Port
	}
	return p
}

// do returns the status, 0 if there was none, and what came of the body.
func (p *program) do(method, address, token string) (int, []byte) {
	p.t.Helper()
	request, err := http.NewRequestWithContext(p.t.Context(), method, address, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return 0, body
	}
	return response.StatusCode, body
}

func (p *program) kubelet(node, path string) (int, []byte) {
	p.t.Helper()
	return p.do("GET", fmt.Sprintf("https://127.0.0.1:%d%s", p.ports[node], path), "good")
}

// fault gives a node a fault, or with kind "" takes it away.
func (p *program) fault(node, kind, duration string) {
	p.t.Helper()
	method, query := "PUT", url.Values{"node": {node}, "kind": {kind}}
	if kind == "" {
		method = "DELETE"
	}
	if duration != "" {
		query.Set("for", duration)
	}
	if code, body := p.do(method, p.about["control"]+"/fault?"+query.Encode(), ""); code != http.StatusOK {
		p.t.Fatalf("fault %s: %d %s", kind, code, body)
	}
}

func TestFaults(t *testing.T) {
	p := start(t, "--nodes=2", "--pods=3", "--housekeeping=1s")
	p.client.Timeout = 500 * time.Millisecond
	const node = "node-0000"
	read := func() stats.Summary {
		t.Helper()
		code, body := p.kubelet(node, "/stats/summary")
		if code != http.StatusOK {
			t.Fatalf("%d %.200s", code, body)
		}
		return strict(t, body)
	}
	right := read()
	status := func(kind string, want int) {
		t.Helper()
		p.fault(node, kind, "")
		if code, body := p.kubelet(node, "/stats/summary"); code != want {
			t.Errorf("%s: %d %.200s, want %d", kind, code, body, want)
		}
		if code, _ := p.kubelet("node-0001", "/stats/summary"); code != http.StatusOK {
			t.Errorf("%s: the other node answers %d", kind, code)
		}
	}
	status("unauthorized", 401)
	status("forbidden", 403)
	status("error", 500)
	status("hang", 0)
	status("slow", 0)
	status("half", 0)
	status("gone", 0)
	status("garbage", 200)
	p.fault(node, "", "")
	if port := p.ports[node]; read().Node.NodeName != node || p.ports[node] != port {
		t.Error("it is not back")
	}

	p.client.Timeout = 5 * time.Second
	cpu := func(s stats.Summary) int64 { return int64(*s.Node.CPU.UsageCoreNanoSeconds) }
	p.fault(node, "null", "")
	if s := read(); s.Node.CPU != nil || s.Pods[0].Containers[0].Memory != nil {
		t.Error("null: there are sections")
	}
	p.fault(node, "restart", "")
	if s := read(); cpu(s) >= cpu(right)/100 || time.Since(s.Pods[0].StartTime.Time) > time.Minute {
		t.Errorf("restart: %d since %v", cpu(s), s.Pods[0].StartTime)
	}
	p.fault(node, "clock", "-1h")
	if s := read(); time.Since(s.Node.CPU.Time.Time) < 59*time.Minute {
		t.Errorf("clock: %v", s.Node.CPU.Time)
	}
	p.fault(node, "falling", "")
	first := cpu(read())
	time.Sleep(1100 * time.Millisecond) // housekeeping is by real seconds
	if second := cpu(read()); second >= first {
		t.Errorf("falling: %d, then %d", first, second)
	}
	p.fault(node, "negative", "")
	if _, body := p.kubelet(node, "/stats/summary"); !bytes.Contains(body, []byte(`"usageCoreNanoSeconds":-`)) {
		t.Errorf("negative: %.300s", body)
	}
	p.fault(node, "big", "")
	if code, body := p.kubelet(node, "/stats/summary"); code != 200 || len(body) < 10<<20 || !json.Valid(body) {
		t.Errorf("big: %d, %d bytes, valid: %v", code, len(body), json.Valid(body))
	}
	if code, body := p.do("PUT", p.about["control"]+"/fault?node=*&kind=tired", ""); code != http.StatusBadRequest {
		t.Errorf("an unknown fault: %d %s", code, body)
	}
	if code, _ := p.do("PUT", p.about["control"]+"/fault?node=nobody&kind=hang", ""); code != http.StatusNotFound {
		t.Errorf("an unknown node: %d", code)
	}
}

func TestTokensAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	write := func(text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write("good better\n", time.Now().Add(-time.Hour))
	p := start(t, "--nodes=1", "--token-file="+file)
	f := func(want int) {
		t.Helper()
		if code, _ := p.kubelet("node-0000", "/metrics/resource"); code != want {
			t.Errorf("%d, want %d", code, want)
		}
	}
	f(200)
	write("other", time.Now())
	f(401)
}

func TestFixturesAPI(t *testing.T) {
	p := start(t, "--fixtures=testdata/fixtures")
	var list corev1.NodeList
	_, body := p.do("GET", p.about["api"]+"/api/v1/nodes", "")
	if err := json.Unmarshal(body, &list); err != nil || len(list.Items) != 2 {
		t.Fatalf("%v: %s", err, body)
	}
	if got := int(list.Items[0].Status.DaemonEndpoints.KubeletEndpoint.Port); got != p.ports["node-x"] {
		t.Errorf("node-x has port %d, not %d", got, p.ports["node-x"])
	}

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, "GET", p.about["api"]+"/api/v1/nodes?watch=1&sendInitialEvents=true&allowWatchBookmarks=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := p.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	events := json.NewDecoder(response.Body)
	next := func(want string) {
		t.Helper()
		var e struct {
			Type   string
			Object struct{ Metadata struct{ Name string } }
		}
		if err := events.Decode(&e); err != nil || e.Type+" "+e.Object.Metadata.Name != want {
			t.Fatalf("%v %+v, want %s", err, e, want)
		}
	}
	next("ADDED node-x")
	next("ADDED node-y")
	next("BOOKMARK ")
	if code, _ := p.do("DELETE", p.about["control"]+"/objects/nodes/node-y", ""); code != 200 {
		t.Errorf("delete: %d", code)
	}
	next("DELETED node-y")
}
