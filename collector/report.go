package collector

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/collector/source"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// again is after how long a fault that stays is told again.
const again = 15 * time.Minute

// reporter tells in the log when nodes begin and cease to fail: a line per change of
// what is wrong, not one per node and window.
type reporter struct {
	log      *slog.Logger
	told     string    // what was told last: reasons
	count    int       // how many failed then
	at       time.Time // when
	partials map[string]time.Time
}

func newReporter(log *slog.Logger) *reporter {
	return &reporter{log: log, partials: map[string]time.Time{}}
}

// batch tells how the nodes of a batch went, if that is news.
func (r *reporter) batch(b *metrics.Batch) {
	reasons := map[string]int{}
	var example metrics.NodeStatus
	failed := 0
	for _, n := range b.Nodes {
		if n.Reason == "" || n.Reason == removed {
			continue
		}
		failed++
		reasons[n.Reason]++
		if example.Name == "" || n.Reason != "not ready" && example.Reason == "not ready" {
			example = n
		}
	}
	if failed == 0 {
		if r.told != "" {
			r.log.Info("all nodes have metrics again", "nodes", len(b.Nodes))
		}
		r.told, r.count = "", 0
		return
	}
	words := make([]string, 0, len(reasons))
	for reason := range reasons {
		words = append(words, reason)
	}
	slices.Sort(words)
	now := strings.Join(words, ", ")
	if now == r.told && failed <= 2*r.count && b.Time.Sub(r.at) < again {
		return
	}
	r.told, r.count, r.at = now, failed, b.Time
	for i, word := range words {
		words[i] = fmt.Sprintf("%s: %d", word, reasons[word])
	}
	log := r.log
	if reasons[source.Untrusted] > 0 {
		log = log.With("hint", "--source 'kubernetes:?kubeletCAFile=FILE'")
	}
	log.Warn("nodes have no metrics; krm_node_scrape_success tells which", "failed", failed, "nodes", len(b.Nodes),
		"reasons", strings.Join(words, ", "), "node", example.Name, "err", example.Error)
}

// partial tells, now and then, that a part of a source could not be had.
func (r *reporter) partial(source, node string, err error) {
	now := time.Now()
	if at, ok := r.partials[source]; ok && now.Sub(at) < again {
		return
	}
	r.partials[source] = now
	r.log.Warn("a part of a node's metrics is missing", "source", source, "node", node, "err", err)
}
