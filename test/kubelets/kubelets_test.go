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

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	stats "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// strict reads what a kubelet said as today's types, and takes no field that they lack.
func strict(t *testing.T, text []byte) (s stats.Summary) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
	return s
}

func small() fleet {
	return fleet{nodes: 3, pods: 5, containers: 2, seed: 1, booted: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)}
}

func TestCountersOnlyGrow(t *testing.T) {
	for draw := range int64(50) {
		s := source(draw).child(7)
		for second, before := int64(0), 0.0; second < 2000; second++ {
			now := s.counter(3, second)
			if now < before {
				t.Fatalf("source %d fell from %v to %v at second %d", draw, before, now, second)
			}
			before = now
		}
		if mean := s.counter(3, 100_000) / 100_000; mean < 2.9 || mean > 3.1 {
			t.Errorf("source %d counted %v a second, not 3", draw, mean)
		}
	}
}

func TestSummaryIsAKubelets(t *testing.T) {
	f := small()
	node := f.build()[1]
	now := f.booted.Add(2 * time.Hour)
	for _, shape := range []Shape{Compact, Full} {
		s := strict(t, node.summary(clock{now, 10}, shape))
		if s.Node.NodeName != "node-0001" || len(s.Pods) != 5 || len(s.Node.SystemContainers) != 3 {
			t.Fatalf("%s has %d pods and %d system containers", s.Node.NodeName, len(s.Pods), len(s.Node.SystemContainers))
		}
		for _, pod := range s.Pods {
			if pod.Network == nil || pod.CPU == nil || pod.EphemeralStorage == nil || len(pod.VolumeStats) != 1 || len(pod.Containers) != 2 {
				t.Errorf("pod %s lacks something", pod.PodRef.Name)
			}
			for _, c := range pod.Containers {
				age := now.Sub(c.CPU.Time.Time)
				if age < 0 || age >= 10*time.Second || *c.CPU.UsageCoreNanoSeconds == 0 || *c.Memory.UsageBytes%page != 0 || *c.Memory.WorkingSetBytes >= *c.Memory.UsageBytes {
					t.Errorf("container %s of %s was read %v ago: %+v %+v", c.Name, pod.PodRef.Name, age, c.CPU, c.Memory)
				}
			}
		}
		if (s.Node.CPU.PSI != nil) != (shape == Full) {
			t.Errorf("shape %v has pressure: %v", shape, s.Node.CPU.PSI != nil)
		}
	}
}

func TestSummaryIsTheSameForTheSameMoment(t *testing.T) {
	at := clock{small().booted.Add(time.Hour), 10}
	if diff := cmp.Diff(small().build()[0].summary(at, Compact), small().build()[0].summary(at, Compact)); diff != "" {
		t.Error(diff)
	}
	other := small()
	other.seed = 2
	if bytes.Equal(small().build()[0].summary(at, Compact), other.build()[0].summary(at, Compact)) {
		t.Error("another seed says the same")
	}
}

// TestANodesCountersSurviveItsPods: what pods counted that are gone stays counted.
func TestANodesCountersSurviveItsPods(t *testing.T) {
	f := small()
	f.booted = time.Now().Add(-time.Hour)
	node := f.build()[0]
	before := strict(t, node.summary(clock{time.Now(), 1}, Compact))
	node.Put(node.load.Load().Pods[1:])
	after := strict(t, node.summary(clock{time.Now().Add(time.Second), 1}, Compact))
	if *after.Node.CPU.UsageCoreNanoSeconds < *before.Node.CPU.UsageCoreNanoSeconds {
		t.Errorf("the node's CPU time fell from %d to %d", *before.Node.CPU.UsageCoreNanoSeconds, *after.Node.CPU.UsageCoreNanoSeconds)
	}
	if *after.Node.Memory.UsageBytes >= *before.Node.Memory.UsageBytes {
		t.Error("the memory of a pod that is gone is still used")
	}
}

