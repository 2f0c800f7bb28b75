package mirror

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Metrics are the mirrors' metrics. What a mirror holds is read when it is scraped.
type Metrics struct {
	applied *prometheus.CounterVec
	reloads *prometheus.CounterVec
	delay   *prometheus.HistogramVec
	skew    *prometheus.CounterVec
	broken  *prometheus.CounterVec

	objects, bytes, position, age *prometheus.Desc

	mu      sync.Mutex
	mirrors map[*Mirror]struct{}
}

// NewMetrics registers the mirrors' metrics with reg, with none if it is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	labels := []string{"resource"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, labels, nil) }
	m := &Metrics{
		applied: counter("krm_mirror_applied_total", "Changes of the feed applied after the snapshot was read.", "resource"),
		reloads: counter("krm_mirror_reloads_total", "How often a snapshot was read whole, by reason; the first time is start.", "resource", "reason"),
		skew:    counter("krm_mirror_clock_skew_total", "Changes that were seen in the future of this process's clock; their delay counts as 0.", "resource"),
		broken:  counter("krm_mirror_unreadable_total", "Objects left out because their stored bytes could not be opened.", "resource"),
		delay: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "krm_mirror_delay_seconds",
			Help: "From when KRM received a change to when a mirror serves it; both clocks are KRM's, perhaps on two machines.",
			Buckets: []float64{
				.0005, .00075, .001, .0015, .002, .003, .005, .0075, .01, .015, .02, .03, .05, .075,
				.1, .15, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60,
			},
		}, labels),
		objects:  gauge("krm_mirror_objects", "Objects in the state that is served."),
		bytes:    gauge("krm_mirror_bytes", "About how much memory the served objects take."),
		position: gauge("krm_mirror_position", "The resourceVersion up to which the served state is complete."),
		age:      gauge("krm_mirror_age_seconds", "Time since the served state was last known to be current."),
		mirrors:  map[*Mirror]struct{}{},
	}
	if reg != nil {
		reg.MustRegister(m)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range []prometheus.Collector{m.applied, m.reloads, m.delay, m.skew, m.broken} {
		c.Describe(ch)
	}
	for _, desc := range []*prometheus.Desc{m.objects, m.bytes, m.position, m.age} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{m.applied, m.reloads, m.delay, m.skew, m.broken} {
		c.Collect(ch)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for mirror := range m.mirrors {
		root := mirror.Root()
		if root == nil {
			continue
		}
		gauge := func(desc *prometheus.Desc, value float64) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, mirror.resource.String())
		}
		position, _ := strconv.ParseFloat(string(root.Freshness.Streamed), 64)
		gauge(m.objects, float64(root.Len()))
		gauge(m.bytes, float64(root.Bytes))
		gauge(m.position, position)
		gauge(m.age, time.Since(root.Freshness.StreamedAt).Seconds())
	}
}

// add shows a mirror that runs; the returned function takes it away.
func (m *Metrics) add(mirror *Mirror) (remove func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mirrors[mirror] = struct{}{}
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.mirrors, mirror)
	}
}

// resourceMetrics are the metrics of one resource.
type resourceMetrics struct {
	applied prometheus.Counter
	reloads *prometheus.CounterVec
	delay   prometheus.Observer
	skew    prometheus.Counter
	broken  prometheus.Counter
}

func (m *Metrics) of(r object.Resource) *resourceMetrics {
	name := r.String()
	return &resourceMetrics{
		applied: m.applied.WithLabelValues(name), reloads: m.reloads,
		delay: m.delay.WithLabelValues(name), skew: m.skew.WithLabelValues(name),
		broken: m.broken.WithLabelValues(name),
	}
}

// observe measures the delay of changes that are served from now on. A deletion
// that nobody saw, and whose time is therefore not known, is left out.
func (m *resourceMetrics) observe(changes []object.Change, now time.Time) {
	for _, change := range changes {
		if change.Object.SeenAt.IsZero() {
			continue
		}
		delay := now.Sub(change.Object.SeenAt)
		if delay < 0 {
			m.skew.Inc()
			delay = 0
		}
		m.delay.Observe(delay.Seconds())
	}
}
