package influx

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
)

func TestBuckets(t *testing.T) {
	server := newServer2(t)
	server.add(orgs2["other"], "k8s", rule2{"expire", 3600, 3600}) // of the same name, and not ours
	day, f := int64(86400), func(keep, records time.Duration, patches int, want ...rule2) {
		t.Helper()
		before := server.count("PATCH")
		options := server.options()
		options.Retention, options.RecordRetention = keep, records
		s, _ := opened(t, options)
		if err := s.Health(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := []rule2{server.bucket("acme", "k8s").Rules[0], server.bucket("acme", "k8s-krm").Rules[0]}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v, %v (-want +got):\n%s", keep, records, diff)
		}
		if n := server.count("PATCH") - before; n != patches {
			t.Errorf("%v, %v: %d buckets were changed, want %d", keep, records, n, patches)
		}
	}
	f(720*time.Hour, 0, 0, rule2{"expire", 30 * day, day}, rule2{"expire", 0, 7 * day})
	f(720*time.Hour, 0, 0, rule2{"expire", 30 * day, day}, rule2{"expire", 0, 7 * day})
	f(1000*time.Hour, 0, 1, rule2{"expire", 3600000, day}, rule2{"expire", 0, 7 * day})
	f(0, 24*time.Hour, 2, rule2{"expire", 0, day}, rule2{"expire", day, 3600}) // a shard must fit
	if n := server.count("POST /api/v2/buckets"); n != 2 {
		t.Errorf("%d buckets were made, want 2", n)
	}
	if others := server.bucket("other", "k8s"); others.Rules[0].Every != 3600 {
		t.Error("the bucket of another org was changed")
	}
}

func TestBucketFaults(t *testing.T) {
	f := func(name string, change func(*Options), made bool, want ...string) {
		t.Helper()
		server := newServer2(t)
		if made {
			server.add(orgs2["acme"], "k8s", rule2{"expire", 3600, 3600})
			server.add(orgs2["acme"], "k8s-krm")
		}
		options := server.options()
		change(&options)
		s, _ := opened(t, options)
		err := s.sendPiece(t.Context(), linesOf(3))
		if len(want) == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return
		}
		if !errors.Is(err, metricdb.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
			return
		}
		for _, text := range want {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v lacks %q", name, err, text)
			}
		}
	}
	f("no such org", func(o *Options) { o.Org = "nowhere" }, false, `no org "nowhere"`, "org=", "INFLUXDB_ORG")
	f("wrong token", func(o *Options) { o.Token = "wrong" }, false, "the token is wrong or may not do that", "a token that may read and write both buckets")
	f("may not make", func(o *Options) { o.Token = readToken }, false, `make bucket "k8s"`, "made by hand, or a token that may make buckets")
	f("may not change", func(o *Options) { o.Token = readToken }, true) // writes go on
}

// arrived checks that a bucket holds just these pieces' lines.
func arrived(t *testing.T, server *server2, pieces ...piece) {
	t.Helper()
	want := map[string]bool{}
	for _, p := range pieces {
		for line := range strings.SplitSeq(strings.TrimSpace(string(p.lines)), "\n") {
			want[line] = true
		}
	}
	if diff := cmp.Diff(want, server.bucket("acme", "k8s").lines); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A server that has too much to do is left alone for as long as it says.
func TestTooManyRequests(t *testing.T) {
	for _, after := range []string{"300", time.Now().Add(300 * time.Second).UTC().Format(http.TimeFormat)} {
		server := newServer2(t)
		options := server.options()
		options.QueueDir = t.TempDir()
		s, _ := opened(t, options)
		server.set(func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/api/v2/write" {
				return false
			}
			_ = bodyOf(r)
			w.Header().Set("Retry-After", after)
			fail2(w, http.StatusTooManyRequests, "too many requests", "org 0000000000000001 has exceeded limited_write plan limit")
			return true
		})
		first, second := linesOf(10), linesOf(20)
		if err := s.send(t.Context(), []piece{first}); err != nil {
			t.Fatal(err)
		}
		if err := s.send(t.Context(), []piece{second}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.drain(t.Context()); !errors.Is(err, metricdb.ErrUnavailable) {
			t.Errorf("a drain while the server wants to be left alone: %v", err)
		}
		if n := server.count("POST /api/v2/write"); n != 1 {
			t.Errorf("the server was asked %d times, want once", n)
		}
		if wait := s.asked(); wait < 250*time.Second || wait > 300*time.Second {
			t.Errorf("waits for %v", wait)
		}
		server.set(nil)
		s.notBefore.Store(0) // time goes by
		if _, err := s.drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		arrived(t, server, first, second)
	}
}

