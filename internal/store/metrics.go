package store

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the store's Prometheus metrics. A nil *Metrics counts nothing.
type Metrics struct {
	seconds       *prometheus.HistogramVec
	errors        *prometheus.CounterVec
	streamEntries *prometheus.GaugeVec
	streamBytes   *prometheus.GaugeVec
}

// NewMetrics registers the store's metrics. One Metrics serves any number of Stores.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "krm_redis_operation_seconds",
			Help:    "How long operations on Redis took, waiting for new entries left out.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}, []string{"operation"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "krm_redis_errors_total",
			Help: "Operations on Redis that ended in an error, being fenced included.",
		}, []string{"operation"}),
		streamEntries: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "krm_stream_entries",
			Help: "Entries that a log or feed holds, as its writer knows.",
		}, []string{"resource", "stream"}),
		streamBytes: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "krm_stream_bytes",
			Help: "Bytes of the entries that a log or feed holds, as its writer knows.",
		}, []string{"resource", "stream"}),
	}
	reg.MustRegister(m.seconds, m.errors, m.streamEntries, m.streamBytes)
	return m
}

func (m *Metrics) observe(operation string, took time.Duration, err error) {
	if m == nil {
		return
	}
	m.seconds.WithLabelValues(operation).Observe(took.Seconds())
	if err != nil {
		m.errors.WithLabelValues(operation).Inc()
	}
}

func (m *Metrics) stream(resource, stream string, entries int, bytes int64) {
	if m == nil {
		return
	}
	m.streamEntries.WithLabelValues(resource, stream).Set(float64(entries))
	m.streamBytes.WithLabelValues(resource, stream).Set(float64(bytes))
}

// forget drops the gauges of a stream that is no longer ours to write.
func (m *Metrics) forget(resource, stream string) {
	if m == nil {
		return
	}
	m.streamEntries.DeleteLabelValues(resource, stream)
	m.streamBytes.DeleteLabelValues(resource, stream)
}
