package apiserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spf13/pflag"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestAnswers(t *testing.T) {
	const (
		table    = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
		protobuf = "application/vnd.kubernetes.protobuf"
	)
	f := func(name string, requests ...[]string) {
		t.Helper()
		visit(t, func(t *testing.T, s *site) {
			var b strings.Builder
			for _, r := range requests {
				b.WriteString(s.dump(r[0], r[1], r[2:]...))
			}
			golden(t, name, b.String())
		})
	}
	f("list.txt", get("/api/v1/pods", "/api/v1/namespaces/default/pods", "/api/v1/namespaces/none/pods",
		"/apis/apps/v1/deployments", "/api/v1/nodes", "/api/v1/namespaces", "/api/v1/pods/?limit=500&resourceVersion=0&pretty=true&continue=&watch=false",
		"/api/v1/pods?resourceVersion=0&resourceVersionMatch=NotOlderThan")...)
	f("get.txt", append(get("/api/v1/namespaces/default/pods/web-1", "/api/v1/nodes/node-1", "/api/v1/namespaces/default",
		"/api/v1/namespaces/default/pods/none", "/apis/apps/v1/namespaces/default/deployments/none", "/api/v1/nodes/none"),
		[]string{"HEAD", "/api/v1/namespaces/default/pods/web-1"}, []string{"HEAD", "/api/v1/pods"})...)
	f("selectors.txt", get("/api/v1/pods?labelSelector=app%3Dweb", "/api/v1/pods?labelSelector=app%3D%3Dweb,tier!%3Dfront",
		"/api/v1/pods?labelSelector=app+in+(web,db),tier", "/api/v1/pods?labelSelector=!app", "/api/v1/pods?labelSelector=tier+notin+(front,back)",
		"/api/v1/pods?labelSelector=weight%3E11", "/api/v1/pods?labelSelector=weight%3C12", "/api/v1/nodes?labelSelector=zone%3Da",
		"/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3Dweb-2", "/api/v1/pods?fieldSelector=metadata.name%3Dweb-1",
		"/api/v1/pods?fieldSelector=metadata.namespace!%3Ddefault", "/api/v1/pods?fieldSelector=spec.nodeName%3Dnode-1,metadata.name!%3Ddb-1",
		"/api/v1/nodes?fieldSelector=metadata.name%3Dnode-2", "/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3Dnone")...)
	f("negotiation.txt",
		[]string{"GET", "/api/v1/nodes/node-1", "Accept", table},
		[]string{"GET", "/api/v1/nodes/node-1", "Accept", protobuf + ",application/json"},
		[]string{"GET", "/api/v1/nodes/node-1", "Accept", "text/html,*/*;q=0.8"},
		[]string{"GET", "/api/v1/nodes/node-1", "Accept", protobuf},
		[]string{"GET", "/api/v1/nodes", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"},
		[]string{"GET", "/api/v1/nodes?includeObject=None", "Accept", table},
		[]string{"GET", "/api/v1/nodes?includeObject=Object&labelSelector=zone%3Db", "Accept", table},
		[]string{"GET", "/api/v1/nodes?includeObject=All", "Accept", table},
		[]string{"GET", "/api/v1/namespaces", "Accept", table},
		[]string{"GET", "/apis/apps/v1/deployments", "Accept", table},
		[]string{"HEAD", "/api/v1/nodes", "Accept", table},
		[]string{"GET", "/pods", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"},
		[]string{"GET", "/pods", "Accept", "application/yaml"},
		[]string{"GET", "/api/v1/nodes", "Accept", "application/json;q=0"})
	f("refused.txt", append(get("/api/v1/pods?labelSelector=a+b", "/api/v1/pods?labelSelector=a+in+b", "/api/v1/pods?labelSelector=%25%25", "/api/v1/pods?labelSelector=a%3Dx%20y%20",
		"/api/v1/pods?fieldSelector=status.phase%3DRunning", "/api/v1/nodes?fieldSelector=spec.nodeName%3Dx", "/api/v1/pods?fieldSelector=x",
		"/api/v1/pods?limit=many", "/api/v1/pods?limit=500&continue=abc", "/api/v1/pods?watch=1&resourceVersion=x", "/api/v1/pods?watch&resourceVersion=99999", "/api/v1/pods?watch=true&sendInitialEvents=true",
		"/api/v1/pods?resourceVersion=5", "/api/v1/pods?resourceVersion=5&resourceVersionMatch=Exact", "/api/v1/pods?resourceVersion=99999", "/api/v1/pods?resourceVersionMatch=NotOlderThan",
		"/api/v1/pods?sendInitialEvents=true", "/api/v1/nodes/node-1?resourceVersion=5", "/api/v1/pods?a=%zz",
		"/api/v1/secrets", "/apis/apps/v1beta1/deployments", "/apis/example.com/v1/widgets", "/api/v1/deployments", "/api", "/api/", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1",
		"/api/v1/namespaces/default/nodes", "/api/v1/namespaces/default/nodes/node-1", "/api/v1/pods/web-1", "/api/v1/namespaces//pods",
		"/api/v1/namespaces/default/pods/web-1/log", "/no/such/path", "/api/v1/services", "/services"),
		[]string{"POST", "/api/v1/namespaces/default/pods"}, []string{"PUT", "/api/v1/nodes/node-1"}, []string{"PATCH", "/api/v1/nodes/node-1"},
		[]string{"DELETE", "/api/v1/nodes/node-1"}, []string{"DELETE", "/api/v1/nodes"}, []string{"OPTIONS", "/api/v1/nodes"}, []string{"POST", "/pods"}, []string{"POST", "/api/v1/secrets"})...)
	f("short.txt", append(get("/pods", "/pods?name=web-1", "/pods?name=web-1&namespace=default", "/pods?node=node-1&label_selector=app%3Dweb", "/pods?node=node-9",
		"/pods?label_selector=app+notin+(web)&namespace=default", "/pods?name=&namespace=", "/nodes?name=node-1", "/namespaces", "/deployments", "/ingress", "/ingresses",
		"/pods?colour=red", "/deployments?node=node-1", "/nodes?namespace=default", "/pods?label_selector=a+b", "/pods?name=a&name=b", "/pods?name=%zz", "/pvcs", "/persistentvolumeclaims"),
		[]string{"HEAD", "/pods"})...)
	f("own.txt", append(get("/", "/livez", "/readyz", "/readyz?verbose"),
		[]string{"POST", "/krm/v1/verify?resource=pods"}, []string{"POST", "/krm/v1/verify?resource=deploy&full=true"},
		[]string{"POST", "/krm/v1/verify?resource=ingress"}, []string{"POST", "/krm/v1/verify?resource=secrets"}, []string{"POST", "/krm/v1/verify"},
		[]string{"POST", "/krm/v1/verify?resource=pods&full=perhaps"}, []string{"GET", "/krm/v1/verify?resource=pods"}, []string{"DELETE", "/livez"})...)
}

func TestStatus(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		var indented bytes.Buffer
		if err := json.Indent(&indented, s.ask("GET", "/krm/v1/status").Body.Bytes(), "", "  "); err != nil {
			t.Fatal(err)
		}
		golden(t, "status.json", indented.String()+"\n")
	})
}

