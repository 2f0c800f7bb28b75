package lifetime

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the metrics of followers, by the resource that they follow.
type Metrics struct {
	followed, seen          *prometheus.GaugeVec
	written, gaps, failures *prometheus.CounterVec
}

// NewMetrics registers the metrics with reg, with none if it is nil. All followers of a
// process share them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "krm_lifetimes_" + name, Help: help}, []string{"resource"})
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "krm_lifetimes_" + name, Help: help}, []string{"resource"})
	}
	m := &Metrics{
		followed: gauge("followed", "Objects that are there and whose lives are followed."),
		seen:     gauge("timestamp_seconds", "Up to when lives are written, Unix time."),
		written:  counter("written_total", "Records of lives written."),
		gaps:     counter("gaps_total", "Times that the feed could not be followed and all objects were read anew: short lives may be missing."),
		failures: counter("errors_total", "Attempts to follow a resource or to write lives that failed, and are tried again."),
	}
	if reg != nil {
		reg.MustRegister(m.followed, m.seen, m.written, m.gaps, m.failures)
	}
	return m
}
