package billing

import (
	"context"
	"iter"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
)

// pointTags are the tags of single samples, in the order of their columns.
func (asked *query) pointTags() []string {
	tags := []string{
		metricdb.TagType, metricdb.TagCluster, metricdb.TagNamespace, metricdb.TagPod, metricdb.TagContainer,
		metricdb.TagNode, metricdb.TagLabels,
	}
	switch {
	case asked.family.gpu && asked.metric.Name == "gpu/usage":
		return append(tags, "gpu_index", "gpu_name", "gpu_uuid")
	case asked.family.gpu:
		return append(tags, "accelerator_id", "make", "model")
	case asked.family.rows != "":
		return append(tags, metricdb.TagResource)
	}
	return tags
}

// points answers with single samples, newest first.
func (a *API) points(ctx context.Context, q request, asked query, patience *patience) error {
	past, err := rollup.Open(ctx, a.db, asked.from, asked.to, asked.ofCluster()...)
	if err != nil {
		return err
	}
	whole, err := complete(ctx, past, asked.cluster, asked.to, q.now)
	if err != nil {
		return err
	}
	a.headers(q, asked.from, asked.to, of(asked.cluster, past.Resolutions()), whole)
	next, stop := iter.Pull2(a.db.Points(ctx, metricdb.Query{
		Metric: asked.metric.Name, Level: asked.level, From: asked.from, To: asked.to, Where: asked.where(),
	}, asked.limit))
	defer stop()
	point, err, ok := next() // before anything is written, so that a failure can still be told
	if err != nil {
		return err
	}
	tags := asked.pointTags()
	columns := []column{{"time", quote}, {"value", bare}, {"unit", quote}, {"level", quote}}
	for _, tag := range tags {
		columns = append(columns, column{tag, quote})
	}
	w := newWriter(q, columns, patience)
	unit, level := unitOf(asked.metric), levelName(asked.level)
	cells := make([]string, 0, len(columns))
	for ; ok; point, err, ok = next() {
		if err != nil {
			return err
		}
		cells = append(cells[:0], rfc3339(point.Time), point.Value.String(), unit, level)
		for _, tag := range tags {
			cells = append(cells, point.Tags.Get(tag))
		}
		if err := w.row(cells); err != nil {
			return err
		}
	}
	return w.end()
}
