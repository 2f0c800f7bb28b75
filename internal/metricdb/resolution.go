package metricdb

import (
	"context"
	"iter"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The set of records that says which batches there were, and its fields.
const (
	BatchSet    = RecordPrefix + "batches"
	BatchAt     = "at" // the record's time again, in Unix nanoseconds: its least and greatest can be asked for
	tagEvery    = "resolution"
	tagShard    = "shard"
	fieldNodes  = "nodes"
	fieldFailed = "failed"
)

// BatchRecord is the record of a batch: how many nodes it is about, and how many of
// them had no metrics.
func BatchRecord(b *metrics.Batch) Record {
	failed := 0
	for _, node := range b.Nodes {
		if node.Reason != "" {
			failed++
		}
	}
	return Record{
		Set: BatchSet, Time: b.Time,
		Tags: MakeTags(
			metrics.Label{Key: TagCluster, Value: b.Cluster},
			metrics.Label{Key: tagEvery, Value: b.Resolution.String()},
			metrics.Label{Key: tagShard, Value: strconv.Itoa(b.Shard)},
		),
		Fields: []Field{
			{BatchAt, Int(b.Time.UnixNano())},
			{fieldFailed, Int(int64(failed))},
			{fieldNodes, Int(int64(len(b.Nodes)))},
		},
	}
}

// RecordReader is what reads records: a part of DB.
type RecordReader interface {
	Records(ctx context.Context, q RecordQuery) iter.Seq2[Record, error]
	RecordTotals(ctx context.Context, q RecordQuery, by ...string) ([]RecordGroup, error)
}

// ReadResolutions answers DB.Resolutions from the records of batches. Where all
// batches of a cluster were equally far apart, which is nearly always, it asks for
// totals only.
func ReadResolutions(ctx context.Context, db RecordReader, cluster string, from, to time.Time) ([]Resolution, error) {
	q := RecordQuery{Set: BatchSet, Fields: []string{BatchAt}, From: from, To: to, Want: WantCount | WantMin | WantMax}
	if cluster != "" {
		q.Where = []Match{Is(TagCluster, cluster)}
	}
	groups, err := db.RecordTotals(ctx, q, TagCluster, tagEvery, tagShard)
	if err != nil {
		return nil, err
	}
	var all []Resolution
	for len(groups) > 0 {
		name := groups[0].Tags.Get(TagCluster)
		n := 0
		for n < len(groups) && groups[n].Tags.Get(TagCluster) == name {
			n++
		}
		spans, err := resolutionsOf(ctx, db, q, name, groups[:n])
		if err != nil {
			return nil, err
		}
		all, groups = append(all, spans...), groups[n:]
	}
	return all, nil
}

func resolutionsOf(ctx context.Context, db RecordReader, q RecordQuery, cluster string, groups []RecordGroup) ([]Resolution, error) {
	one := Resolution{Cluster: cluster}
	for _, group := range groups {
		every, err := time.ParseDuration(group.Tags.Get(tagEvery))
		if err != nil || len(group.Fields) == 0 {
			continue
		}
		totals := group.Fields[0]
		first, last := time.Unix(0, totals.Min.Bits).UTC(), time.Unix(0, totals.Max.Bits).UTC()
		switch {
		case one.Every == 0:
			one.Every, one.First, one.Last = every, first, last
		case one.Every != every:
			return mixedResolutions(ctx, db, q, cluster)
		}
		one.Batches = max(one.Batches, int(totals.Count))
		if first.Before(one.First) {
			one.First = first
		}
		if last.After(one.Last) {
			one.Last = last
		}
	}
	if one.Every == 0 {
		return nil, nil
	}
	return []Resolution{one}, nil
}

// mixedResolutions reads every batch's record: --metric-resolution was changed.
func mixedResolutions(ctx context.Context, db RecordReader, q RecordQuery, cluster string) ([]Resolution, error) {
	q.Where = []Match{Is(TagCluster, cluster)}
	every := map[int64]time.Duration{}
	for r, err := range db.Records(ctx, q) {
		if err != nil {
			return nil, err
		}
		if d, err := time.ParseDuration(r.Tags.Get(tagEvery)); err == nil {
			every[r.Time.UnixNano()] = max(every[r.Time.UnixNano()], d)
		}
	}
	times := make([]int64, 0, len(every))
	for at := range every {
		times = append(times, at)
	}
	slices.Sort(times)
	var spans []Resolution
	for _, at := range times {
		t := time.Unix(0, at).UTC()
		if n := len(spans); n > 0 && spans[n-1].Every == every[at] {
			spans[n-1].Last = t
			spans[n-1].Batches++
			continue
		}
		spans = append(spans, Resolution{Cluster: cluster, Every: every[at], First: t, Last: t, Batches: 1})
	}
	return spans, nil
}

// stepIndex finds the resolution of a sample.
type stepIndex map[string]spans

type spans []Resolution

func indexSteps(resolutions []Resolution) stepIndex {
	index := stepIndex{}
	for _, r := range resolutions {
		index[r.Cluster] = append(index[r.Cluster], r)
	}
	return index
}

func (s stepIndex) of(cluster string) spans { return s[cluster] }

// at returns the resolution of the batch at a time: that of the last span that
// began by then. 0 if nothing is known.
func (s spans) at(at int64) time.Duration {
	switch len(s) {
	case 0:
		return 0
	case 1:
		return s[0].Every
	}
	i := sort.Search(len(s), func(i int) bool { return s[i].First.UnixNano() > at })
	return s[max(i-1, 0)].Every
}

// compareBy orders tags by the values of keys.
func compareBy(a, b Tags, keys []string) int {
	for _, key := range keys {
		if c := strings.Compare(a.Get(key), b.Get(key)); c != 0 {
			return c
		}
	}
	return 0
}
