package rollup

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the metrics of roll-ups.
type Metrics struct {
	hours   prometheus.Counter
	refolds prometheus.Counter
	records prometheus.Counter
	skipped prometheus.Counter
	errors  prometheus.Counter
	closed  prometheus.Gauge
	seconds prometheus.Histogram
}

// NewMetrics registers the metrics with reg, with none if it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "krm_rollup_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "krm_rollup_" + name, Help: help})
	}
	m := &Metrics{
		hours:   counter("hours_total", "Hours of a cluster that were closed."),
		refolds: counter("late_total", "Closed hours that late batches were folded into."),
		records: counter("records_total", "Roll-ups written."),
		skipped: counter("skipped_total", "Hours of a metric that cannot be rolled up, and are answered from samples: their resolutions are no whole seconds, or too many."),
		errors:  counter("errors_total", "Looks for hours to roll up that failed, and are tried again."),
		closed:  gauge("closed_timestamp_seconds", "Up to when all hours are rolled up, Unix time."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "krm_rollup_seconds", Help: "How long rolling up one hour of a cluster takes.", Buckets: prometheus.ExponentialBuckets(.01, 2, 14),
		}),
	}
	if reg != nil {
		reg.MustRegister(m.hours, m.refolds, m.records, m.skipped, m.errors, m.closed, m.seconds)
	}
	return m
}