func TestVerifyAsks(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		s.ask("POST", "/krm/v1/verify?resource=pods")
		s.ask("POST", "/krm/v1/verify?resource=deploy&full=1")
		s.ask("POST", "/krm/v1/verify?resource=widgets.example.com&full=false")
		if diff := cmp.Diff([]string{"pods verify", "deployments.apps full", "widgets.example.com verify"}, s.redis.asked); diff != "" {
			t.Errorf("asks (-want +got):\n%s", diff)
		}
		s.redis.setErr(errors.New("connection refused"))
		if answer := s.ask("POST", "/krm/v1/verify?resource=pods"); answer.Code != 503 || answer.Header().Get("Retry-After") != "1" {
			t.Errorf("without Redis: %d %s", answer.Code, answer.Body)
		}
	})
}

func TestStaleAnswersSaySo(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		var b strings.Builder
		show := func(what string) {
			answer := s.ask("GET", "/api/v1/nodes/node-1")
			fmt.Fprintf(&b, "%s: %d streamed at %s\n", what, answer.Code, answer.Header().Get("Krm-Streamed-At"))
			for _, warning := range answer.Header().Values("Warning") {
				fmt.Fprintf(&b, "  %s\n", warning)
			}
		}
		show("fresh")
		time.Sleep(88 * time.Second)
		show("a little younger than --stale-after")
		time.Sleep(2 * time.Second)
		show("a little older")
		time.Sleep(5 * time.Minute)
		show("five minutes later")
		s.redis.setErr(errors.New("connection refused"))
		time.Sleep(20 * time.Second)
		show("Redis away")
		fmt.Fprintf(&b, "%s", s.ask("GET", "/readyz?verbose").Body)
		fmt.Fprintf(&b, "%s\n", s.ask("GET", "/krm/v1/status").Body.String()[len(`{"resources":[`):][:80])
		s.redis.setErr(nil)
		time.Sleep(20 * time.Second)
		nodes := s.redis.feeds["nodes"]
		nodes.edit(func() { nodes.state = s.redis.feeds["services"].state })
		time.Sleep(20 * time.Second)
		show("Redis has another snapshot that is not complete")
		golden(t, "stale.txt", b.String())
	})
}

