package source

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
)

const tinySummary = `{"node":{"nodeName":"node-a","cpu":{"time":"2026-11-21T17:10:20Z","usageCoreNanoSeconds":7}}}`

const tinyCadvisor = "# TYPE container_memory_cache gauge\n" + `container_memory_cache{container="",id="/",namespace="",pod=""} 4096 1795281031660` + "\n"

// kubelet serves with TLS on 127.0.0.1.
func kubelet(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *objects.Node, Access) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return server, nodeAt(t, server.URL), Access{CA: ca, Token: "secret"}
}

func nodeAt(t *testing.T, address string) *objects.Node {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(u.Port())
	return &objects.Node{Name: "node-a", Ready: "True", KubeletPort: port, Addresses: []objects.Address{{Type: "InternalIP", Address: u.Hostname()}}}
}

func scrape(t *testing.T, s *Source, node *objects.Node, limit time.Duration) (*Sample, error) {
	t.Helper()
	target, err := s.Target(node)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	return s.Scrape(ctx, target)
}

// says checks the reason and the text of an error, and that no token stands in it.
func mustSay(t *testing.T, err error, reason, text string) {
	t.Helper()
	var why *Error
	if !errors.As(err, &why) || why.Reason() != reason || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v (%T), want reason %q and text %q", err, err, reason, text)
	} else if strings.Contains(err.Error(), "secret") {
		t.Errorf("error tells our token: %v", err)
	}
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func TestScrape(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet || r.Header.Get("Authorization") != "Bearer secret":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/stats/summary" && r.Header.Get("Accept") == "application/json":
			fmt.Fprint(w, tinySummary)
		case r.URL.Path == "/metrics/cadvisor":
			fmt.Fprint(w, tinyCadvisor)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	s := opened(t, "kubernetes", Access{Token: "secret", CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})})
	for range 3 {
		sample, err := scrape(t, s, nodeAt(t, server.URL), 5*time.Second)
		if err != nil || sample.Missing != nil {
			t.Fatal(err, sample.Missing)
		}
		has(t, flatten(t, sample), map[string]int64{
			"node:node-a cpu/usage": 7, "node:node-a krm/cpu_time": nanos(t, "2026-11-21T17:10:20Z"), "node:node-a memory/cache": 4096,
		})
		sample.Release()
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for six questions, want 1", n)
	}
}

func TestFaults(t *testing.T) {
	f := func(name string, handler http.HandlerFunc, reason, text string) {
		t.Helper()
		_, node, access := kubelet(t, handler)
		within := 30 * time.Second
		if reason == Timeout {
			within = 300 * time.Millisecond
		}
		sample, err := scrape(t, opened(t, "kubernetes", access), node, within)
		if sample != nil {
			t.Errorf("%s: a sample comes with an error", name)
		}
		mustSay(t, err, reason, text)
	}
	f("401", answer(401, "Unauthorized"), Unauthorized, "TokenReview")
	f("403", answer(403, "Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource=stats)\nmore"), Forbidden,
		`(it says "Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource=stats)"): add to the collector's ClusterRole {apiGroups: [""], resources: [nodes/stats], verbs: [get]}`)
	f("500", answer(500, strings.Repeat("x", 10<<20)), Status, "answers 500 Internal Server Error")
	f("404", answer(404, ""), Status, "is the port a kubelet's?")
	f("hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, Timeout, "too slow")
	f("drip", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, tinySummary[:20])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, Timeout, "too slow")
	f("half JSON", answer(200, tinySummary[:len(tinySummary)/2]), Unreadable, "decode the summary")
	f("half an answer", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		fmt.Fprint(w, tinySummary)
	}, Unreadable, "unexpected EOF")
	f("broken off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, Refused, "is the kubelet running")
	f("garbage", answer(200, "\x00\x01garbage"), Unreadable, "decode the summary")
	f("nothing", answer(200, ""), Unreadable, "decode the summary")
	f("other JSON", answer(200, `"hello"`), Unreadable, "no object")
	f("nothing known", answer(200, `{}`), Unreadable, "tells of nothing")
	f("another node", answer(200, strings.Replace(tinySummary, "node-a", "node-b", 1)), Unreadable, `summary of node "node-b"`)
	f("redirect", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
	}, Status, "302")
	f("bad time", answer(200, strings.Replace(tinySummary, "17:10", "17:61", 1)), Unreadable, "decode the summary")
}