// Whatever the server answers in between: all points arrive, each piece that is
// acknowledged is there, and what it will never take is counted.
func TestNothingIsLost(t *testing.T) {
	server := newServer2(t)
	options := server.options()
	options.QueueDir, options.Concurrency = t.TempDir(), 2
	s, _ := opened(t, options)
	random := rand.New(rand.NewPCG(1, 2))
	server.set(func(w http.ResponseWriter, r *http.Request) bool {
		switch n := random.IntN(8); n {
		case 0:
			fail2(w, http.StatusServiceUnavailable, "unavailable", "service temporarily unavailable")
		case 1:
			fail2(w, http.StatusInternalServerError, "internal error", "engine: error writing WAL entry")
		case 2:
			if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
				_ = conn.Close() // it restarts
			}
		case 3:
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "<html>bad gateway</html>")
		case 4: // stored, but not acknowledged
			if r.URL.Path == "/api/v2/write" {
				server.write(httptest.NewRecorder(), r)
			}
			panic(http.ErrAbortHandler)
		default:
			return false
		}
		return true
	})
	var all []piece
	for i := range 60 {
		p := linesOf(5)
		p.lines = []byte(strings.ReplaceAll(string(p.lines), "m,i=", fmt.Sprintf("m,piece=%d,i=", i)))
		all = append(all, p)
		if err := s.send(t.Context(), []piece{p}); err != nil {
			t.Fatal(err)
		}
		_, _ = s.drain(t.Context()) // as Run does
	}
	server.set(nil)
	if _, err := s.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	arrived(t, server, all...)
	if n := testutil.ToFloat64(options.Metrics.Samples); n != 300 {
		t.Errorf("%v samples are counted, want 300", n)
	}
}

// Points that are refused do not take others with them, and are not tried for ever.
func TestRefused(t *testing.T) {
	f := func(name string, p piece, refused, requests int, answer func(w http.ResponseWriter, r *http.Request) bool) {
		t.Helper()
		server := newServer2(t)
		options := server.options()
		s, _ := opened(t, options)
		if err := s.make(t.Context()); err != nil {
			t.Fatal(err)
		}
		server.set(answer)
		if err := s.sendPiece(t.Context(), p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := testutil.ToFloat64(options.Metrics.Dropped.WithLabelValues("refused")); int(n) != refused {
			t.Errorf("%s: %v points were refused, want %d", name, n, refused)
		}
		if n := len(server.bucket("acme", "k8s").lines); n != p.samples-refused {
			t.Errorf("%s: %d points were stored, want %d", name, n, p.samples-refused)
		}
		if n := server.count("POST /api/v2/write"); n > requests {
			t.Errorf("%s: %d requests", name, n)
		}
	}
	f("all good", linesOf(100), 0, 1, nil)
	f("a conflict", linesOf(100, "", ",k=conflict", ",k=conflict"), 2, 1, nil)
	f("a malformed line", linesOf(100, "", "", ","+unparseable+"=1"), 1, 20, nil)
	f("two of them", linesOf(5000, ","+unparseable+"=1", "", "", ","+unparseable+"=2"), 2, 40, nil)
	f("both", linesOf(100, ","+unparseable+"=1", ",k=conflict"), 2, 20, nil)
	f("a body that is too large", linesOf(64), 0, 20, func(w http.ResponseWriter, r *http.Request) bool {
		if r.ContentLength < 120 {
			return false
		}
		fail2(w, http.StatusRequestEntityTooLarge, "request too large", "unable to read data: points batch is too large")
		return true
	})
	worst := linesOf(1000)
	worst.lines = []byte(strings.ReplaceAll(string(worst.lines), "m,", "m,"+unparseable+"=1,"))
	f("nothing but malformed lines", worst, 1000, mostTries, nil)
}

// An org that is not there must not look like a bucket without samples.
func TestQueryWithoutOrg(t *testing.T) {
	server := newServer2(t)
	server.set(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/api/v2/query" {
			return false
		}
		fail2(w, http.StatusNotFound, "not found", `organization name "nowhere" not found`)
		return true
	})
	s, _ := opened(t, server.options())
	q := metricdb.Query{Metric: "uptime", From: dbtest.T0, To: dbtest.T0.Add(time.Hour)}
	if _, err := s.Aggregate(t.Context(), q, metricdb.Grouping{}); !errors.Is(err, metricdb.ErrUnavailable) || !strings.Contains(err.Error(), "organization") {
		t.Errorf("got %v", err)
	}
}
