package billing

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// rawBilled is Billed from samples alone, an hour at a time.
func (a *API) rawBilled(ctx context.Context, q metricdb.Query, by ...string) ([]metricdb.Group, error) {
	resolutions, err := a.db.Resolutions(ctx, "", q.From, q.To)
	if err != nil {
		return nil, err
	}
	q.From, q.To = sampled(resolutions, q.From, q.To)
	reducer := metricdb.NewReducer(q, metricdb.Grouping{By: by}, resolutions)
	for from := q.From; from.Before(q.To); {
		to := from.Truncate(time.Hour).Add(time.Hour)
		if to.After(q.To) {
			to = q.To
		}
		hour := q
		hour.From, hour.To = from, to
		if err := a.hourBilled(ctx, hour, by, reducer); err != nil {
			return nil, err
		}
		from = to
	}
	return reducer.Groups(), nil
}

// sampled is the part of [from, to) from the first batch to the last.
func sampled(resolutions []metricdb.Resolution, from, to time.Time) (time.Time, time.Time) {
	first, last := to, from
	for _, r := range resolutions {
		if r.First.Before(first) {
			first = r.First
		}
		if r.Last.Add(1).After(last) {
			last = r.Last.Add(1)
		}
	}
	return first, last
}

// set is the samples of a metric set in an hour.
type set struct {
	tags   metricdb.Tags
	values map[int64]int64
}

// hourBilled adds what is billed of q's interval to reducer.
func (a *API) hourBilled(ctx context.Context, q metricdb.Query, by []string, reducer *metricdb.Reducer) error {
	sets := map[string]*set{}
	resource, _, _ := strings.Cut(q.Metric, "/")
	for _, metric := range []string{q.Metric, resource + "/request"} {
		of := q
		of.Metric = metric
		for run, err := range a.db.Runs(ctx, of, by...) {
			if err != nil {
				return fmt.Errorf("read samples: %w", err)
			}
			key := run.Tags.Key()
			known := sets[key]
			if known == nil {
				known = &set{tags: run.Tags, values: make(map[int64]int64, len(run.Times))}
				sets[key] = known
			}
			for i, at := range run.Times {
				value := run.Values[i]
				if had, ok := known.values[at]; ok {
					value = max(value, had)
				}
				known.values[at] = value
			}
		}
	}
	for _, known := range sets {
		run := metricdb.Run{Tags: known.tags, Times: slices.Sorted(maps.Keys(known.values))}
		for _, at := range run.Times {
			run.Values = append(run.Values, known.values[at])
		}
		reducer.Add(&run)
	}
	return nil
}
