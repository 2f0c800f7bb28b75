package metricdb

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the metric database's own metrics.
type Metrics struct {
	Samples     prometheus.Counter     // written and acknowledged
	Dropped     *prometheus.CounterVec // given up, by reason
	Retries     prometheus.Counter     // writes that were put off
	QueueBytes  prometheus.Gauge       // waiting on disk
	QueueFiles  prometheus.Gauge
	Full        prometheus.Gauge         // 1 while the disk is full
	WriteTime   prometheus.Histogram     // of a batch
	QueryTime   *prometheus.HistogramVec // by kind of query
	QueryErrors *prometheus.CounterVec
	Folded      prometheus.Counter
	Expired     prometheus.Counter
}

// NewMetrics registers the metrics with reg, with none if it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "krm_metricdb_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "krm_metricdb_" + name, Help: help})
	}
	buckets := prometheus.ExponentialBuckets(.001, 2, 16)
	m := &Metrics{
		Samples: counter("samples_total", "Samples written to the metric database and acknowledged."),
		Dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "krm_metricdb_dropped_total",
			Help: "Samples given up, by reason: overflow of the queue on disk, refused by the server, type of a metric changed.",
		}, []string{"reason"}),
		Retries:    counter("retries_total", "Writes that did not work and were put off."),
		QueueBytes: gauge("queue_bytes", "Compressed bytes that wait on disk for the metric database."),
		QueueFiles: gauge("queue_files", "Pieces that wait on disk for the metric database."),
		Full:       gauge("full", "1 while nothing can be written because the disk is full."),
		WriteTime:  prometheus.NewHistogram(prometheus.HistogramOpts{Name: "krm_metricdb_write_seconds", Help: "How long writing a batch takes.", Buckets: buckets}),
		QueryTime: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "krm_metricdb_query_seconds", Help: "How long queries take, by kind.", Buckets: buckets,
		}, []string{"kind"}),
		QueryErrors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "krm_metricdb_query_errors_total", Help: "Queries that were not answered, by kind."}, []string{"kind"}),
		Folded:      counter("folded_total", "Hours of a metric that were folded into blocks (embedded)."),
		Expired:     counter("expired_total", "Hours of a metric that were removed because of their age (embedded)."),
	}
	if reg != nil {
		reg.MustRegister(m.Samples, m.Dropped, m.Retries, m.QueueBytes, m.QueueFiles, m.Full, m.WriteTime, m.QueryTime, m.QueryErrors, m.Folded, m.Expired)
	}
	return m
}

// Wrote counts a batch that was written.
func (m *Metrics) Wrote(samples int, took time.Duration) {
	m.Samples.Add(float64(samples))
	m.WriteTime.Observe(took.Seconds())
}

// Drop counts samples that were given up.
func (m *Metrics) Drop(reason string, samples int) {
	m.Dropped.WithLabelValues(reason).Add(float64(samples))
}

// Query starts the clock of a query; call what it returns with the query's error.
func (m *Metrics) Query(kind string) (done func(error)) {
	start := time.Now()
	return func(err error) {
		m.QueryTime.WithLabelValues(kind).Observe(time.Since(start).Seconds())
		if err != nil {
			m.QueryErrors.WithLabelValues(kind).Inc()
		}
	}
}
