package rollup

import (
	"context"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// closedSpan is a record of HoursSet or DaysSet.
type closedSpan struct {
	hourBatches
	expected, closed, late int64
}

// readClosed reads records of HoursSet or DaysSet.
func readClosed(ctx context.Context, db metricdb.DB, set string, where []metricdb.Match, from, to time.Time) (map[spanKey]closedSpan, error) {
	all := map[spanKey]closedSpan{}
	if !from.Before(to) {
		return all, nil
	}
	q := metricdb.RecordQuery{
		Set: set, From: from, To: to, Where: where,
		Fields: []string{"batches", "nodes", "failed", "windows", "expected", "closed", "late"},
	}
	for r, err := range db.Records(ctx, q) {
		if err != nil {
			return nil, err
		}
		get := func(name string) int64 { return r.Int(name) }
		all[spanKey{r.Tags.Get(metricdb.TagCluster), r.Time.Unix()}] = closedSpan{
			hourBatches{seal{get("batches"), get("nodes")}, get("failed"), get("windows")}, get("expected"), get("closed"), get("late"),
		}
	}
	return all, nil
}

// record is h as a record of that set.
func (h closedSpan) record(set, cluster string, begin time.Time) metricdb.Record {
	r := metricdb.Record{
		Set: set, Time: begin, Tags: clusterTags(cluster),
		Fields: []metricdb.Field{
			{Name: "batches", Value: metricdb.Int(h.batches)},
			{Name: "nodes", Value: metricdb.Int(h.nodes)},
			{Name: "failed", Value: metricdb.Int(h.failed)},
			{Name: "windows", Value: metricdb.Int(h.windows)},
			{Name: "expected", Value: metricdb.Int(h.expected)},
			{Name: "closed", Value: metricdb.Int(h.closed)},
			{Name: "late", Value: metricdb.Int(h.late)},
		},
	}
	r.Sort()
	return r
}

func clusterTags(cluster string) metricdb.Tags {
	return metricdb.MakeTags(metrics.Label{Key: metricdb.TagCluster, Value: cluster})
}
