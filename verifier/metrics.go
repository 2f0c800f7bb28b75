package verifier

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Metrics are the Prometheus metrics of all Verifiers of a process, by resource.
type Metrics struct {
	rounds   *prometheus.CounterVec
	duration *prometheus.HistogramVec
	errors   *prometheus.CounterVec
	objects  *prometheus.GaugeVec
	last     *prometheus.GaugeVec
	fetched  *prometheus.CounterVec
}

// NewMetrics makes them and registers them with reg, unless it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	factory := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return factory.NewCounterVec(prometheus.CounterOpts{Name: "krm_verifier_" + name, Help: help}, append([]string{"resource"}, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return factory.NewGaugeVec(prometheus.GaugeOpts{Name: "krm_verifier_" + name, Help: help}, []string{"resource"})
	}
	return &Metrics{
		rounds: counter("rounds_total", "Rounds, by kind: metadata or full.", "kind"),
		duration: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name: "krm_verifier_round_duration_seconds", Help: "From a round's begin to its adoption by the aggregator, or its failure.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 16),
		}, []string{"resource"}),
		errors:  counter("errors_total", "Rounds that failed, by reason.", "reason"),
		objects: gauge("listed_objects", "Objects in the last list."),
		last:    gauge("last_list_timestamp_seconds", "When the last complete list ended."),
		fetched: counter("bodies_total", "Bodies handed to the aggregator."),
	}
}

// meter is one resource's part of the Metrics.
type meter struct {
	*Metrics
	resource string
}

func (m *Metrics) of(resource string) *meter { return &meter{m, resource} }

// round counts a round that begins; the function it returns measures its end.
func (m *meter) round(full bool) func() {
	kind := "metadata"
	if full {
		kind = "full"
	}
	m.rounds.WithLabelValues(m.resource, kind).Inc()
	begun := time.Now()
	return func() { m.duration.WithLabelValues(m.resource).Observe(time.Since(begun).Seconds()) }
}

func (m *meter) listed(objects int) {
	m.objects.WithLabelValues(m.resource).Set(float64(objects))
	m.last.WithLabelValues(m.resource).SetToCurrentTime()
}

func (m *meter) bodies(count int) { m.fetched.WithLabelValues(m.resource).Add(float64(count)) }

func (m *meter) failed(err error) {
	reason := "unreachable"
	var retry *object.RetryError
	switch {
	case errors.Is(err, errRedis):
		reason = "redis"
	case errors.Is(err, object.ErrForbidden):
		reason = "forbidden"
	case errors.Is(err, object.ErrExpired):
		reason = "expired"
	case errors.As(err, &retry):
		reason = "throttled"
	}
	m.errors.WithLabelValues(m.resource, reason).Inc()
}