func TestNeverVerified(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		feed := s.redis.feeds["services"] // it is synced now, and by no verifier
		feed.edit(func() {
			feed.state = object.SnapshotState{Synced: true, Freshness: object.Freshness{Streamed: "5", StreamedAt: time.Now().UTC()}}
		})
		time.Sleep(time.Minute)
		answer := s.ask("GET", "/api/v1/services")
		if _, ok := answer.Header()["Krm-Verified-At"]; ok || answer.Code != 200 || answer.Header().Get("Warning") != "" {
			t.Errorf("a minute later: %d %v", answer.Code, answer.Header())
		}
		time.Sleep(5 * time.Minute)
		warnings := strings.Join(s.ask("GET", "/api/v1/services").Header().Values("Warning"), "\n")
		if !strings.Contains(warnings, "services: never verified against the cluster") {
			t.Errorf("six minutes later: %s", warnings)
		}
	})
}

func TestReadyOnceAllIsSynced(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		if answer := s.ask("GET", "/readyz"); answer.Code != 503 {
			t.Errorf("services are not synced: %d %s", answer.Code, answer.Body)
		}
		services := s.redis.feeds["services"]
		services.edit(func() { services.state = s.redis.feeds["nodes"].state })
		time.Sleep(2 * time.Second)
		if answer := s.ask("GET", "/readyz"); answer.Code != 200 || answer.Body.String() != "ok" {
			t.Errorf("all is synced: %d %s", answer.Code, answer.Body)
		}
	})
}

// Before Redis has answered nobody knows what is watched: nothing is "not found".
func TestBeforeRedisAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		redis := newFakeRedis()
		log := slog.New(slog.DiscardHandler)
		s := &site{server: New(mirror.NewSet(redis, nil, mirror.Options{}, log), redis, Options{}, log)}
		var b strings.Builder
		for _, target := range []string{"/api/v1/pods", "/pods", "/readyz", "/krm/v1/status", "/livez"} {
			b.WriteString(s.dump("GET", target))
		}
		b.WriteString(s.dump("POST", "/krm/v1/verify?resource=pods"))
		golden(t, "unknown.txt", b.String())
	})
}

// kubectl decides by what these helpers of its libraries see.
func TestNotFoundIsWhatKubectlExpects(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		var status metav1.Status
		if err := json.Unmarshal(s.ask("GET", "/api/v1/namespaces/default/pods/x").Body.Bytes(), &status); err != nil {
			t.Fatal(err)
		}
		err := &apierrors.StatusError{ErrStatus: status}
		if !apierrors.IsNotFound(err) || err.Error() != `pods "x" not found` {
			t.Errorf("got %#v", status)
		}
	})
}

