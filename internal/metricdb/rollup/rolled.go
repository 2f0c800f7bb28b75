package rollup

import (
	"context"
	"strconv"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// rolledSeal is a record of RolledSet or RolledDaysSet.
type rolledSeal struct {
	seal
	late  int64
	wide  int64 // 1 if there are sums beyond int64
	every []time.Duration
}

type rolledKey struct {
	spanKey
	pair
}

// maxEvery is how many resolutions an hour or a day may have.
const maxEvery = 8

// readRolled reads the seals of hours or of days.
func readRolled(ctx context.Context, db metricdb.DB, span time.Duration, where []metricdb.Match, from, to time.Time) (map[rolledKey]rolledSeal, error) {
	all := map[rolledKey]rolledSeal{}
	if !from.Before(to) {
		return all, nil
	}
	q := metricdb.RecordQuery{Set: rolledSetOf(span), From: from, To: to, Where: where, Fields: []string{"batches", "nodes", "late", "wide"}}
	for i := range maxEvery {
		q.Fields = append(q.Fields, everyField(i))
	}
	for r, err := range db.Records(ctx, q) {
		if err != nil {
			return nil, err
		}
		h := rolledSeal{seal: seal{r.Int("batches"), r.Int("nodes")}, late: r.Int("late"), wide: r.Int("wide")}
		for i := range maxEvery {
			if s := r.Int(everyField(i)); s > 0 {
				h.every = append(h.every, time.Duration(s)*time.Second)
			}
		}
		key := rolledKey{spanKey{r.Tags.Get(metricdb.TagCluster), r.Time.Unix()}, pair{metric: r.Tags.Get(TagMetric)}}
		if key.level, err = parseLevel(r.Tags.Get(TagLevel)); err == nil {
			all[key] = h
		}
	}
	return all, nil
}

// record is h as the seal of an hour or of a day.
func (h rolledSeal) record(span time.Duration, cluster string, p pair, begin time.Time) metricdb.Record {
	r := metricdb.Record{
		Set: rolledSetOf(span), Time: begin,
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
