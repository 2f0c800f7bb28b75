package influx

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// server1 answers as InfluxDB 1.8 does while all is well; answer may answer instead.
func server1(t *testing.T, answer func(w http.ResponseWriter, r *http.Request) bool) (address string, writes *atomic.Int64) {
	t.Helper()
	writes = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if answer != nil && answer(w, r) {
			return
		}
		if strings.HasSuffix(r.URL.Path, "/write") {
			writes.Add(1)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", packed)
		_, _ = w.Write([]byte("\x81\xa7results\x91\x81\xacstatement_id\x00"))
	}))
	t.Cleanup(server.Close)
	return server.URL, writes
}

func fail1(w http.ResponseWriter, status int, text string) bool {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Influxdb-Error", text)
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q}`, text)
	return true
}

var anHour = metricdb.Query{Metric: "uptime", Level: metrics.Pod, From: dbtest.T0, To: dbtest.T0.Add(time.Hour)}

// TestFaults checks what becomes of a write that the server does not take, with a queue
// and without.
func TestFaults(t *testing.T) {
	f := func(name string, answer func(w http.ResponseWriter, r *http.Request) bool, want error, full float64) {
		t.Helper()
		broken := &atomic.Bool{}
		broken.Store(true)
		address, writes := server1(t, func(w http.ResponseWriter, r *http.Request) bool {
			return broken.Load() && strings.HasSuffix(r.URL.Path, "/write") && answer(w, r)
		})
		options := Options{URL: address, Timeout: 10 * time.Second, Metrics: metricdb.NewMetrics(nil)}
		if name == "slow" {
			options.Timeout = 100 * time.Millisecond
		}
		s, _ := opened(t, options)
		if err := s.send(t.Context(), []piece{linesOf(10)}); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
		if got := testutil.ToFloat64(options.Metrics.Full); got != full {
			t.Errorf("%s: the alert metric is %v, want %v", name, got, full)
		}
		options.QueueDir, options.Metrics = t.TempDir(), metricdb.NewMetrics(nil)
		queued, logs := opened(t, options)
		for range 100 {
			if err := queued.send(t.Context(), []piece{linesOf(1)}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := queued.drain(t.Context()); !errors.Is(err, want) {
				t.Fatalf("%s: drain: %v", name, err)
			}
			if name == "slow" {
				break // each takes its time
			}
		}
		if n := strings.Count(logs.String(), "\n"); n > 3 {
			t.Errorf("%s: %d lines are logged:\n%.2000s", name, n, logs)
		}
		if n := testutil.ToFloat64(options.Metrics.Retries); n == 0 {
			t.Errorf("%s: no retry is counted", name)
		}
		broken.Store(false)
		if _, err := queued.drain(t.Context()); err != nil || !queued.queue.empty() || writes.Load() == 0 {
			t.Errorf("%s: it is well again, and %d writes arrived: %v", name, writes.Load(), err)
		}
		if got := testutil.ToFloat64(options.Metrics.Full); got != 0 {
			t.Errorf("%s: the alert metric is %v although it is well again", name, got)
		}
	}
	status := func(status int, text string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { return fail1(w, status, text) }
	}
	f("disk full", status(500, "engine: error writing WAL entry: write /var/lib/influxdb/wal/k8s/default/2/_00001.wal: no space left on device"), metricdb.ErrFull, 1)
	f("disk full, behind a proxy", status(503, "no space left on device"), metricdb.ErrFull, 1)
	f("insufficient storage", status(507, "insufficient storage"), metricdb.ErrFull, 1)
	f("timeout", status(500, "timeout"), metricdb.ErrUnavailable, 0)
	f("restarting", func(w http.ResponseWriter, _ *http.Request) bool {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
		return true
	}, metricdb.ErrUnavailable, 0)
	f("slow", func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
		return true
	}, metricdb.ErrUnavailable, 0)
}

// TestStandstill checks that a server that takes requests and never answers holds up
// no write for as long as a query may take.
func TestStandstill(t *testing.T) {
	stands := &atomic.Bool{}
	stands.Store(true)
	address, writes := server1(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if !stands.Load() || !strings.HasSuffix(r.URL.Path, "/write") {
			return false
		}
		<-r.Context().Done()
		return true
	})
	s, _ := opened(t, Options{URL: address, Timeout: time.Hour, patience: 50 * time.Millisecond, QueueDir: t.TempDir(), Metrics: metricdb.NewMetrics(nil)})
	for range 5 {
		if err := s.send(t.Context(), []piece{linesOf(10), linesOf(10)}); err != nil {
			t.Fatal(err)
		}
	}
	stands.Store(false)
	if _, err := s.drain(t.Context()); err != nil || writes.Load() != 10 {
		t.Errorf("%d of 10 pieces arrived: %v", writes.Load(), err)
	}
}

// TestPartialWrite counts what 1.x refuses of a request, whose other points it stores.
func TestPartialWrite(t *testing.T) {
	f := func(text string, refused int) {
		t.Helper()
		address, _ := server1(t, func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/write") && fail1(w, http.StatusBadRequest, text)
		})
		options := Options{URL: address, Metrics: metricdb.NewMetrics(nil), QueueDir: t.TempDir()}
		s, _ := opened(t, options)
		if err := s.send(t.Context(), []piece{linesOf(10)}); err != nil || !s.queue.empty() {
			t.Errorf("%s: %v", text, err)
		}
		if n := testutil.ToFloat64(options.Metrics.Dropped.WithLabelValues("refused")); int(n) != refused {
			t.Errorf("%s: %v points were refused, want %d", text, n, refused)
		}
		if n := testutil.ToFloat64(options.Metrics.Samples); int(n) != 10-refused {
			t.Errorf("%s: %v points arrived, want %d", text, n, 10-refused)
		}
	}
	f(`partial write: field type conflict: input field "value" on measurement "m" is type float, already exists as type integer dropped=4`, 4)
	f(`partial write: points beyond retention policy dropped=10`, 10)
	f("partial write: unable to parse 'm x': missing fields\nunable to parse 'm y': missing fields dropped=0", 2)
	f("partial write: max-values-per-tag limit exceeded (100000/100000) dropped=99", 10)
}

// A query that takes too long, or breaks off, says that the database is away.
func TestSlowQuery(t *testing.T) {
	f := func(name string, answer func(w http.ResponseWriter, r *http.Request) bool) {
		t.Helper()
		address, _ := server1(t, answer)
		s, _ := opened(t, Options{URL: address, Timeout: 100 * time.Millisecond})
		if _, err := s.Aggregate(t.Context(), anHour, metricdb.Grouping{}); !errors.Is(err, metricdb.ErrUnavailable) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	hang := func(w http.ResponseWriter, r *http.Request) bool {
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
		return true
	}
	f("no answer", hang)
	f("half an answer", func(w http.ResponseWriter, r *http.Request) bool {
		_, _ = w.Write([]byte("\x81\xa7results\x91\x82\xacstatement_id\x00"))
		return hang(w, r)
	})
	f("a broken answer", func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte("\x81\xa7results\x91\x82\xacstatement_id\x00"))
		panic(http.ErrAbortHandler)
	})
	f("no MessagePack", func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte(`{"results":[]}`))
		return true
	})
	f("a proxy's page", func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte("<html>"))
		return true
	})
}

// TestNoSecrets provokes all kinds of errors, and looks for the password and the token
// in what is said of them.
func TestNoSecrets(t *testing.T) {
	const password = "planted-p%ss/w@rd"
	secrets := []string{
		password, goodToken, url.QueryEscape(password), url.PathEscape(password), url.UserPassword("root", password).String(),
		base64.StdEncoding.EncodeToString([]byte("root:" + password)),
	}
	var said strings.Builder
	registry := prometheus.NewRegistry()
	meter := metricdb.NewMetrics(registry)
	log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	try := func(options Options) {
		t.Helper()
		options.Metrics, options.Timeout = meter, 200*time.Millisecond
		s, err := Open(options, log)
		fmt.Fprintln(&said, err)
		if err != nil {
			return
		}
		defer s.Close()
		_, err = s.Aggregate(t.Context(), anHour, metricdb.Grouping{})
		fmt.Fprintln(&said, err)
		fmt.Fprintln(&said, s.Health(t.Context()), s.Write(t.Context(), dbtest.NewLoad(3, 1).Next(dbtest.T0, time.Minute)))
		if s.queue != nil {
			_, err = s.drain(t.Context())
			fmt.Fprintln(&said, err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close() // nobody is there now
	nobody := listener.Addr().String()
	for status, text := range map[int]string{401: "authorization failed", 403: "not authorized", 500: "engine: no space left", 503: "later", 400: "error parsing query", 404: "database not found"} {
		address, _ := server1(t, func(w http.ResponseWriter, _ *http.Request) bool { return fail1(w, status, text) })
		for _, queue := range []string{"", t.TempDir()} {
			try(Options{URL: address, User: "root", Password: password, QueueDir: queue})
			try(Options{URL: address, Token: goodToken, Org: "acme", Bucket: "k8s", QueueDir: queue})
		}
	}
	for _, address := range []string{
		"http://" + nobody, "http://root:" + url.QueryEscape(password) + "@" + nobody, "http://root:" + password + "@" + nobody,
		"ftp://root:" + url.QueryEscape(password) + "@" + nobody, "root:" + password, "http://" + nobody + "/?token=" + goodToken + "&pw=" + url.QueryEscape(password),
		"://" + password, "http://[::" + password,
	} {
		try(Options{URL: address, User: "root", Password: password})
		try(Options{URL: address, Token: goodToken, Org: "acme", Bucket: "k8s"})
	}
	try(Options{URL: "http://" + nobody, Token: goodToken})
	if _, err := Open(Options{URL: "http://root:x@" + nobody}, log); err == nil {
		t.Error("a user in the URL would be left out unsaid")
	}
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&said, gathered)
	if !strings.Contains(said.String(), "authorization failed") || !strings.Contains(said.String(), "connection refused") || !strings.Contains(said.String(), "krm_metricdb_full") {
		t.Error("errors, logs or metrics are not looked at")
	}
	for _, secret := range secrets {
		if i := strings.Index(said.String(), secret); i >= 0 {
			t.Errorf("%q is told: …%s…", secret, said.String()[max(0, i-200):min(said.Len(), i+100)])
		}
	}
}
