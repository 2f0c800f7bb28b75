package auth

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	reviews *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	hits    *prometheus.CounterVec
	held    *prometheus.CounterVec
	refused *prometheus.CounterVec
	reloads *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "krm_auth_" + name, Help: help}, labels)
	}
	m := &metrics{
		reviews: counter("reviews_total",
			"Questions to the API server by kind (token, access) and result (allowed, denied, failed).", "kind", "result"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "krm_auth_review_seconds", Help: "Time from such a question, also one that has to wait for its turn, to the answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 3, 9), // 0.5 ms to 3.3 s
		}, []string{"kind"}),
		hits:    counter("cache_hits_total", "Questions answered by what the API server allowed a short time ago.", "kind"),
		held:    counter("held_total", "Allows that held although the API server could not be asked again.", "kind"),
		refused: counter("refused_total", "Requests refused, by reason (unauthorized, forbidden, serviceunavailable).", "reason"),
		reloads: counter("reloads_total",
			"Changes of what is read from outside (tokens, client-ca), by result (ok, failed).", "what", "result"),
	}
	if registry != nil {
		registry.MustRegister(m.reviews, m.seconds, m.hits, m.held, m.refused, m.reloads)
	}
	return m
}

// reloaded counts one change of what.
func (m *metrics) reloaded(what string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.reloads.WithLabelValues(what, result).Inc()
}
