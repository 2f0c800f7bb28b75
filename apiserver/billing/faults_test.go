package billing

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// stuckDB tells so many points and then no more, until its caller has gone.
type stuckDB struct {
	*fakeDB
	points   int
	told     atomic.Int64
	canceled atomic.Bool
}

func (s *stuckDB) Points(ctx context.Context, _ metricdb.Query, _ int) iter.Seq2[metricdb.Point, error] {
	return func(yield func(metricdb.Point, error) bool) {
		p := metricdb.Point{Time: begun(), Value: metricdb.Int(1), Tags: labels("pod_name", strings.Repeat("p", 60))}
		for range s.points {
			s.told.Add(1)
			if ctx.Err() != nil {
				break
			}
			if !yield(p, nil) {
				return
			}
		}
		<-ctx.Done()
		s.canceled.Store(true)
		yield(metricdb.Point{}, ctx.Err())
	}
}

func (s *stuckDB) Resolutions(ctx context.Context, cluster string, from, to time.Time) ([]metricdb.Resolution, error) {
	if s.points == 0 {
		<-ctx.Done()
		s.canceled.Store(true)
		return nil, ctx.Err()
	}
	return s.fakeDB.Resolutions(ctx, cluster, from, to)
}

// aborted says whether the connection is cut instead of an answer's end.
func aborted(h http.Handler, r *http.Request) (w *httptest.ResponseRecorder, cut bool) {
	w = httptest.NewRecorder()
	defer func() { cut = recover() != nil }()
	h.ServeHTTP(w, r)
	return w, false
}

// A database that stops in the middle of a stream is waited for only so long.
func TestStreamsDoNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, points := range []int{1, 5000} {
			db := &stuckDB{fakeDB: small(), points: points}
			begun := time.Now()
			w, cut := aborted(handler(db, Options{Timeout: 7 * time.Second}), post("/api/uptime", `{"limit":0}`))
			if took := time.Since(begun); took != 7*time.Second || !db.canceled.Load() || cut != (points > 1) || !cut && w.Code != 503 {
				t.Errorf("%d points: %d, cut %v, after %v", points, w.Code, cut, took)
			}
		}
	})
}

// A client that goes away takes its query with it.
func TestClientGoesAway(t *testing.T) {
	for path, points := range map[string]int{"/api/uptime": 5000, "/api/cpu/usage": 0, "/api/report": 0} {
		synctest.Test(t, func(t *testing.T) {
			db := &stuckDB{fakeDB: small(), points: points}
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				time.Sleep(3 * time.Second)
				cancel()
			}()
			begun := time.Now()
			w, _ := aborted(handler(db, Options{}), post(path, `{}`).WithContext(ctx))
			if took := time.Since(begun); took != 3*time.Second || !db.canceled.Load() {
				t.Errorf("%s: %d after %v, canceled %v", path, w.Code, took, db.canceled.Load())
			}
		})
	}
}

// slowReader is a client that takes nothing for as long as the test wants.
type slowReader struct {
	*httptest.ResponseRecorder
	taken chan int
}

func (s slowReader) Write(b []byte) (int, error) {
	s.taken <- len(b)
	return len(b), nil
}

// No more is read than a client takes: memory does not depend on the answer's length.
func TestStreamsWaitForTheirClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &stuckDB{fakeDB: small(), points: 1_000_000}
		ctx, cancel := context.WithCancel(t.Context())
		w := slowReader{httptest.NewRecorder(), make(chan int)}
		done := make(chan bool)
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			handler(db, Options{Timeout: time.Second}).ServeHTTP(w, post("/api/uptime", `{"limit":0}`).WithContext(ctx))
		}()
		for piece := range int64(20) {
			time.Sleep(10 * time.Second) // slower than the database may be
			if told := db.told.Load(); told > (piece+1)*1000 {
				t.Fatalf("%d points are read before the client took %d pieces", told, piece+1)
			}
			if n := <-w.taken; n > 2*pieceBytes {
				t.Fatalf("a piece has %d bytes", n)
			}
		}
		cancel()
		go func() {
			for range w.taken {
				continue
			}
		}()
		<-done
		close(w.taken)
	})
}

