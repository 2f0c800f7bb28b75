package collector

import (
	"cmp"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Metrics are the collector's Prometheus metrics. One Metrics serves any number of
// Pipelines.
type Metrics struct {
	scrapes *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	phases  *prometheus.HistogramVec
	batches *prometheus.CounterVec
	skipped *prometheus.CounterVec
	lates   *prometheus.CounterVec
	waiting *prometheus.GaugeVec
	sets    *prometheus.GaugeVec

	success, failed, age, took, newest *prometheus.Desc

	mu   sync.Mutex
	last map[string]seen // by cluster
}

// seen is what is kept of the newest batch of a cluster.
type seen struct {
	at    time.Time
	nodes []metrics.NodeStatus
	sets  int
	res   time.Duration
}

// NewMetrics registers the collector's metrics; nil registers nothing.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	node := []string{"cluster", "node"}
	m := &Metrics{
		scrapes: counter("krm_collector_scrapes_total", `Questions to nodes by how they went; reason "" is success.`, "cluster", "source", "reason"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "krm_collector_scrape_seconds", Help: "How long one node took to answer.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}, []string{"cluster", "source"}),
		phases: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "krm_collector_batch_seconds", Help: "How long the phases of a batch took: to scrape all nodes, and to process what came.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"cluster", "phase"}),
		batches: counter("krm_collector_batches_total", "Batches that were finished.", "cluster"),
		skipped: counter("krm_collector_windows_missed_total", "Windows that were not served, because the machine slept or the work took longer than a window.", "cluster"),
		lates:   counter("krm_collector_late_answers_total", "Answers that came after their batch was closed, and were dropped.", "cluster"),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "krm_collector_standby", Help: "1 while another collector does this one's work.",
		}, []string{"cluster"}),
		sets: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "krm_collector_sets", Help: "Metric sets that nodes brought to the newest batch.",
		}, []string{"cluster"}),
		success: prometheus.NewDesc("krm_node_scrape_success", "1 if the node has metrics in the newest batch, 0 if not.", node, nil),
		failed:  prometheus.NewDesc("krm_node_scrape_failed", "1, with the reason why the node has no metrics in the newest batch.", []string{"cluster", "node", "reason"}, nil),
		age:     prometheus.NewDesc("krm_node_scrape_age_seconds", "How long ago the node last answered; absent if it never did.", node, nil),
		took:    prometheus.NewDesc("krm_node_scrape_duration_seconds", "How long the node took to answer for the newest batch.", node, nil),
		newest:  prometheus.NewDesc("krm_collector_batch_timestamp_seconds", "End of the newest batch's window.", []string{"cluster"}, nil),
		last:    map[string]seen{},
	}
	if reg != nil {
		reg.MustRegister(m.scrapes, m.seconds, m.phases, m.batches, m.skipped, m.lates, m.waiting, m.sets, m)
	}
	return m
}

// Describe sends nothing: which nodes there are changes.
func (m *Metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends what the newest batches say of their nodes.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for cluster, b := range m.last {
		gauge(m.newest, float64(b.at.UnixMilli())/1000, cluster)
		for _, n := range b.nodes {
			up := 0.0
			if n.Reason == "" {
				up = 1
				gauge(m.took, n.Took.Seconds(), cluster, n.Name)
			}
			if gauge(m.success, up, cluster, n.Name); up == 0 {
				gauge(m.failed, 1, cluster, n.Name, n.Reason)
			}
			if !n.LastAt.IsZero() {
				gauge(m.age, time.Since(n.LastAt).Seconds(), cluster, n.Name)
			}
		}
	}
}

func (m *Metrics) scraped(cluster, source, reason string, took time.Duration) {
	m.scrapes.WithLabelValues(cluster, source, reason).Inc()
	m.seconds.WithLabelValues(cluster, source).Observe(took.Seconds())
}

func (m *Metrics) late(cluster string) { m.lates.WithLabelValues(cluster).Inc() }

func (m *Metrics) missed(cluster string, windows int) {
	m.skipped.WithLabelValues(cluster).Add(float64(windows))
}

// standby notes whether another collector works; what we knew of nodes is then old.
func (m *Metrics) standby(cluster string, is bool) {
	value := 0.0
	if is {
		value = 1
		m.mu.Lock()
		delete(m.last, cluster)
		m.mu.Unlock()
	}
	m.waiting.WithLabelValues(cluster).Set(value)
}

func (m *Metrics) finished(b *metrics.Batch, sets int, scraping, processing time.Duration) {
	m.batches.WithLabelValues(b.Cluster).Inc()
	m.phases.WithLabelValues(b.Cluster, "scrape").Observe(scraping.Seconds())
	m.phases.WithLabelValues(b.Cluster, "process").Observe(processing.Seconds())
	m.sets.WithLabelValues(b.Cluster).Set(float64(sets))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last[b.Cluster] = seen{b.Time, b.Nodes, sets, cmp.Or(b.Resolution, time.Second)}
}
