package passthrough

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests *prometheus.CounterVec
	open     prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "krm_passthrough_requests_total",
			Help: "Requests for the API server by kind (read, write, upgrade, refused) and its code; code is 0 if it did not answer.",
		}, []string{"kind", "code"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "krm_passthrough_open", Help: "Requests and upgraded connections that are under way to the API server.",
		}),
	}
	if registry != nil {
		registry.MustRegister(m.requests, m.open)
	}
	return m
}
