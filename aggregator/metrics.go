package aggregator

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Metrics are the Prometheus metrics of all Aggregators of a process, by resource.
type Metrics struct {
	items      *prometheus.CounterVec
	changes    *prometheus.CounterVec
	publishes  *prometheus.HistogramVec
	objects    *prometheus.GaugeVec
	position   *prometheus.GaugeVec
	streamedAt *prometheus.GaugeVec
	verifiedAt *prometheus.GaugeVec
	rounds     *prometheus.CounterVec
	late       *prometheus.CounterVec
	refused    *prometheus.CounterVec
	drift      *prometheus.CounterVec
	lastDrift  *prometheus.GaugeVec
	resyncs    *prometheus.CounterVec
	overtaken  *prometheus.CounterVec
	restarts   *prometheus.CounterVec
}

// NewMetrics makes them and registers them with reg, unless it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	factory := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return factory.NewCounterVec(prometheus.CounterOpts{Name: "krm_" + name, Help: help}, append([]string{"resource"}, labels...))
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return factory.NewGaugeVec(prometheus.GaugeOpts{Name: "krm_" + name, Help: help}, append([]string{"resource"}, labels...))
	}
	return &Metrics{
		items:   counter("aggregator_items_total", "Log items merged."),
		changes: counter("aggregator_changes_total", "Changes of the snapshot published."),
		publishes: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name: "krm_aggregator_publish_duration_seconds", Help: "Of one publication in Redis.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16),
		}, []string{"resource"}),
		objects:    gauge("aggregator_objects", "Live objects in the snapshot."),
		position:   gauge("aggregator_position", "The resourceVersion up to which the snapshot has everything."),
		streamedAt: gauge("aggregator_streamed_timestamp_seconds", "When the stream was last known to be at the position."),
		verifiedAt: gauge("aggregator_verified_timestamp_seconds", "When the list was taken that was adopted last."),
		rounds:     counter("verifications_total", "Verifications adopted since the snapshot was first made."),
		late:       counter("verifications_late_total", "Of those, adopted before the stream had reached them."),
		refused:    counter("verifications_refused_total", "Statements of the verifier that say nothing about this snapshot."),
		drift:      counter("drift_total", "What verifications have found wrong since the snapshot was first made, by kind.", "kind"),
		lastDrift:  gauge("last_drift", "What the last verification found wrong, by kind.", "kind"),
		resyncs:    counter("aggregator_resyncs_total", "Complete lists begun in the log."),
		overtaken:  counter("aggregator_overtaken_total", "Times that the log was gone before it was merged."),
		restarts:   counter("aggregator_restarts_total", "Times that the aggregator began anew from Redis, by reason.", "reason"),
	}
}

// meter is one resource's part of the Metrics.
type meter struct {
	*Metrics
	resource                   string
	refused, overtaken         prometheus.Counter
	items, changes, resyncs    prometheus.Counter
	publishes                  prometheus.Observer
	objects, position          prometheus.Gauge
	streamedTime, verifiedTime prometheus.Gauge

	told object.SnapshotState // what the counters say that Redis keeps
}

func (m *Metrics) of(resource string) *meter {
	return &meter{
		Metrics: m, resource: resource,
		refused: m.refused.WithLabelValues(resource), overtaken: m.overtaken.WithLabelValues(resource),
		items: m.items.WithLabelValues(resource), changes: m.changes.WithLabelValues(resource),
		resyncs: m.resyncs.WithLabelValues(resource), publishes: m.publishes.WithLabelValues(resource),
		objects: m.objects.WithLabelValues(resource), position: m.position.WithLabelValues(resource),
		streamedTime: m.streamedAt.WithLabelValues(resource), verifiedTime: m.verifiedAt.WithLabelValues(resource),
	}
}

func (m *meter) published(state *object.SnapshotState, changes int, took time.Duration) {
	m.changes.Add(float64(changes))
	m.publishes.Observe(took.Seconds())
	m.moved(state)
}

func (m *meter) moved(state *object.SnapshotState) {
	m.objects.Set(float64(state.Objects))
	if position, err := strconv.ParseFloat(string(state.Freshness.Streamed), 64); err == nil {
		m.position.Set(position)
	}
	if at := state.Freshness.StreamedAt; !at.IsZero() {
		m.streamedTime.Set(float64(at.UnixMilli()) / 1000)
	}
	if at := state.Freshness.VerifiedAt; !at.IsZero() {
		m.verifiedTime.Set(float64(at.UnixMilli()) / 1000)
	}
}

// verified takes over the counters that Redis keeps, so that a restart is no reset.
func (m *meter) verified(state *object.SnapshotState) {
	grow := func(counter *prometheus.CounterVec, by int64, labels ...string) {
		counter.WithLabelValues(append([]string{m.resource}, labels...)...).Add(float64(max(by, 0)))
	}
	grow(m.rounds, state.Verified-m.told.Verified)
	grow(m.late, state.Late-m.told.Late)
	total, told, last := byKind(state.Drift), byKind(m.told.Drift), byKind(state.LastDrift)
	for kind := range total {
		grow(m.drift, total[kind]-told[kind], kind)
		m.lastDrift.WithLabelValues(m.resource, kind).Set(float64(last[kind]))
	}
	m.told = *state
	m.moved(state)
}

func (m *meter) restarted(err error) {
	reason := "redis"
	switch {
	case errors.Is(err, object.ErrFenced):
		reason = "fenced"
	case errors.Is(err, object.ErrLost):
		reason = "lost"
	}
	m.restarts.WithLabelValues(m.resource, reason).Inc()
}

func byKind(d object.Drift) map[string]int64 {
	return map[string]int64{"missing": d.Missing, "stale": d.Stale, "ghost": d.Ghost, "altered": d.Altered}
}