// tiredDB takes its time, and counts who asks at once.
type tiredDB struct {
	*fakeDB
	running, most atomic.Int64
}

func (d *tiredDB) Records(ctx context.Context, q metricdb.RecordQuery) iter.Seq2[metricdb.Record, error] {
	if q.Set == metricdb.RecordPrefix+"pod" { // once a report
		d.most.Store(max(d.most.Load(), d.running.Add(1)))
		time.Sleep(10 * time.Second)
		d.running.Add(-1)
	}
	return d.fakeDB.Records(ctx, q)
}

// Two reports are made at a time, eight wait, and more are told to come back; questions
// about metrics are answered meanwhile.
func TestManyReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &tiredDB{fakeDB: small()}
		h := handler(db, Options{ReportWait: 30 * time.Second})
		codes := make(chan int, 12)
		for range 12 {
			go func() {
				w := send(h, post("/api/report", `{}`))
				if (w.Code == 503) != (w.Header().Get("Retry-After") != "") {
					t.Errorf("%d with Retry-After %q", w.Code, w.Header().Get("Retry-After"))
				}
				codes <- w.Code
			}()
		}
		synctest.Wait()
		if w := send(h, post("/api/uptime", `{}`)); w.Code != 200 {
			t.Errorf("a metric: %d", w.Code)
		}
		got := map[int]int{}
		for range 12 {
			got[<-codes]++
		}
		// Those that wait longer than 30 s are told to come back, too.
		if db.most.Load() != 2 || got[200] < 6 || got[503] < 4 || got[200]+got[503] != 12 {
			t.Errorf("at most %d at a time: %v", db.most.Load(), got)
		}
		if w := send(h, post("/api/report", `{}`)); w.Code != 200 {
			t.Errorf("afterwards: %d", w.Code)
		}
	})
}

func TestManyQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(slowDB{small()}, Options{Parallel: 3, Timeout: time.Minute})
		codes := make(chan int, 5)
		for range 5 {
			go func() { codes <- send(h, post("/api/uptime", `{}`)).Code }()
		}
		synctest.Wait()
		if len(codes) != 2 || <-codes != 503 || <-codes != 503 {
			t.Errorf("%d were answered at once", len(codes))
		}
		for range 3 {
			<-codes
		}
	})
}

// A database that is away harms nobody else.
func TestDatabaseAway(t *testing.T) {
	db := small()
	h := handler(db, Options{})
	db.fails = fmt.Errorf("dial: %w", metricdb.ErrUnavailable)
	for range 50 { // nor does it use up what is there for others
		if w := send(h, post("/api/report", `{}`)); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if w := send(h, httptest.NewRequest(http.MethodGet, "/api/v1/pods", http.NoBody)); w.Code != http.StatusTeapot {
			t.Fatalf("others: %d", w.Code)
		}
	}
	db.fails = nil
	if w := send(h, post("/api/report", `{}`)); w.Code != 200 {
		t.Errorf("when it is back: %d %s", w.Code, w.Body)
	}
}

// Files of credentials may be renewed at any time; while one cannot be read nobody comes
// in, and nobody is locked out for that.
func TestCredentialsAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		files := Credentials{UsernameFile: filepath.Join(dir, "u"), PasswordFile: filepath.Join(dir, "p")}
		write := func(file, text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(files.UsernameFile, user)
		write(files.PasswordFile, "first\n")
		h := handler(small(), Options{Credentials: files, Attempts: 3, AttemptEvery: time.Hour})
		f := func(password string, want int) {
			t.Helper()
			if w := send(h, post("/api/uptime", "", "X-PASSWORD", password)); w.Code != want {
				t.Errorf("%s: %d, want %d", password, w.Code, want)
			}
		}
		f("first", 200)
		write(files.PasswordFile, "second\r\n")
		f("first", 401)
		f("second", 200)
		write(files.PasswordFile, "")
		for range 20 {
			f("second", 401)
			f("", 401)
		}
		write(files.PasswordFile, "third")
		f("third", 200)
	})
}