func TestNoFaults(t *testing.T) {
	f := func(name, body string, sets int) {
		t.Helper()
		_, node, access := kubelet(t, answer(200, body))
		sample, err := scrape(t, opened(t, "kubernetes.summary_api", access), node, 5*time.Second)
		if err != nil || len(sample.Sets) != sets {
			t.Errorf("%s: %v, want %d sets", name, err, sets)
		}
	}
	f("null sections", `{"node":{"nodeName":"node-a","cpu":null,"memory":null,"network":{"interfaces":null},"fs":null,"systemContainers":[null]},
		"pods":[null,{"podRef":{"name":"p","namespace":"n"},"containers":[null,{"name":"c","rootfs":{"usedBytes":null},"logs":{"usedBytes":1}}],"volume":[null]}]}`, 3)
	f("no pods", `{"node":{"nodeName":"node-a"},"pods":null}`, 1)
	var pods []string
	for i := range 20000 {
		pods = append(pods, fmt.Sprintf(`{"podRef":{"name":"p%d","namespace":"n","uid":"u"},"x":"%s"}`, i, strings.Repeat("x", 500)))
	}
	f("10 MB", `{"pods":[`+strings.Join(pods, ",")+`]}`, 20000)
}

// Counters that cannot be are left out, and cost nothing else.
func TestValuesThatCannotBe(t *testing.T) {
	s := decode(t, []byte(`{"node":{"nodeName":"a","cpu":{"usageCoreNanoSeconds":-5,"usageNanoCores":99999999999999999999},"memory":{"usageBytes":1.5,"rssBytes":1e3,"workingSetBytes":9223372036854775807}}}`))
	flat := flatten(t, s)
	if len(flat) != 1 || flat["node:a memory/working_set"] != 1<<63-1 {
		t.Errorf("got %v", flat)
	}
}

func TestTooLarge(t *testing.T) {
	_, node, access := kubelet(t, answer(200, `{"x":"`+strings.Repeat("x", 100<<10)+`"}`))
	s := opened(t, "kubernetes", access)
	s.client.most = 64 << 10
	_, err := scrape(t, s, node, 5*time.Second)
	mustSay(t, err, Unreadable, "too large")
}

func TestWhatStandsBesideTheSummaryMayFail(t *testing.T) {
	_, node, access := kubelet(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics/cadvisor" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, tinySummary)
	})
	sample, err := scrape(t, opened(t, "kubernetes", access), node, 5*time.Second)
	if err != nil || len(sample.Sets) != 1 {
		t.Fatal(err)
	}
	mustSay(t, sample.Missing, Forbidden, "resources: [nodes/metrics]")
}

func TestNobodyThere(t *testing.T) {
	server, node, access := kubelet(t, answer(200, tinySummary))
	server.Close()
	_, err := scrape(t, opened(t, "kubernetes", access), node, 5*time.Second)
	mustSay(t, err, Refused, "is the kubelet running")
}

func TestGivenUp(t *testing.T) {
	_, node, access := kubelet(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := opened(t, "kubernetes", access)
	target, _ := s.Target(node)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := s.Scrape(ctx, target)
	mustSay(t, err, Canceled, "context canceled")
}

func TestFixtures(t *testing.T) {
	body, err := os.ReadFile("testdata/heapster/summary-node-a.json")
	if err != nil {
		t.Fatal(err)
	}
	_, node, access := kubelet(t, answer(200, string(body)))
	sample, err := scrape(t, opened(t, "kubernetes.summary_api", access), node, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	flat := flatten(t, sample)
	has(t, flat, map[string]int64{
		"node:node-a cpu/usage": 5401500000000, "node:node-a krm/cpu_nanocores": 1500000000, "node:node-a memory/usage": 3000000000,
		"node:node-a uptime": 3601000, "node:node-a network/rx": 3601000, "node:node-a network/tx": 7202000, "node:node-a network/rx_errors": 3,
		"node:node-a filesystem/usage{resource_id:/}": 4000, "node:node-a filesystem/inodes{resource_id:/}": 100, "node:node-a filesystem/inodes_free{resource_id:/}": 70,
		"node:node-a/container:docker-daemon memory/usage": 4000, "node:node-a/container:kubelet ephemeral_storage/usage": 111,
		"namespace:default/pod:web-0/container:app ephemeral_storage/usage": 111,
	})
	if _, ok := flat["namespace:kube-system/pod:dns cpu/usage"]; ok {
		t.Error("pod dns has no CPU section, and has cpu/usage")
	}
}

func TestRealKubelet(t *testing.T) {
	body, err := os.ReadFile("testdata/summary-real.json")
	if err != nil {
		t.Fatal(err)
	}
	has(t, flatten(t, decode(t, body)), map[string]int64{
		"node:real-1 cpu/usage": 7193304841979, "node:real-1 network/rx": 1851377366, "node:real-1 ephemeral_storage/usage": 34897743872,
		"node:real-1/container:pods memory/working_set":                                               208699392,
		"namespace:default/pod:web-597bf88d85-6jnvg cpu/usage":                                        9006011796,
		"namespace:default/pod:web-597bf88d85-6jnvg/container:app cpu/usage":                          8946305535,
		"namespace:default/pod:web-597bf88d85-6jnvg/container:app memory/page_faults":                 19339,
		"namespace:default/pod:web-597bf88d85-6jnvg/container:app filesystem/usage{resource_id:logs}": 4096,
		"namespace:default/pod:web-597bf88d85-6jnvg/container:app uptime":                             170_000,
	})
}
