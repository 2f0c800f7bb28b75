package rollup

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the metrics of roll-ups and lifetimes.
type Metrics struct {
	hours   prometheus.Counter
	refolds prometheus.Counter
	records prometheus.Counter
	skipped prometheus.Counter
	errors  prometheus.Counter
	closed  prometheus.Gauge
	seconds prometheus.Histogram

	pods     prometheus.Gauge
	lives    prometheus.Counter
	gaps     prometheus.Counter
	podError prometheus.Counter
	seen     prometheus.Gauge
}

// NewMetrics registers the metrics with reg, with none if it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "krm_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "krm_" + name, Help: help})
	}
	m := &Metrics{
		hours:   counter("rollup_hours_total", "Hours of a cluster that were closed."),
		refolds: counter("rollup_late_total", "Closed hours that late batches were folded into."),
		records: counter("rollup_records_total", "Roll-ups written."),
		skipped: counter("rollup_skipped_total", "Hours of a metric that cannot be rolled up, and are answered from samples: their resolutions are no whole seconds, or too many."),
		errors:  counter("rollup_errors_total", "Looks for hours to roll up that failed, and are tried again."),
		closed:  gauge("rollup_closed_timestamp_seconds", "Up to when all hours are rolled up, Unix time."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "krm_rollup_seconds", Help: "How long rolling up one hour of a cluster takes.", Buckets: prometheus.ExponentialBuckets(.01, 2, 14),
		}),
		pods:     gauge("lifetimes_pods", "Pods that are followed."),
		lives:    counter("lifetimes_written_total", "Records of pods' lifetimes written."),
		gaps:     counter("lifetimes_gaps_total", "Times that the feed of pods could not be followed and all pods were read anew: short-lived pods may be missing."),
		podError: counter("lifetimes_errors_total", "Attempts to follow pods or to write their lifetimes that failed, and are tried again."),
		seen:     gauge("lifetimes_timestamp_seconds", "Up to when lifetimes are written, Unix time."),
	}
	if reg != nil {
		reg.MustRegister(m.hours, m.refolds, m.records, m.skipped, m.errors, m.closed, m.seconds, m.pods, m.lives, m.gaps, m.podError, m.seen)
	}
	return m
}
