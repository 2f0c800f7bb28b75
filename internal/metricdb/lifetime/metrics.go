package lifetime

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the metrics of followers.
type Metrics struct {
	pods   prometheus.Gauge
	lives  prometheus.Counter
	gaps   prometheus.Counter
	errors prometheus.Counter
	seen   prometheus.Gauge
}

// NewMetrics registers the metrics with reg, with none if it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "krm_lifetimes_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "krm_lifetimes_" + name, Help: help})
	}
	m := &Metrics{
		pods:   gauge("pods", "Pods that are followed."),
		lives:  counter("written_total", "Records of pods' lifetimes written."),
		gaps:   counter("gaps_total", "Times that the feed of pods could not be followed and all pods were read anew: short-lived pods may be missing."),
		errors: counter("errors_total", "Attempts to follow pods or to write their lifetimes that failed, and are tried again."),
		seen:   gauge("timestamp_seconds", "Up to when lifetimes are written, Unix time."),
	}
	if reg != nil {
		reg.MustRegister(m.pods, m.lives, m.gaps, m.errors, m.seen)
	}
	return m
}