func TestPanicsBecomeErrors(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		s.server.engine.GET("/panics", func(*gin.Context) { panic("the secret cause") })
		answer := s.ask("GET", "/panics")
		if answer.Code != 500 || !strings.Contains(answer.Body.String(), `"kind":"Status"`) || strings.Contains(answer.Body.String(), "secret") {
			t.Errorf("%d %s", answer.Code, answer.Body)
		}
		if !strings.Contains(s.logs.String(), "the secret cause") || !strings.Contains(s.logs.String(), "server_test.go") {
			t.Errorf("log: %s", s.logs)
		}
		s.server.engine.GET("/aborts", func(c *gin.Context) {
			c.String(200, "half of it")
			panic("late")
		})
		defer func() {
			if cause := recover(); cause != http.ErrAbortHandler { //nolint:errorlint // it is the value that net/http compares with
				t.Errorf("a broken answer ended with %v", cause)
			}
			if got := testutil.ToFloat64(s.server.metrics.inFlight); got != 0 {
				t.Errorf("%v requests in flight", got)
			}
		}()
		s.ask("GET", "/aborts")
	})
}

func TestMetrics(t *testing.T) {
	visit(t, func(t *testing.T, s *site) {
		for _, target := range []string{"/api/v1/pods", "/pods", "/api/v1/namespaces/a/pods/none", "/api/v1/secrets", "/nothing"} {
			s.ask("GET", target)
		}
		s.ask("POST", "/api/v1/pods")
		var lines []string
		for line := range strings.Lines(s.ask("GET", "/metrics").Body.String()) {
			if strings.HasPrefix(line, "krm_http_requests") {
				lines = append(lines, line)
			}
		}
		want := []string{
			`krm_http_requests_in_flight 1` + "\n",
			`krm_http_requests_total{code="200",resource="pods",verb="list"} 2` + "\n",
			`krm_http_requests_total{code="404",resource="",verb="other"} 2` + "\n",
			`krm_http_requests_total{code="404",resource="pods",verb="get"} 1` + "\n",
			`krm_http_requests_total{code="405",resource="pods",verb="create"} 1` + "\n",
		}
		if diff := cmp.Diff(want, lines); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Run answers over a real connection, and lets a request end after it was told to stop.
func TestRunDrains(t *testing.T) {
	redis := newFakeRedis()
	log := slog.New(slog.DiscardHandler)
	server := New(mirror.NewSet(redis, nil, mirror.Options{}, log), redis, Options{Drain: 5 * time.Second}, log)
	entered, leave := make(chan struct{}), make(chan struct{})
	server.engine.GET("/slow", func(c *gin.Context) {
		close(entered)
		<-leave
		c.String(200, "done")
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.serve(ctx, listener) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /slow HTTP/1.1\r\nHost: krm\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-entered
	cancel()
	close(leave)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "done" {
		t.Errorf("%q, %v", text, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	server.options.Listen = listener.Addr().String() + "0000"
	if err := server.Run(t.Context()); err == nil {
		t.Error("an impossible address was listened on")
	}
}

func TestConfig(t *testing.T) {
	f := func(c Config, listen, want string) {
		t.Helper()
		got := ""
		if err := c.Validate(listen); err != nil {
			got = err.Error()
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("Validate(%q) of %+v: %q, want %q", listen, c, got, want)
		}
	}
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	var good Config
	good.RegisterFlags(fs)
	f(good, "127.0.0.1:8080", "")
	f(good, ":8080", "loopback")
	f(good, "10.0.0.1:8080", "--insecure-any-address")
	f(good, "8080", "HOST:PORT")
	with := func(change func(*Config)) Config {
		changed := good
		change(&changed)
		return changed
	}
	f(with(func(c *Config) { c.Auth.InsecureAnyAddress = true }), "0.0.0.0:8080", "")
	f(with(func(c *Config) { c.StaleAfter = 0 }), "127.0.0.1:8080", "--stale-after")
	f(with(func(c *Config) { c.FormCache = 0 }), "127.0.0.1:8080", "--form-cache")
	f(with(func(c *Config) { c.Lists = 0 }), "127.0.0.1:8080", "--max-lists")
	f(with(func(c *Config) { c.Passthrough.Mode = "some" }), "127.0.0.1:8080", "--passthrough")
}
