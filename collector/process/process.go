// Package process turns a window's raw samples into everything that is published:
// rates, names and requests from the API, sums, shares. Its functions do no I/O: they
// work in place on the columns of the batch that is being built.
package process

import (
	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Complete runs all processors over next, in their order. prev is the batch before,
// nil if there is none; failed names the nodes that have no metrics in next.
func Complete(prev, next *metrics.Batch, look *objects.View, failed []string, options LabelOptions) {
	Rates(prev, next)
	Missing(next, look, failed) // before Enrich, which describes the namespaces that it adds
	Enrich(next, look, options)
	Aggregate(next)
	Shares(next, look)
}
