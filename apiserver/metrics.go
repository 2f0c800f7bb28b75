package apiserver

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
)

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	inFlight prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer, api *kubeapi.API) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "krm_http_requests_total", Help: "Requests answered, by verb (list, get, status, …), resource and code.",
		}, []string{"verb", "resource", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "krm_http_request_duration_seconds", Help: "From the request's header to the end of its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"verb", "resource"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "krm_http_response_bytes_total", Help: "Bytes of answers' bodies.",
		}, []string{"verb", "resource"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "krm_http_requests_in_flight", Help: "Requests that are being answered.",
		}),
	}
	reg.MustRegister(m.requests, m.duration, m.bytes, m.inFlight,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "krm_watches", Help: "Watches that run.",
		}, func() float64 { return float64(api.Watches()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "krm_form_cache_bytes", Help: "About how much memory protobuf and compressed forms of objects take.",
		}, func() float64 { return float64(api.FormBytes()) }),
	)
	return m
}

func (m *metrics) observe(verb, resource string, code, size int, took time.Duration) {
	m.requests.WithLabelValues(verb, resource, strconv.Itoa(code)).Inc()
	if verb != "watch" { // they last as long as they like
		m.duration.WithLabelValues(verb, resource).Observe(took.Seconds())
	}
	m.bytes.WithLabelValues(verb, resource).Add(float64(size))
}
