package lifetime

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// placeSet has one record per cluster and resource, at the epoch: where in the feed its
// Follower is. [tenure, n: of the last entry's ID; at: of its freshness; first, day: the first and the last
// day whose records are written; times in Unix ms]
const placeSet = metricdb.RecordPrefix + "lifetimes"

// tagFollowed is the tag that has the resource.
const tagFollowed = "resource"

// place is where in the feed all is written up to.
type place struct {
	cluster    string
	id         object.LogID // "" is before the first entry
	at         time.Time
	first, day time.Time // the first and the last day whose records are written
}

// places are those of the clusters that where allows.
func (s *kind) places(ctx context.Context, db metricdb.DB, where []metricdb.Match) ([]place, error) {
	q := metricdb.RecordQuery{
		Set: placeSet, Fields: []string{"at", "day", "first", "n", "tenure"}, From: time.Unix(0, 0), To: time.Unix(1, 0),
		Where: []metricdb.Match{metricdb.Is(tagFollowed, s.name)},
	}
	for _, m := range where {
		if m.Tag == metricdb.TagCluster {
			q.Where = append(q.Where, m)
		}
	}
	var all []place
	for r, err := range db.Records(ctx, q) {
		if err != nil {
			return nil, fmt.Errorf("read the place in the feed of %s: %w", s.name, err)
		}
		at := func(field string) time.Time { return time.UnixMilli(r.Int(field)).UTC() }
		p := place{cluster: r.Tags.Get(metricdb.TagCluster), at: at("at"), first: at("first"), day: at("day")}
		if tenure := r.Int("tenure"); tenure != 0 {
			p.id = object.LogID(fmt.Sprintf("%d-%d", tenure, r.Int("n")))
		}
		all = append(all, p)
	}
	return all, nil
}

func (s *kind) placeRecord(p place) metricdb.Record {
	tenure, n, _ := strings.Cut(string(p.id), "-")
	number := func(text string) metricdb.Value {
		i, _ := strconv.ParseInt(text, 10, 64) // "" is 0
		return metricdb.Int(i)
	}
	ms := func(at time.Time) metricdb.Value { return metricdb.Int(at.UnixMilli()) }
	return metricdb.Record{
		Set: placeSet, Time: time.Unix(0, 0).UTC(),
		Tags: metricdb.MakeTags(metrics.Label{Key: metricdb.TagCluster, Value: p.cluster}, metrics.Label{Key: tagFollowed, Value: s.name}),
		Fields: []metricdb.Field{
			{Name: "at", Value: ms(p.at)},
			{Name: "day", Value: ms(p.day)},
			{Name: "first", Value: ms(p.first)},
			{Name: "n", Value: number(n)},
			{Name: "tenure", Value: number(tenure)},
		},
	}
}
