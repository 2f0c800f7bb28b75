package rollup

import (
	"context"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// seal says which batches something was made of. Batches are only ever added, so
// that a seal that fits the batches of now was made of all of them.
type seal struct {
	batches int64 // records of batches
	nodes   int64 // nodes with metrics, of all of them together
}

func (s seal) add(t seal) seal { return seal{s.batches + t.batches, s.nodes + t.nodes} }

// spanKey is an hour or a day of a cluster.
type spanKey struct {
	cluster string
	begin   int64 // Unix seconds
}

// hourBatches are the batches of an hour.
type hourBatches struct {
	seal
	failed  int64 // nodes without metrics
	windows int64 // with a batch of at least one shard
}

// The names of fields of batches' records.
const (
	fieldNodes  = "nodes"
	fieldFailed = "failed"
)

// totalSeals counts the batches of an interval, by cluster.
func totalSeals(ctx context.Context, db metricdb.DB, where []metricdb.Match, from, to time.Time) (map[string]seal, error) {
	q := metricdb.RecordQuery{Set: metricdb.BatchSet, Fields: []string{fieldNodes, fieldFailed}, From: from, To: to, Where: where, Want: metricdb.WantCount | metricdb.WantSum}
	groups, err := db.RecordTotals(ctx, q, metricdb.TagCluster)
	if err != nil {
		return nil, err
	}
	all := map[string]seal{}
	for _, g := range groups {
		all[g.Tags.Get(metricdb.TagCluster)] = seal{g.Fields[0].Count, g.Fields[0].Sum.Int - g.Fields[1].Sum.Int}
	}
	return all, nil
}

// hourSeals counts the batches of each hour.
func hourSeals(ctx context.Context, db metricdb.DB, where []metricdb.Match, from, to time.Time) (map[spanKey]hourBatches, error) {
	all := map[spanKey]hourBatches{}
	last := map[string]int64{}
	q := metricdb.RecordQuery{Set: metricdb.BatchSet, Fields: []string{fieldNodes, fieldFailed}, From: from, To: to, Where: where}
	for r, err := range db.Records(ctx, q) {
		if err != nil {
			return nil, err
		}
		cluster := r.Tags.Get(metricdb.TagCluster)
		key := spanKey{cluster, floorHour(r.Time).Unix()}
		h := all[key]
		nodes, failed := r.Int(fieldNodes), r.Int(fieldFailed)
		h.seal = h.add(seal{1, nodes - failed})
		h.failed += failed
		if at := r.Time.UnixNano(); last[cluster] != at {
			h.windows++
			last[cluster] = at
		}
		all[key] = h
	}
	return all, nil
}
