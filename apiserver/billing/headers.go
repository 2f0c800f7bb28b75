package billing

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
)

// of are the resolutions of a cluster, of all if it is "".
func of(cluster string, all []metricdb.Resolution) []metricdb.Resolution {
	if cluster == "" {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(r metricdb.Resolution) bool { return r.Cluster != cluster })
}

// lateFor is how long data is waited for where there is none.
const lateFor = time.Hour

// complete says whether nothing can be added any more to what is past.
func complete(ctx context.Context, past *rollup.Interval, cluster string, to, now time.Time) (bool, error) {
	if len(of(cluster, past.Resolutions())) == 0 {
		return !now.Before(to.Add(lateFor)), nil
	}
	return past.Complete(ctx)
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
