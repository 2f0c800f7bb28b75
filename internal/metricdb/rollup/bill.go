package rollup

import (
	"context"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// bill adds, for each set and time, the greater one of what was used and what was
// requested; where there is only one of them, that one.
func (r *rolling) bill(ctx context.Context, db metricdb.DB, request string) error {
	return eachBilled(ctx, db, r.query(r.metric), request, carried, func(tags metricdb.Tags, at, bits int64) {
		c := r.cell(tags, false)
		step := c.billed.of(r.timeline.at(at))
		step.count++
		step.sum.add(bits, false)
	})
}

// eachBilled visits the greater one of q's metric and of request by set and time. It
// keeps the requests of the interval in memory: ask for an hour at a time.
func eachBilled(ctx context.Context, db metricdb.DB, q metricdb.Query, request string, tags []string, visit func(tags metricdb.Tags, at, bits int64)) error {
	requests := q
	requests.Metric = request
	wanted := map[string]*asked{}
	for run, err := range db.Runs(ctx, requests, tags...) {
		if err != nil {
			return err
		}
		key := run.Tags.Key()
		a := wanted[key]
		if a == nil {
			a = &asked{tags: run.Tags}
			wanted[key] = a
		}
		a.times, a.values = append(a.times, run.Times...), append(a.values, run.Values...)
	}
	for run, err := range db.Runs(ctx, q, tags...) {
		if err != nil {
			return err
		}
		a := wanted[run.Tags.Key()]
		for i, at := range run.Times {
			bits := run.Values[i]
			if a != nil {
				if wanted, ok := a.until(at, visit); ok {
					bits = max(bits, wanted)
				}
			}
			visit(run.Tags, at, bits)
		}
	}
	for _, a := range wanted {
		a.rest(visit)
	}
	return nil
}

// asked are the requests of one set, by time.
type asked struct {
	tags   metricdb.Tags
	times  []int64
	values []int64
	next   int
}

// until visits the requests before at, for which there was no usage, and returns the one
// at that time.
func (a *asked) until(at int64, visit func(tags metricdb.Tags, at, bits int64)) (bits int64, ok bool) {
	for a.next < len(a.times) && a.times[a.next] < at {
		visit(a.tags, a.times[a.next], a.values[a.next])
		a.next++
	}
	if a.next < len(a.times) && a.times[a.next] == at {
		a.next++
		return a.values[a.next-1], true
	}
	return 0, false
}

func (a *asked) rest(visit func(tags metricdb.Tags, at, bits int64)) {
	for ; a.next < len(a.times); a.next++ {
		visit(a.tags, a.times[a.next], a.values[a.next])
	}
}
