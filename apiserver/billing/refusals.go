package billing

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the metrics of billing, besides those of all requests.
type Metrics struct{ refused *prometheus.CounterVec }

// NewMetrics registers the metrics with reg, with none if it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "krm_billing_refused_total",
		Help: "Requests for billing that got no answer, by reason: method, credentials, unreadable (files of credentials), attempts (too many refusals), " +
			"metric (unknown), request, size, encoding, busy, away, slow (the metric database), internal, gone (the client), cut (off in the middle).",
	}, []string{"reason"})}
	if reg != nil {
		reg.MustRegister(m.refused)
	}
	return m
}

// refusals counts and logs requests that got no answer.
type refusals struct {
	metrics *Metrics
	log     *slog.Logger

	mu     sync.Mutex
	logged map[string]time.Time // when a reason was logged
	more   map[string]int       // that were not logged since
}

func newRefusals(metrics *Metrics, log *slog.Logger) *refusals {
	return &refusals{metrics: metrics, log: log, logged: map[string]time.Time{}, more: map[string]int{}}
}

// logEvery is how often a reason is logged at most: whoever asks cannot fill the log.
const logEvery = 10 * time.Second

// levels are those of reasons that are not a client's own affair.
var levels = map[string]slog.Level{
	"unreadable": slog.LevelError,
	"internal":   slog.LevelError,
	"away":       slog.LevelWarn,
	"slow":       slog.LevelWarn,
	"busy":       slog.LevelWarn,
	"cut":        slog.LevelWarn,
	"attempts":   slog.LevelWarn,
}

// count takes note of one. What the client said goes into no log, save the path's begin.
func (r *refusals) count(reason string, q request, err error) {
	r.metrics.refused.WithLabelValues(reason).Inc()
	more, ok := r.due(reason)
	if !ok {
		return
	}
	facts := []any{"reason", reason, "path", shortened(q.Request.URL.Path), "address", q.Request.RemoteAddr}
	if more > 0 {
		facts = append(facts, "more", more)
	}
	if level := levels[reason]; level > slog.LevelInfo && reason != "attempts" {
		facts = append(facts, "err", err) // one of ours
	}
	r.log.Log(q.Request.Context(), levels[reason], "billing request not answered", facts...)
}

// due says whether a reason may be logged, and how often it was not since it last was.
func (r *refusals) due(reason string) (more int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if last, known := r.logged[reason]; known && now.Sub(last) < logEvery {
		r.more[reason]++
		return 0, false
	}
	more = r.more[reason]
	r.logged[reason], r.more[reason] = now, 0
	return more, true
}
