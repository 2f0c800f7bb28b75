package collector

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// healthy is how old the newest batch may be, as the original has it.
const healthy = 3 * time.Minute

// Health says how the pipelines of a process are. It is safe for concurrent use.
type Health struct {
	schedule Schedule

	mu       sync.Mutex
	clusters map[string]clusterHealth
}

type clusterHealth struct {
	standby bool
	at      time.Time // of the newest batch
	sets    int
}

// NewHealth returns the Health of pipelines that work by schedule.
func NewHealth(schedule Schedule) *Health {
	return &Health{schedule: schedule, clusters: map[string]clusterHealth{}}
}

func (h *Health) expect(cluster string) { h.change(cluster, func(*clusterHealth) {}) }

func (h *Health) standby(cluster string, is bool) {
	h.change(cluster, func(c *clusterHealth) { c.standby = is })
}

func (h *Health) finished(b *metrics.Batch, sets int) {
	h.change(b.Cluster, func(c *clusterHealth) { c.at, c.sets = b.Time, sets })
}

func (h *Health) change(cluster string, f func(*clusterHealth)) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.clusters[cluster]
	f(&c)
	h.clusters[cluster] = c
}

// Ready returns nil if every cluster has a batch not older than three windows, or is
// another collector's.
func (h *Health) Ready() error {
	return h.check(3*h.schedule.Resolution+h.schedule.Offset, 0)
}

// Healthy returns nil if every cluster has a batch of the last three minutes (or three
// windows, if those are longer) with any metrics in it, or is another collector's.
func (h *Health) Healthy() error {
	return h.check(max(healthy, 3*h.schedule.Resolution+h.schedule.Offset), 1)
}

func (h *Health) check(oldest time.Duration, sets int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var faults []error
	for name, c := range h.clusters {
		switch age := time.Since(c.at); {
		case c.standby:
		case c.at.IsZero():
			faults = append(faults, fmt.Errorf("cluster %s: there is no batch yet", name))
		case age > oldest:
			faults = append(faults, fmt.Errorf("cluster %s: the newest batch is %v old", name, age.Round(time.Second)))
		case c.sets < sets:
			faults = append(faults, fmt.Errorf("cluster %s: the newest batch is empty: no node has metrics", name))
		}
	}
	return errors.Join(faults...)
}

// ServeHTTP is /healthz: 200 and "ok", or 500 and what is wrong.
func (h *Health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if err := h.Healthy(); err != nil {
		http.Error(w, "[-]healthz failed: "+err.Error()+"\nhealthz check failed", http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, "ok")
}
