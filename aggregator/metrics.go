package aggregator

import (
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Metrics are the Prometheus metrics of all Aggregators of a process, by resource.
type Metrics struct {
	items     *prometheus.CounterVec
	changes   *prometheus.CounterVec
	publishes *prometheus.HistogramVec
	objects   *prometheus.GaugeVec
	position  *prometheus.GaugeVec
	rounds    *prometheus.CounterVec
	late      *prometheus.CounterVec
	refused   *prometheus.CounterVec
	lastDrift *prometheus.GaugeVec
	resyncs   *prometheus.CounterVec
	overtaken *prometheus.CounterVec
	restarts  *prometheus.CounterVec
	drift     *driftCounter
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
	m := &Metrics{
		items:   counter("aggregator_items_total", "Log items merged."),
		changes: counter("aggregator_changes_total", "Changes of the snapshot published."),
		publishes: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name: "krm_aggregator_publish_duration_seconds", Help: "Of one publication in Redis.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16),
		}, []string{"resource"}),
		objects:   gauge("aggregator_objects", "Live objects in the snapshot."),
		position:  gauge("aggregator_position", "The resourceVersion up to which the snapshot has everything."),
		rounds:    counter("verifications_total", "Verifications adopted."),
		late:      counter("verifications_late_total", "Verifications adopted before the stream had reached them."),
		refused:   counter("verifications_refused_total", "Statements of the verifier that say nothing about this snapshot."),
		lastDrift: gauge("last_drift", "What the last verification found wrong, by kind.", "kind"),
		resyncs:   counter("aggregator_resyncs_total", "Complete lists begun in the log."),
		overtaken: counter("aggregator_overtaken_total", "Times that the log was trimmed before it was merged."),
		restarts:  counter("aggregator_restarts_total", "Times that the aggregator began anew from Redis, by reason.", "reason"),
		drift:     &driftCounter{totals: map[string]object.Drift{}},
	}
	if reg != nil {
		reg.MustRegister(m.drift)
	}
	return m
}

// meter is one resource's part of the Metrics.
type meter struct {
	*Metrics
	resource           string
	refused, overtaken prometheus.Counter
	items, changes     prometheus.Counter
	publishes          prometheus.Observer
	objects, position  prometheus.Gauge
}

func (m *Metrics) of(resource string) *meter {
	return &meter{
		Metrics: m, resource: resource,
		refused: m.refused.WithLabelValues(resource), overtaken: m.overtaken.WithLabelValues(resource),
		items: m.items.WithLabelValues(resource), changes: m.changes.WithLabelValues(resource),
		publishes: m.publishes.WithLabelValues(resource),
		objects:   m.objects.WithLabelValues(resource), position: m.position.WithLabelValues(resource),
	}
}

// start takes over the counters that Redis keeps.
func (m *meter) start(state object.SnapshotState) {
	m.drift.set(m.resource, state.Drift)
	m.last(state.LastDrift)
	m.objects.Set(float64(state.Objects))
}

func (m *meter) merged(items int) { m.items.Add(float64(items)) }
func (m *meter) resync()          { m.resyncs.WithLabelValues(m.resource).Inc() }

func (m *meter) published(p object.Publication, took time.Duration) {
	m.changes.Add(float64(len(p.Entry.Changes)))
	m.publishes.Observe(took.Seconds())
	m.objects.Set(float64(p.State.Objects))
	if position, err := strconv.ParseFloat(string(p.State.Freshness.Streamed), 64); err == nil {
		m.position.Set(position)
	}
	m.drift.add(m.resource, p.Drift)
}

func (m *meter) adopted(r *round) {
	m.rounds.WithLabelValues(m.resource).Inc()
	if r.late {
		m.late.WithLabelValues(m.resource).Inc()
	}
	m.last(r.found.Drift())
}

func (m *meter) last(d object.Drift) {
	for kind, count := range byKind(d) {
		m.lastDrift.WithLabelValues(m.resource, kind).Set(float64(count))
	}
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

// driftCounter shows krm_drift_total. It goes on from what Redis holds, so that a
// restart is no reset.
type driftCounter struct {
	mu     sync.Mutex
	totals map[string]object.Drift // by resource
}

var driftTotal = prometheus.NewDesc("krm_drift_total",
	"What verifications have found wrong since the snapshot was first made, by kind.", []string{"resource", "kind"}, nil)

func (c *driftCounter) set(resource string, d object.Drift) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals[resource] = d
}

func (c *driftCounter) add(resource string, d object.Drift) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.totals[resource] = c.totals[resource].Add(d)
}

// Describe implements prometheus.Collector.
func (c *driftCounter) Describe(descriptions chan<- *prometheus.Desc) { descriptions <- driftTotal }

// Collect implements prometheus.Collector.
func (c *driftCounter) Collect(metrics chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for resource, d := range c.totals {
		for kind, count := range byKind(d) {
			metrics <- prometheus.MustNewConstMetric(driftTotal, prometheus.CounterValue, float64(count), resource, kind)
		}
	}
}

func byKind(d object.Drift) map[string]int64 {
	return map[string]int64{"missing": d.Missing, "stale": d.Stale, "ghost": d.Ghost, "altered": d.Altered}
}
