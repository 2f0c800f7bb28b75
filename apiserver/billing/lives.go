package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// The set of records that says when each pod lived, and what is read of it: times in
// Unix milliseconds, requests in millicores and bytes.
const (
	podSet         = metricdb.RecordPrefix + "pod"
	fieldScheduled = "scheduled"
	fieldStarted   = "started"
	fieldFinished  = "finished"
	fieldDeleted   = "deleted"
	fieldCPU       = "cpu.request"
	fieldMemory    = "memory.request"
	fieldGPU       = "gpu.request"
)

// podID tells pods apart: names are used again.
type podID struct{ cluster, namespace, pod, uid string }

func podOf(t metricdb.Tags) podID {
	return podID{t.Get(metricdb.TagCluster), t.Get(metricdb.TagNamespace), t.Get(metricdb.TagPod), t.Get(metricdb.TagPodID)}
}

// Life is what is known of a pod's life. Times are zero if they are unknown or have not
// come yet.
type Life struct {
	Cluster, Namespace, Pod, UID string
	Labels                       string // as in the tag "labels"
	// Scheduled is from when the pod held its requests, Started from when it ran, Ended
	// when it finished or was deleted.
	Scheduled, Started, Ended time.Time
	CPU, Memory, GPU          int64 // requests: millicores, bytes, pieces
}

// overlap cuts a life that began at begin to an interval; both ends are the same if it
// is not in it.
func (l *Life) overlap(begin, from, to time.Time) (time.Time, time.Time) {
	if begin.Before(from) {
		begin = from
	}
	if !l.Ended.IsZero() && l.Ended.Before(to) {
		to = l.Ended
	}
	if to.Before(begin) {
		to = begin
	}
	return begin, to
}

// held is how long within [from, to) the pod held its requests.
func (l *Life) held(from, to time.Time) time.Duration {
	if l.Scheduled.IsZero() {
		return 0
	}
	begin, end := l.overlap(l.Scheduled, from, to)
	return end.Sub(begin)
}

// lives returns the lives of the pods that were there in [from, to).
func (a *API) lives(ctx context.Context, from, to time.Time, where []metricdb.Match) (map[podID]*Life, error) {
	all, err := a.options.Lives(ctx, from, to, where...)
	if err != nil {
		return nil, fmt.Errorf("read the lives of pods: %w", err)
	}
	lives := make(map[podID]*Life, len(all))
	for i := range all {
		l := &all[i]
		lives[podID{l.Cluster, l.Namespace, l.Pod, l.UID}] = l
	}
	return lives, nil
}

// recordedLives is Lives from the records of all pods that there ever were.
func (a *API) recordedLives(ctx context.Context, from, to time.Time, where ...metricdb.Match) (lives []Life, err error) {
	q := metricdb.RecordQuery{
		Set: podSet, From: earliest, To: to, Where: where,
		Fields: []string{fieldScheduled, fieldStarted, fieldFinished, fieldDeleted, fieldCPU, fieldMemory, fieldGPU},
	}
	for r, err := range a.db.Records(ctx, q) {
		if err != nil {
			return nil, err
		}
		if l := newLife(&r); l.Ended.IsZero() || l.Ended.After(from) {
			lives = append(lives, l)
		}
	}
	return lives, nil
}

func newLife(r *metricdb.Record) Life {
	at := func(field string) time.Time {
		if v, ok := r.Get(field); ok && v.Bits != 0 {
			return time.UnixMilli(v.Bits).UTC()
		}
		return time.Time{}
	}
	number := func(field string) int64 {
		v, _ := r.Get(field)
		return v.Bits
	}
	id := podOf(r.Tags)
	l := Life{
		Cluster: id.cluster, Namespace: id.namespace, Pod: id.pod, UID: id.uid, Labels: r.Tags.Get(metricdb.TagLabels),
		Scheduled: at(fieldScheduled), Started: at(fieldStarted), Ended: at(fieldFinished),
		CPU: number(fieldCPU), Memory: number(fieldMemory), GPU: number(fieldGPU),
	}
	if l.Ended.IsZero() {
		l.Ended = at(fieldDeleted)
	}
	return l
}

// promise counts the samples that the resolution promises.
type promise struct {
	from, to time.Time // to is now at the latest
	open     bool      // the interval has not ended
	spans    map[string][]metricdb.Resolution
}

// newPromise is about [from, to), and while that is open about what has passed of it.
func newPromise(resolutions []metricdb.Resolution, from, to, now time.Time) promise {
	p := promise{from: from, to: to, open: now.Before(to), spans: map[string][]metricdb.Resolution{}}
	for _, r := range resolutions {
		p.spans[r.Cluster] = append(p.spans[r.Cluster], r)
	}
	if p.open {
		p.to = now
	}
	return p
}

// of is how many samples a set that is a group of its own should have: one for each
// window of its pod's life in the interval. Where its life is not known it is taken to
// be from the first sample to the last.
func (p *promise) of(g *metricdb.Group, lives map[podID]*Life) int64 {
	begin, end := g.First, g.Last.Add(1)
	cluster := g.Tags.Get(metricdb.TagCluster)
	if l, ok := lives[podOf(g.Tags)]; ok && !l.Started.IsZero() {
		begin, end = l.overlap(l.Started, p.from, p.until(cluster))
	}
	return max(g.Count, p.windows(cluster, begin, end))
}

// until is the interval's end. While that is open it is just after the newest batch,
// if the next one is not due yet: a batch comes some seconds after its window.
func (p *promise) until(cluster string) time.Time {
	spans := p.spans[cluster]
	if !p.open || len(spans) == 0 {
		return p.to
	}
	newest := spans[len(spans)-1]
	if newest.Last.Add(newest.Every + settle).After(p.to) {
		return newest.Last.Add(1)
	}
	return p.to
}

// windows counts the ends of windows in [from, to): multiples of the resolution.
func (p *promise) windows(cluster string, from, to time.Time) (n int64) {
	spans := p.spans[cluster]
	for i, span := range spans {
		a, b := from, to
		if i > 0 && span.First.After(a) {
			a = span.First
		}
		if i+1 < len(spans) && spans[i+1].First.Before(b) {
			b = spans[i+1].First
		}
		if a.Before(b) && span.Every > 0 {
			n += ceil(b.UnixNano(), int64(span.Every)) - ceil(a.UnixNano(), int64(span.Every))
		}
	}
	return n
}

// ceil is at divided by size, rounded up; times are after 1970.
func ceil(at, size int64) int64 { return (at + size - 1) / size }
