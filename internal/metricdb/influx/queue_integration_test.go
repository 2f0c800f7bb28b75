//go:build integration

package influx

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// proxied puts a proxy before the server, which can be switched off.
func proxied(t *testing.T, options *Options) (away *atomic.Bool) {
	t.Helper()
	to, err := url.Parse(options.URL)
	if err != nil {
		t.Fatal(err)
	}
	away = &atomic.Bool{}
	proxy := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Read the request whole: ReverseProxy breaks off an answer that comes before it has
		// seen the end of the request's body.
		body, err := io.ReadAll(r.Body)
		if err != nil || away.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	options.URL = front.URL
	return away
}

func count(t *testing.T, s *Store) int64 {
	t.Helper()
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: dbtest.T0, To: dbtest.T0.Add(100 * time.Hour)}
	got, err := s.Aggregate(t.Context(), q, metricdb.Grouping{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) == 0 {
		return 0
	}
	return got[0].Count
}

// TestOutage writes through an outage and the end of a process: nothing is lost.
func TestOutage(t *testing.T) {
	options := server(t)
	options.QueueDir, options.Metrics = t.TempDir(), metricdb.NewMetrics(nil)
	away := proxied(t, &options)
	s := open(t, options)
	load := dbtest.NewLoad(300, 3)
	write := func(s *Store, i int) {
		t.Helper()
		if err := s.Write(t.Context(), load.Next(dbtest.T0.Add(time.Duration(i)*time.Minute), time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	write(s, 1)
	away.Store(true)
	for i := 2; i <= 6; i++ {
		write(s, i)
	}
	if s.queue.empty() || testutil.ToFloat64(options.Metrics.QueueBytes) == 0 {
		t.Fatal("nothing waits on disk")
	}
	if err := s.Close(); err != nil { // a kill does no more, and no less: pieces are whole files
		t.Fatal(err)
	}
	fresh := open(t, options)
	away.Store(false)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- fresh.Run(ctx) }()
	write(fresh, 7)
	deadline := time.Now().Add(20 * time.Second)
	for !fresh.queue.empty() && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := count(t, fresh); got != 7*300 {
		t.Errorf("%d samples arrived, want %d", got, 7*300)
	}
}

// TestOverflow checks that the queue keeps to its bound, and counts what it drops.
func TestOverflow(t *testing.T) {
	options := server(t)
	options.QueueDir, options.QueueBytes, options.Metrics = t.TempDir(), 60_000, metricdb.NewMetrics(nil)
	away := proxied(t, &options)
	away.Store(true)
	s := open(t, options)
	load := dbtest.NewLoad(300, 3)
	for i := range 20 {
		if err := s.Write(t.Context(), load.Next(dbtest.T0.Add(time.Duration(i+1)*time.Minute), time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if size := testutil.ToFloat64(options.Metrics.QueueBytes); size == 0 || size > 60_000 {
		t.Errorf("%v bytes wait", size)
	}
	dropped := testutil.ToFloat64(options.Metrics.Dropped.WithLabelValues("overflow"))
	away.Store(false)
	if sent, err := s.drain(t.Context()); !sent || err != nil {
		t.Fatal(sent, err)
	}
	arrived := testutil.ToFloat64(options.Metrics.Samples)
	if all := 20*600 + 20 + 300.0; dropped == 0 || arrived+dropped != all {
		t.Errorf("%v arrived and %v were dropped of %v", arrived, dropped, all)
	}
}

func TestAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = listener.Close() // nobody is there now
	options := server(t)
	options.URL = "http://" + listener.Addr().String()
	s := open(t, options)
	load := dbtest.NewLoad(3, 1)
	if err := s.Write(t.Context(), load.Next(dbtest.T0, time.Minute)); !errors.Is(err, metricdb.ErrUnavailable) {
		t.Errorf("write: %v", err)
	}
	q := metricdb.Query{Metric: "uptime", Level: metrics.Pod, From: dbtest.T0, To: dbtest.T0.Add(time.Hour)}
	if _, err := s.Aggregate(t.Context(), q, metricdb.Grouping{}); !errors.Is(err, metricdb.ErrUnavailable) {
		t.Errorf("aggregate: %v", err)
	}
	if err := s.Health(t.Context()); !errors.Is(err, metricdb.ErrUnavailable) {
		t.Errorf("health: %v", err)
	}
	wrong := server(t)
	wrong.Password = "wrong"
	if err := open(t, wrong).Write(t.Context(), load.Next(dbtest.T0, time.Minute)); !errors.Is(err, metricdb.ErrUnavailable) || !strings.Contains(err.Error(), "authorization failed") {
		t.Errorf("wrong password: %v", err)
	}
}

func TestRetention(t *testing.T) {
	options := server(t)
	options.Retention = 48 * time.Hour
	s := open(t, options)
	if err := s.make(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := func(s *Store, policy string, want time.Duration) {
		t.Helper()
		have, err := s.policies(t.Context())
		if err != nil || have[policy] != want {
			t.Errorf("%s keeps %v, want %v; %v", policy, have[policy], want, err)
		}
	}
	f(s, samplePolicy, 48*time.Hour)
	f(s, recordPolicy, 0)
	options.Retention, options.RecordRetention = 72*time.Hour, 1000*time.Hour
	changed := open(t, options)
	if err := changed.make(t.Context()); err != nil {
		t.Fatal(err)
	}
	f(changed, samplePolicy, 72*time.Hour)
	f(changed, recordPolicy, 1000*time.Hour)
	options.Retention, options.RecordRetention = 2*time.Hour, 25*time.Hour // shorter than the shards were
	short := open(t, options)
	if err := short.make(t.Context()); err != nil {
		t.Fatal(err)
	}
	f(short, samplePolicy, 2*time.Hour)
	f(short, recordPolicy, 25*time.Hour)
}

// TestConflict writes a float where integers are: the point is refused and counted,
// the others arrive.
func TestConflict(t *testing.T) {
	options := server(t)
	options.Metrics = metricdb.NewMetrics(nil)
	s := open(t, options)
	if err := s.make(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := "cpu/usage_rate,type=pod,cluster_name=default value=1.5 " + "1772359200000000000"
	if err := s.sendPiece(t.Context(), piece{policy: samplePolicy, lines: []byte(lines), samples: 1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), dbtest.NewLoad(10, 1).Next(dbtest.T0, time.Minute)); err != nil {
		t.Fatal(err)
	}
	if refused := testutil.ToFloat64(options.Metrics.Dropped.WithLabelValues("refused")); refused != 10 {
		t.Errorf("%v points were refused, want 10", refused)
	}
}

// TestTotalsBothWays checks that the server and we come to the same totals, and that
// many records are not read one by one twice.
func TestTotalsBothWays(t *testing.T) {
	s := open(t, server(t))
	for i := range 12 {
		if err := s.WriteRecords(t.Context(), dbtest.RollUps(200, 7, dbtest.T0.Add(time.Duration(i)*time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	q := metricdb.RecordQuery{Set: "krm/rollup", Fields: []string{"count", "max", "sum", "none"}, From: dbtest.T0, To: dbtest.T0.Add(12 * time.Hour)}
	q.Where = []metricdb.Match{metricdb.IsNot("namespace_name", "namespace-03")}
	for _, by := range [][]string{nil, {"namespace_name"}, {"pod_name", "namespace_name"}, {"labels", "cluster_name"}} {
		theirs, ok, err := s.serverTotals(t.Context(), q, by)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		ours, ok, err := s.totalsHere(t.Context(), q, by, 12*200)
		if diff := cmp.Diff(theirs, ours); diff != "" || err != nil || !ok {
			t.Errorf("by %v: %v, %v (-server +here):\n%s", by, ok, err, diff)
		}
	}
	if _, ok, err := s.totalsHere(t.Context(), q, nil, 100); ok || err != nil {
		t.Errorf("100 of many records: %v, %v", ok, err)
	}
	s.isLong("krm/rollup", time.Hour)
	if s.isShort("krm/rollup", time.Hour) || !s.isShort("krm/rollup", time.Minute) || !s.isShort("krm/other", time.Hour) {
		t.Error("intervals with many records are not remembered")
	}
}
