package billing

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// The set of records that says which hours are closed.
const (
	hoursSet    = metricdb.RecordPrefix + "hours"
	fieldClosed = "closed"
)

const (
	// settle is how long after its window a batch may take to be there.
	settle = 20 * time.Second
	// lateFor is how long data is waited for of which nothing says that it will come.
	lateFor = time.Hour
)

// closedHours returns each cluster's newest hour in [from, to) that is closed; hours
// are closed in their order.
func (a *API) closedHours(ctx context.Context, from, to time.Time) (map[string]time.Time, error) {
	closed := map[string]time.Time{}
	q := metricdb.RecordQuery{Set: hoursSet, Fields: []string{fieldClosed}, From: from.Truncate(time.Hour), To: to}
	for r, err := range a.db.Records(ctx, q) {
		if err != nil {
			return nil, err
		}
		if v, ok := r.Get(fieldClosed); ok && v.Number() > 0 {
			closed[strings.Clone(r.Tags.Get(metricdb.TagCluster))] = r.Time
		}
	}
	return closed, nil
}

// complete says whether nothing can be added to the interval any more: it has passed,
// and for each cluster its hours are closed or all of its batches are there.
func (a *API) complete(ctx context.Context, resolutions []metricdb.Resolution, from, to, now time.Time) (bool, error) {
	if now.Before(to) {
		return false, nil
	}
	if len(resolutions) == 0 {
		return !now.Before(to.Add(lateFor)), nil
	}
	closed, err := a.closedHours(ctx, from, to)
	if err != nil {
		return false, err
	}
	p := newPromise(resolutions, from, to, now)
	for cluster, spans := range p.spans {
		newest := spans[len(spans)-1]
		if hour, ok := closed[cluster]; ok && hour.Add(time.Hour).After(newest.Last) {
			continue
		}
		batches := int64(0)
		for _, span := range spans {
			batches += int64(span.Batches)
		}
		if newest.Last.Add(newest.Every).Before(to) || batches < p.windows(cluster, spans[0].First, to) {
			return false, nil
		}
	}
	return true, nil
}

// headers say what the answer is about.
func (a *API) headers(q request, from, to time.Time, resolutions []metricdb.Resolution, complete bool) {
	every := []time.Duration{a.options.Resolution}
	if len(resolutions) > 0 {
		every = every[:0]
		for _, r := range resolutions {
			every = append(every, r.Every)
		}
		slices.Sort(every)
	}
	var texts []string
	for _, d := range slices.Compact(every) {
		texts = append(texts, d.String())
	}
	q.Header("Krm-Interval", "["+rfc3339(from)+", "+rfc3339(to)+")")
	q.Header("Krm-Resolution", strings.Join(texts, ", "))
	q.Header("Krm-Complete", strconv.FormatBool(complete))
}
