package rollup

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// t0 is when the worlds of tests begin: a whole hour.
var t0 = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// tags makes tags of keys and values.
func tags(pairs ...string) metricdb.Tags {
	var labels []metrics.Label
	for i := 0; i < len(pairs); i += 2 {
		labels = append(labels, metrics.Label{Key: pairs[i], Value: pairs[i+1]})
	}
	return metricdb.MakeTags(labels...)
}

func podTags(cluster, ns, name, uid, labels string) metricdb.Tags {
	return tags("type", "pod", "cluster_name", cluster, "namespace_name", ns, "pod_name", name, "pod_id", uid, "labels", labels, "nodename", "n")
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// engineAt makes an engine whose clock stands.
func engineAt(db metricdb.DB, now time.Time, rolled ...Rolled) *Engine {
	return New(db, Options{Rolled: rolled, Now: func() time.Time { return now }}, quiet())
}

func pass(t *testing.T, e *Engine) {
	t.Helper()
	if err := e.Pass(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// planOf is where an answer would come from.
func planOf(t interface {
	Context() context.Context
	Fatal(args ...any)
}, db metricdb.DB, q metricdb.Query, g metricdb.Grouping,
) *plan {
	v, err := Open(t.Context(), db, q.From, q.To, q.Where...)
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.plan(t.Context(), q, &g)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
