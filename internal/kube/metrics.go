package kube

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Metrics counts what is asked of the API server and what it brings.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	received *prometheus.CounterVec
	events   *prometheus.CounterVec
}

// NewMetrics makes the metrics and registers them with reg; nil registers none.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "krm_kube_requests_total",
			Help: "Requests to the API server by HTTP status; code is 0 if there was no answer.",
		}, []string{"resource", "verb", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "krm_kube_request_seconds",
			Help:    "Time from a request to the API server to the header of its answer.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8), // 1 ms to 16 s
		}, []string{"resource", "verb"}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "krm_kube_received_bytes_total",
			Help: "Bytes of the API server's answers.",
		}, []string{"resource"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "krm_kube_watch_events_total",
			Help: "Events that watches brought, by type.",
		}, []string{"resource", "type"}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.seconds, m.received, m.events)
	}
	return m
}

// answered counts one request.
func (m *Metrics) answered(resource, verb string, code int, took time.Duration) {
	m.requests.WithLabelValues(resource, verb, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(resource, verb).Observe(took.Seconds())
}

// counters returns the counters of one watch's events by type, so that counting
// one costs no look-up.
func (m *Metrics) counters(resource string) (byType [object.Columns + 1]prometheus.Counter) {
	for t := range byType {
		byType[t] = m.events.WithLabelValues(resource, object.EventType(t).String())
	}
	return byType
}
