package collector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/collector/source"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

const (
	// removed is the reason of a node that was taken away while it was being asked.
	removed = "removed"
	// grace is how long nodes that did not answer in time the last time are waited for
	// when all others are in.
	grace = time.Second
	// slotTime is how long a question keeps others from being asked: what takes longer
	// waits for the network, and costs us next to nothing.
	slotTime = time.Second
)

// node is what is remembered of a node from one window to the next.
type node struct {
	lastAt  time.Time    // when it last answered
	hanging map[int]bool // sources, by index, that it did not answer in time the last time
}

// job is one question to one node.
type job struct {
	name   string
	node   *node
	source int // its index; the first source decides whether the node has metrics
	target source.Target
	delay  time.Duration
}

// answer is what came of a job.
type answer struct {
	job    *job
	sample *source.Sample
	err    error
	took   time.Duration
	at     time.Time
}

// round is one window's scraping.
type round struct {
	p        *Pipeline
	began    time.Time
	jobs     []*job // of nodes that are waited for, by delay
	doubtful []*job // of nodes that did not answer in time the last time, by delay
	statuses map[string]*metrics.NodeStatus
	answers  chan answer
	stop     context.CancelFunc
	group    sync.WaitGroup
}

// plan makes a round from what the cluster's nodes are now.
func (p *Pipeline) plan() *round {
	r := &round{p: p, statuses: map[string]*metrics.NodeStatus{}}
	p.objects.Read(func(look *objects.View) {
		known := make(map[string]*node, len(p.nodes))
		for _, object := range look.Nodes() {
			if !p.options.Shard.Owns(object.Name) {
				continue
			}
			n := p.nodes[object.Name]
			if n == nil {
				n = &node{hanging: map[int]bool{}}
			}
			known[object.Name] = n
			r.add(n, object)
		}
		p.nodes = known
	})
	span := p.options.Schedule.Span(len(p.nodes))
	for _, jobs := range [][]*job{r.jobs, r.doubtful} {
		for _, j := range jobs {
			j.delay = Delay(j.name, span)
		}
		slices.SortStableFunc(jobs, func(a, b *job) int { return int(a.delay - b.delay) })
	}
	r.answers = make(chan answer, len(r.jobs)+len(r.doubtful)) // who answers late is not held up
	return r
}

// add plans what a node is asked.
func (r *round) add(n *node, object *objects.Node) {
	status := &metrics.NodeStatus{Name: object.Name, LastAt: n.lastAt}
	r.statuses[object.Name] = status
	for i, s := range r.p.sources {
		target, err := s.Target(object)
		switch {
		case errors.Is(err, source.ErrNothing):
			continue
		case err != nil:
			if i == 0 {
				status.Reason, status.Error = reason(err), err.Error()
			}
			continue
		}
		j := &job{name: object.Name, node: n, source: i, target: target}
		if i == 0 { // until it answers
			status.Reason = source.Timeout
			status.Error = fmt.Sprintf("%s has not answered in time: see whether the node is up and can be reached from here", target.URL)
		}
		if n.hanging[i] {
			r.doubtful = append(r.doubtful, j)
		} else {
			r.jobs = append(r.jobs, j)
		}
	}
}

// start begins to ask. Doubtful nodes have no part in the slots: they would keep them.
func (r *round) start(ctx context.Context) {
	ctx, r.stop = context.WithCancel(ctx)
	r.began = time.Now()
	r.group.Go(func() { r.dispatch(ctx, r.jobs, r.p.options.Parallel) })
	r.group.Go(func() { r.dispatch(ctx, r.doubtful, len(r.doubtful)) })
}

