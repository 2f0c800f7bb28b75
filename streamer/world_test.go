package streamer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// world is a server, a log, and the streamers between them.
type world struct {
	*server
	t       *testing.T
	redis   *redis
	options Options
	logger  *slog.Logger
	running sync.WaitGroup
	stop    context.CancelFunc

	clusters int  // replaced so far
	renewed  bool // the streamer is not the first one
}

func newWorld(t *testing.T) *world {
	return &world{
		server: newServer(), redis: newRedis(), t: t,
		options: Options{Metrics: NewMetrics(prometheus.NewRegistry())},
		logger:  slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// inWorld runs a test in a world of its own, with its own time. Start is called by
// the test, the end is not.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer func() {
			if w.stop != nil {
				w.end()
			}
		}()
		test(w)
	})
}

// start starts a streamer.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	w.running.Go(func() {
		if err := New("pods", w.server, w.redis.open, w.options, w.logger).Run(ctx); err != nil {
			w.t.Errorf("Run returned %v", err)
		}
	})
}

// follow starts a streamer and waits until it follows and has proved that.
func (w *world) follow() {
	w.start()
	w.pass(10 * time.Second)
	w.wantState(object.StateFollowing, "")
}

// end stops the streamers and waits for them.
func (w *world) end() {
	w.stop()
	w.running.Wait()
}

// heal ends every outage.
func (w *world) heal() {
	w.do(func() { w.fault, w.absent, w.pace, w.unsupported = nil, false, 0, false })
	w.redis.do(func() { w.redis.away = false })
}

// pass lets time pass, and whatever is due happen.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (w *world) wantState(state object.State, message string) {
	w.t.Helper()
	status := w.redis.status()
	if status.State != state || !strings.Contains(status.Message, message) || status.Role != object.RoleStreamer {
		w.t.Errorf("status %+v, want %s: …%s…", status, state, message)
	}
}

// wantLog compares the log's items after the first skip.
func (w *world) wantLog(skip int, want ...string) {
	w.t.Helper()
	items := w.redis.all()
	if diff := cmp.Diff(want, brief(batch{items: items[min(skip, len(items)):]})); diff != "" {
		w.t.Errorf("log (-want +got):\n%s", diff)
	}
}

// wantCount checks a counter: "resyncs first", "reconnects closed", "unequal".
func (w *world) wantCount(what string, want int) {
	w.t.Helper()
	if got := w.count(what); got != want {
		w.t.Errorf("%s: counted %d, want %d", what, got, want)
	}
}

func (w *world) count(what string) int {
	name, label, _ := strings.Cut(what, " ")
	m := w.options.Metrics
	metrics := map[string]*prometheus.CounterVec{
		"resyncs": m.resyncs, "reconnects": m.reconnects, "proofs": m.proofs,
		"unequal": m.unequal, "events": m.events, "appends": m.appends,
	}
	labels := []string{"pods"}
	if label != "" {
		labels = append(labels, label)
	}
	return int(written(metrics[name].WithLabelValues(labels...)).GetCounter().GetValue())
}

// written is a metric as it is scraped.
func written(metric prometheus.Metric) *dto.Metric {
	out := new(dto.Metric)
	if err := metric.Write(out); err != nil {
		panic(err)
	}
	return out
}

// wantTruth checks that the log is complete and merges into the server's state.
func (w *world) wantTruth() {
	w.t.Helper()
	if err := w.verdict(); err != nil {
		w.t.Error(err)
	}
}

// verdict says what is wrong with a world in which all should be well.
func (w *world) verdict() error {
	m, err := audit(w.server, w.redis)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(w.truth(), m.live()); diff != "" {
		return fmt.Errorf("merged log (-server +log):\n%s", diff)
	}
	if len(w.redis.violations) > 0 {
		return fmt.Errorf("the log was misused: %v", w.redis.violations)
	}
	state, status := w.redis.now(), w.redis.status()
	switch {
	case state.Resyncing:
		return fmt.Errorf("still resyncing: %+v", state)
	case number(state.Position) != w.rv:
		return fmt.Errorf("position %s, want %d", state.Position, w.rv)
	case state.Resync.ClusterUID != w.uid:
		return fmt.Errorf("log of cluster %s, want %s", state.Resync.ClusterUID, w.uid)
	case status.State != object.StateFollowing:
		return fmt.Errorf("status %+v, want following", status)
	}
	return nil
}

// failing is a log that does not append, though all else works.
type failing struct {
	*handle
	fail bool
}

func (f *failing) Append(ctx context.Context, items []object.LogItem) error {
	f.r.mu.Lock()
	fail := f.fail
	f.r.mu.Unlock()
	if fail {
		return errAway
	}
	return f.handle.Append(ctx, items)
}

// severed says how a connection ends, if it does.
func (s *server) severed(ctx context.Context, c *conn) (err error, end bool) {
	if err := s.refuse(ctx); err != nil {
		return err, true
	}
	s.mu.Lock()
	how := c.cut
	s.mu.Unlock()
	switch how {
	case cutClean:
		return nil, true
	case cutBroken:
		return errBroken, true
	case cutGarbled:
		return object.ErrGarbled, true
	case cutExpired:
		return object.ErrExpired, true
	case cutSilent:
		if err := sleep(ctx, 90*time.Second); err != nil {
			return err, true
		}
		return object.ErrSilent, true
	}
	return nil, false
}