// Each class of refusals is counted, and logged at most once in ten seconds.
func TestRefusalsAreCountedAndLogged(t *testing.T) {
	f := func(reason string, db metricdb.DB, options Options, r *http.Request, times int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			options.Metrics, options.RefusalDelay, options.Timeout = NewMetrics(prometheus.NewRegistry()), 1, time.Second
			if options.Credentials == (Credentials{}) {
				options.Credentials = Credentials{Username: user, Password: password}
			}
			api := New(db, options, slog.New(slog.NewTextHandler(&log, nil)))
			engine := gin.New()
			engine.Use(func(c *gin.Context) { api.Serve(c) })
			body, _ := io.ReadAll(r.Body)
			ctx, cancel := context.WithCancel(t.Context())
			defer synctest.Wait()
			defer cancel()
			ask := func() {
				again := r.Clone(ctx)
				again.Body = io.NopCloser(bytes.NewReader(body))
				_, _ = aborted(engine, again)
			}
			for range times {
				if reason == "busy" {
					go ask()
					time.Sleep(time.Millisecond)
				} else {
					ask()
				}
			}
			of := fmt.Sprintf("reason=%s ", reason)
			if reason == "busy" {
				times--
			}
			if got := testutil.ToFloat64(options.Metrics.refused.WithLabelValues(reason)); int(got) != times {
				t.Errorf("%s: counted %v times, want %d", reason, got, times)
			}
			if n := strings.Count(log.String(), of); n != 1 || strings.Contains(log.String(), password) {
				t.Errorf("%s: %d lines: %s", reason, n, log.String())
			}
			time.Sleep(logEvery)
			ask()
			if n := strings.Count(log.String(), of); n != 2 || times > 1 && !strings.Contains(log.String(), fmt.Sprintf("more=%d", times-1)) {
				t.Errorf("%s, later: %s", reason, log.String())
			}
		})
	}
	fails := func(err error) metricdb.DB {
		db := small()
		db.fails = err
		return db
	}
	plain := Options{}
	get := post("/api/uptime", "")
	get.Method = http.MethodGet
	f("method", small(), plain, get, 3)
	f("credentials", small(), plain, post("/api/uptime", "", "X-PASSWORD", "wrong"), 3)
	f("unreadable", small(), Options{Credentials: Credentials{Username: user, PasswordFile: "/nonexistent"}}, post("/api/uptime", ""), 3)
	f("metric", small(), plain, post("/api/nothing", ""), 3)
	f("request", small(), plain, post("/api/report", "[]"), 3)
	f("encoding", small(), plain, post("/api/uptime", "", "Content-Encoding", "gzip"), 3)
	f("away", fails(metricdb.ErrUnavailable), plain, post("/api/uptime", ""), 3)
	f("internal", fails(fmt.Errorf("broken")), plain, post("/api/report", ""), 3)
	f("slow", slowDB{small()}, plain, post("/api/uptime", ""), 1)
	f("cut", &stuckDB{fakeDB: small(), points: 5000}, plain, post("/api/uptime", ""), 1)
	f("busy", slowDB{small()}, Options{Parallel: 1, ReportTimeout: time.Hour, Reports: 1, ReportWait: time.Nanosecond}, post("/api/report", ""), 2)
}

// Who guesses is told to wait, and that is counted by itself.
func TestGuessersAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics := NewMetrics(nil)
		h := handler(small(), Options{Metrics: metrics, Attempts: 2, AttemptEvery: time.Minute})
		for range 5 {
			send(h, post("/api/uptime", "", "X-PASSWORD", "wrong"))
		}
		for reason, want := range map[string]float64{"credentials": 2, "attempts": 3} {
			if got := testutil.ToFloat64(metrics.refused.WithLabelValues(reason)); got != want {
				t.Errorf("%s: %v", reason, got)
			}
		}
	})
}