func TestTextsSayWhatTheSummarySays(t *testing.T) {
	f := small()
	node, at := f.build()[0], clock{f.booted.Add(time.Hour), 10}
	pod := node.load.Load().Pods[0]
	want := pod.Containers[0].read(at)
	for text, line := range map[string]string{
		string(node.resource(at)): fmt.Sprintf("container_memory_working_set_bytes{container=\"main\",namespace=%q,pod=%q} ", pod.Namespace, pod.Name),
		string(node.cadvisor(at)): fmt.Sprintf("container_fs_writes_bytes_total{container=\"main\",device=\"/dev/vda\",id=\"/kubepods/burstable/pod%s/", pod.UID),
	} {
		_, rest, found := strings.Cut(text, "\n"+line)
		if !found {
			t.Fatalf("there is no %s in\n%.2000s", line, text)
		}
		rest, _, _ = strings.Cut(rest, "\n")
		value := float64(want.working)
		if strings.Contains(line, "writes") {
			value = float64(want.written)
		}
		if !strings.Contains(" "+rest, fmt.Sprintf(" %v %d000", value, want.at)) {
			t.Errorf("%s%s, want %v at %d", line, rest, value, want.at)
		}
	}
}

func TestObjectsAreThoseOfTheSummaries(t *testing.T) {
	f, dir := small(), t.TempDir()
	if err := f.writeObjects(dir, []int{1001, 1002, 1003}); err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for _, line := range lines(t, filepath.Join(dir, "pods.ndjson")) {
		var pod corev1.Pod
		if err := json.Unmarshal([]byte(line), &pod); err != nil {
			t.Fatal(err)
		}
		if len(pod.Spec.Containers) != 2 || pod.Status.Phase != corev1.PodRunning {
			t.Errorf("pod %s: %+v", pod.Name, pod)
		}
		known[string(pod.UID)] = pod.Spec.NodeName + " " + pod.Namespace + "/" + pod.Name
	}
	if len(known) != 15 {
		t.Fatalf("%d pods", len(known))
	}
	for _, node := range f.build() {
		for _, pod := range strict(t, node.summary(clock{f.booted.Add(time.Hour), 10}, Compact)).Pods {
			if got := node.Name + " " + pod.PodRef.Namespace + "/" + pod.PodRef.Name; known[pod.PodRef.UID] != got {
				t.Errorf("%s is %q in the objects, %q in the summary", pod.PodRef.UID, known[pod.PodRef.UID], got)
			}
		}
	}
	for i, line := range lines(t, filepath.Join(dir, "nodes.ndjson")) {
		var node corev1.Node
		if err := json.Unmarshal([]byte(line), &node); err != nil || int(node.Status.DaemonEndpoints.KubeletEndpoint.Port) != 1001+i {
			t.Errorf("node %d: %v %+v", i, err, node.Status.DaemonEndpoints)
		}
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

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

func TestFixturesAdvance(t *testing.T) {
	f, err := openFixtures("testdata/fixtures", time.Unix(1_000_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	s := strict(t, f.summaries["node-x"].summary(clock{time.Unix(1_000_000_000, 0), 1}, Compact))
	if got := *s.Node.CPU.UsageCoreNanoSeconds; got != 3600*1500000000 {
		t.Errorf("cpu %d", got)
	}
	if *s.Node.Memory.UsageBytes != 3000 || *s.Node.Network.RxErrors != 3 {
		t.Errorf("what is no counter, or stands still, changed: %+v %+v", s.Node.Memory, s.Node.Network)
	}
	if !s.Node.StartTime.Time.Equal(time.Unix(1_000_000_000-3600, 0)) || !s.Node.CPU.Time.Time.Equal(time.Unix(1_000_000_000, 0)) {
		t.Errorf("from %v at %v", s.Node.StartTime, s.Node.CPU.Time)
	}
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

func BenchmarkSummary(b *testing.B) {
	f := fleet{nodes: 20, pods: 30, containers: 2, seed: 1, booted: time.Now().Add(-time.Hour)}
	nodes := f.build()
	b.ReportAllocs()
	size := 0
	for i := 0; b.Loop(); i++ {
		size = len(nodes[i%20].summary(clock{time.Now(), 10}, Compact))
	}
	b.SetBytes(int64(size))
}
