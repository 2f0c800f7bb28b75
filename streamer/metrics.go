package streamer

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Metrics are the Prometheus metrics of all Streamers of a process, by resource.
type Metrics struct {
	events       *prometheus.CounterVec
	resyncs      *prometheus.CounterVec
	reconnects   *prometheus.CounterVec
	proofs       *prometheus.CounterVec
	unequal      *prometheus.CounterVec
	positionAt   *prometheus.GaugeVec
	buffered     *prometheus.GaugeVec
	appends      *prometheus.CounterVec
	appendBytes  *prometheus.CounterVec
	appendDelays *prometheus.HistogramVec
	ages         *ages
}

// NewMetrics makes them and registers them with reg, unless it is nil. The ages
// are computed when they are scraped.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	factory := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return factory.NewCounterVec(prometheus.CounterOpts{Name: "krm_streamer_" + name, Help: help}, append([]string{"resource"}, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return factory.NewGaugeVec(prometheus.GaugeOpts{Name: "krm_streamer_" + name, Help: help}, []string{"resource"})
	}
	m := &Metrics{
		events:      counter("events_total", "Events that the API server sent, by type.", "type"),
		resyncs:     counter("resyncs_total", "Complete lists that were begun, by reason.", "reason"),
		reconnects:  counter("reconnects_total", "Watches that ended, by reason.", "reason"),
		proofs:      counter("proofs_total", "Second watches that were compared with the first, by result.", "result"),
		unequal:     counter("unequal_total", "Second watches that brought what the first did not."),
		positionAt:  gauge("position", "The resourceVersion up to which the log has everything."),
		buffered:    gauge("buffered_entries", "Entries read and not yet appended."),
		appends:     counter("appends_total", "Appends that Redis acknowledged."),
		appendBytes: counter("append_bytes_total", "Bytes of bodies and cells in acknowledged appends, before compression."),
		appendDelays: factory.NewHistogramVec(prometheus.HistogramOpts{
			Name: "krm_streamer_append_delay_seconds", Help: "From a record's arrival to its acknowledgment by Redis.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, []string{"resource"}),
		ages: newAges(),
	}
	if reg != nil {
		reg.MustRegister(m.ages)
	}
	return m
}

// meter is one resource's part of the Metrics.
type meter struct {
	events, resyncs, reconnects, proofs *prometheus.CounterVec
	unequal, appends, appendBytes       prometheus.Counter
	buffered, positionAt                prometheus.Gauge
	delays                              prometheus.Observer
	age                                 *age
}

func (m *Metrics) of(resource string) *meter {
	label := prometheus.Labels{"resource": resource}
	return &meter{
		events: m.events.MustCurryWith(label), resyncs: m.resyncs.MustCurryWith(label),
		reconnects: m.reconnects.MustCurryWith(label), proofs: m.proofs.MustCurryWith(label),
		unequal: m.unequal.With(label), appends: m.appends.With(label), appendBytes: m.appendBytes.With(label),
		buffered: m.buffered.With(label), positionAt: m.positionAt.With(label),
		delays: m.appendDelays.With(label), age: m.ages.of(resource),
	}
}

func (m *meter) event(t object.EventType) {
	m.events.WithLabelValues(t.String()).Inc()
	m.age.event.Store(time.Now().UnixNano())
}

func (m *meter) resync(why reason)    { m.resyncs.WithLabelValues(string(why)).Inc() }
func (m *meter) reconnect(why reason) { m.reconnects.WithLabelValues(string(why)).Inc() }
func (m *meter) depth(entries int)    { m.buffered.Set(float64(entries)) }

func (m *meter) proof(err error) {
	switch {
	case err == nil:
		m.proofs.WithLabelValues("equal").Inc()
	case errors.Is(err, errUnequal):
		m.proofs.WithLabelValues("unequal").Inc()
		m.unequal.Inc()
	default:
		m.proofs.WithLabelValues("void").Inc()
	}
}

func (m *meter) appended(b batch) {
	m.appends.Inc()
	m.appendBytes.Add(float64(b.bytes))
	now := time.Now()
	for i := range b.items {
		if item := &b.items[i]; item.Kind == object.ItemRecord {
			m.delays.Observe(now.Sub(item.Record.SeenAt).Seconds())
		}
	}
}

// position shows a version as a number: beyond 2^53 it is rounded.
func (m *meter) position(version object.Version, at time.Time) {
	if number, err := strconv.ParseFloat(string(version), 64); err == nil {
		m.positionAt.Set(number)
		m.age.position.Store(at.UnixNano())
	}
}

// age is when something last happened to one resource, in Unix nanoseconds; 0 is never.
type age struct {
	event, position atomic.Int64
}

// ages tells how long ago things happened, at the moment of the scrape.
type ages struct {
	event, position *prometheus.Desc

	mu sync.Mutex
	by map[string]*age
}

func newAges() *ages {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("krm_streamer_"+name, help, []string{"resource"}, nil)
	}
	return &ages{
		event:    desc("event_age_seconds", "Time since the API server last sent an event or a bookmark."),
		position: desc("position_age_seconds", "Time since the log's position was last known to be true."),
		by:       make(map[string]*age),
	}
}

func (a *ages) of(resource string) *age {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.by[resource] == nil {
		a.by[resource] = new(age)
	}
	return a.by[resource]
}

// Describe implements prometheus.Collector.
func (a *ages) Describe(out chan<- *prometheus.Desc) {
	out <- a.event
	out <- a.position
}

// Collect implements prometheus.Collector.
func (a *ages) Collect(out chan<- prometheus.Metric) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	tell := func(desc *prometheus.Desc, at int64, resource string) {
		if at != 0 {
			seconds := now.Sub(time.Unix(0, at)).Seconds()
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, seconds, resource)
		}
	}
	for resource, age := range a.by {
		tell(a.event, age.event.Load(), resource)
		tell(a.position, age.position.Load(), resource)
	}
}
