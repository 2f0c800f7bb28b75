package rollup

import (
	"context"
	"strconv"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// seal says which batches something was made of. Batches are only ever added, so
// that a seal that fits the batches of now was made of all of them.
type seal struct {
	batches int64 // records of batches
	nodes   int64 // nodes with metrics, of all of them together
}

func (s seal) add(t seal) seal { return seal{s.batches + t.batches, s.nodes + t.nodes} }

type hourKey struct {
	cluster string
	hour    int64 // Unix seconds of its begin
}

// hourBatches are the batches of an hour.
type hourBatches struct {
	seal
	failed  int64 // nodes without metrics
	windows int64 // with a batch of at least one shard
}

// closedHour is a record of HoursSet.
type closedHour struct {
	hourBatches
	expected, closed, late int64
}

// rolledHour is a record of RolledSet.
type rolledHour struct {
	seal
	late  int64
	wide  int64 // 1 if there are sums beyond int64
	every []time.Duration
}

type rolledKey struct {
	hourKey
	pair
}

// maxEvery is how many resolutions an hour may have.
const maxEvery = 8

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
func hourSeals(ctx context.Context, db metricdb.DB, where []metricdb.Match, from, to time.Time) (map[hourKey]hourBatches, error) {
	all := map[hourKey]hourBatches{}
	last := map[string]int64{}
	q := metricdb.RecordQuery{Set: metricdb.BatchSet, Fields: []string{fieldNodes, fieldFailed}, From: from, To: to, Where: where}
	for r, err := range db.Records(ctx, q) {
		if err != nil {
			return nil, err
		}
		cluster := r.Tags.Get(metricdb.TagCluster)
		key := hourKey{cluster, floorHour(r.Time).Unix()}
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

func readHours(ctx context.Context, db metricdb.DB, where []metricdb.Match, from, to time.Time) (map[hourKey]closedHour, error) {
	all := map[hourKey]closedHour{}
	if !from.Before(to) {
		return all, nil
	}
	q := metricdb.RecordQuery{
		Set: HoursSet, From: from, To: to, Where: where,
		Fields: []string{"batches", "nodes", "failed", "windows", "expected", "closed", "late"},
	}
	for r, err := range db.Records(ctx, q) {
		if err != nil {
			return nil, err
		}
		get := func(name string) int64 { return r.Int(name) }
		all[hourKey{r.Tags.Get(metricdb.TagCluster), r.Time.Unix()}] = closedHour{
			hourBatches{seal{get("batches"), get("nodes")}, get("failed"), get("windows")}, get("expected"), get("closed"), get("late"),
		}
	}
	return all, nil
}

func (h closedHour) record(cluster string, begin time.Time) metricdb.Record {
	r := metricdb.Record{
		Set: HoursSet, Time: begin, Tags: metricdb.MakeTags(metrics.Label{Key: metricdb.TagCluster, Value: cluster}),
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

func readRolled(ctx context.Context, db metricdb.DB, where []metricdb.Match, from, to time.Time) (map[rolledKey]rolledHour, error) {
	all := map[rolledKey]rolledHour{}
	if !from.Before(to) {
		return all, nil
	}
	q := metricdb.RecordQuery{Set: RolledSet, From: from, To: to, Where: where, Fields: []string{"batches", "nodes", "late", "wide"}}
	for i := range maxEvery {
		q.Fields = append(q.Fields, everyField(i))
	}
	for r, err := range db.Records(ctx, q) {
		if err != nil {
			return nil, err
		}
		h := rolledHour{seal: seal{r.Int("batches"), r.Int("nodes")}, late: r.Int("late"), wide: r.Int("wide")}
		for i := range maxEvery {
			if s := r.Int(everyField(i)); s > 0 {
				h.every = append(h.every, time.Duration(s)*time.Second)
			}
		}
		key := rolledKey{hourKey{r.Tags.Get(metricdb.TagCluster), r.Time.Unix()}, pair{metric: r.Tags.Get(TagMetric)}}
		if key.level, err = parseLevel(r.Tags.Get(TagLevel)); err == nil {
			all[key] = h
		}
	}
	return all, nil
}

func (h rolledHour) record(cluster string, p pair, begin time.Time) metricdb.Record {
	r := metricdb.Record{
		Set: RolledSet, Time: begin,
		Tags: metricdb.MakeTags(
			metrics.Label{Key: metricdb.TagCluster, Value: cluster},
			metrics.Label{Key: TagMetric, Value: p.metric},
			metrics.Label{Key: TagLevel, Value: p.level.String()},
		),
		Fields: []metricdb.Field{
			{Name: "batches", Value: metricdb.Int(h.batches)},
			{Name: "nodes", Value: metricdb.Int(h.nodes)},
			{Name: "late", Value: metricdb.Int(h.late)},
			{Name: "wide", Value: metricdb.Int(h.wide)},
		},
	}
	for i := range maxEvery {
		s := int64(0)
		if i < len(h.every) {
			s = int64(h.every[i] / time.Second)
		}
		r.Fields = append(r.Fields, metricdb.Field{Name: everyField(i), Value: metricdb.Int(s)})
	}
	r.Sort()
	return r
}

func everyField(i int) string { return "every." + strconv.Itoa(i) }

func parseLevel(text string) (metrics.Kind, error) {
	for level := range metrics.Levels {
		if level.String() == text {
			return level, nil
		}
	}
	return 0, metricdb.ErrInvalid
}