// dispatch asks each at its moment, so many at a time.
func (r *round) dispatch(ctx context.Context, jobs []*job, parallel int) {
	slots := make(chan struct{}, parallel)
	for _, j := range jobs {
		if sleep(ctx, time.Until(r.began.Add(j.delay))) != nil {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		release := sync.OnceFunc(func() { <-slots })
		r.group.Go(func() {
			defer release()
			defer time.AfterFunc(slotTime, release).Stop()
			r.ask(ctx, j)
		})
	}
}

func (r *round) ask(ctx context.Context, j *job) {
	ctx, cancel := context.WithTimeout(ctx, r.p.options.Schedule.Timeout)
	defer cancel()
	began := time.Now()
	sample, err := r.p.sources[j.source].Scrape(ctx, j.target)
	now := time.Now()
	r.answers <- answer{job: j, sample: sample, err: err, took: now.Sub(began), at: now.UTC()}
}

// collect hands samples to add until all are in that are waited for, or time is up. Its
// error is ctx's.
func (r *round) collect(ctx context.Context, add func(*source.Sample)) error {
	limit := time.NewTimer(time.Until(r.began.Add(r.p.options.Schedule.Limit(len(r.p.nodes)))))
	defer limit.Stop()
	left, doubtful := len(r.jobs), len(r.doubtful)
	var enough <-chan time.Time
	for left > 0 || doubtful > 0 {
		if left == 0 && enough == nil {
			enough = time.After(time.Until(r.began.Add(r.doubtful[len(r.doubtful)-1].delay)) + grace)
		}
		select {
		case a := <-r.answers:
			if a.job.node.hanging[a.job.source] {
				doubtful--
			} else {
				left--
			}
			r.take(a, add)
		case <-enough:
			return ctx.Err()
		case <-limit.C:
			return ctx.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// take notes one answer in the node's status, and its sample goes on.
func (r *round) take(a answer, add func(*source.Sample)) {
	defer a.sample.Release()
	r.remember(a)
	status := r.statuses[a.job.name]
	if !r.p.present(a.job.target.Node) {
		status.Reason, status.Error = removed, "the node was removed while it was being asked"
		return
	}
	if a.err == nil {
		add(a.sample)
	}
	if a.job.source > 0 {
		return
	}
	status.Took, status.LastAt = a.took, a.job.node.lastAt
	if status.Reason, status.Error = "", ""; a.err != nil {
		status.Reason, status.Error = reason(a.err), a.err.Error()
	}
}

// remember is what an answer, be it late, means for the next round.
func (r *round) remember(a answer) {
	why := reason(a.err)
	a.job.node.hanging[a.job.source] = why == source.Timeout || why == source.Canceled
	if a.err == nil && a.job.source == 0 {
		a.job.node.lastAt = a.at
	}
	name := r.p.sources[a.job.source].Name
	r.p.metrics.scraped(r.p.cluster, name, why, a.took)
	if a.err == nil && a.sample.Missing != nil {
		r.p.reporter.partial(name, a.job.name, a.sample.Missing)
	}
}

// finish ends what still goes on, and learns from answers that came too late.
func (r *round) finish() {
	if r == nil {
		return
	}
	r.stop()
	r.group.Wait()
	for {
		select {
		case a := <-r.answers:
			r.remember(a)
			if a.err == nil {
				r.p.metrics.late(r.p.cluster)
			}
			a.sample.Release()
		default:
			return
		}
	}
}

// nodes returns how it went, by name, and which nodes have no metrics.
func (r *round) nodes() (all []metrics.NodeStatus, failed []string) {
	for _, status := range r.statuses {
		all = append(all, *status)
		if status.Reason != "" {
			failed = append(failed, status.Name)
		}
	}
	slices.SortFunc(all, func(a, b metrics.NodeStatus) int { return strings.Compare(a.Name, b.Name) })
	slices.Sort(failed)
	return all, failed
}

// reason is an error in a word, "" of none.
func reason(err error) string {
	var told interface{ Reason() string }
	switch {
	case err == nil:
		return ""
	case errors.As(err, &told):
		return told.Reason()
	case errors.Is(err, context.DeadlineExceeded):
		return source.Timeout
	case errors.Is(err, context.Canceled):
		return source.Canceled
	}
	return source.Refused
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
