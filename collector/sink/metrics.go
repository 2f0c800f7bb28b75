package sink

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the sinks' Prometheus metrics. One Metrics serves any number of Fans.
type Metrics struct {
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec
	drops   *prometheus.CounterVec
	queued  *prometheus.GaugeVec
	bytes   *prometheus.CounterVec
}

// NewMetrics registers the sinks' metrics; nil registers nothing.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	labels := []string{"cluster", "sink"}
	m := &Metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "krm_sink_write_seconds", Help: "How long a sink took for a batch.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, labels),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "krm_sink_errors_total", Help: "Tries of batches that failed; most are tried again."}, labels),
		drops:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "krm_sink_dropped_total", Help: "Batches that are lost to a sink."}, labels),
		queued: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "krm_sink_queue", Help: "Batches that wait for a sink."}, labels),
		bytes:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "krm_sink_frame_bytes_total", Help: "Bytes of frames that were written to Redis."}, []string{"cluster", "frame"}),
	}
	if reg != nil {
		reg.MustRegister(m.seconds, m.errors, m.drops, m.queued, m.bytes)
	}
	return m
}

func (m *Metrics) tried(cluster, sink string, took time.Duration, err error) {
	m.seconds.WithLabelValues(cluster, sink).Observe(took.Seconds())
	if err != nil {
		m.errors.WithLabelValues(cluster, sink).Inc()
	}
}

func (m *Metrics) drop(cluster, sink string) { m.drops.WithLabelValues(cluster, sink).Inc() }

func (m *Metrics) length(cluster, sink string, n int) {
	m.queued.WithLabelValues(cluster, sink).Set(float64(n))
	m.drops.WithLabelValues(cluster, sink).Add(0) // so that it is there before the first
}

func (m *Metrics) wrote(cluster, frame string, bytes int) {
	m.bytes.WithLabelValues(cluster, frame).Add(float64(bytes))
}
