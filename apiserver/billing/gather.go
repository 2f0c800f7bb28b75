package billing

import (
	"context"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/shopspring/decimal"
	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// entryKey is a pod, one of its containers, or with no pod's name a namespace.
type entryKey struct {
	podID
	container string
}

// entry is what one of them came to.
type entry struct {
	amounts
	samples, expected int64
	estimated         bool // no sample of it was seen
	gpuRows           *big.Int
	presence          *big.Int
	joined            string // labels, as the tag has them
	labels            map[string]string
	cost              decimal.Decimal
}

// node is what the nodes of a cluster came to: value × nanoseconds.
type node struct{ used, capacity, allocatable *big.Int }

// books is all that a report is made of.
type books struct {
	asked       question
	until       time.Time // the interval's end, or now while that is to come
	past        *rollup.Interval
	resolutions []metricdb.Resolution
	lives       map[podID]*lifetime.Life
	entries     map[entryKey]*entry
	nodes       map[string]*[2]node // by cluster: CPU, memory
	complete    bool
}

func (b *books) entry(key entryKey) *entry {
	e := b.entries[key]
	if e == nil {
		e = &entry{amounts: newAmounts(), gpuRows: new(big.Int), presence: new(big.Int)}
		b.entries[key] = e
	}
	return e
}

// node returns the sums of a cluster's nodes, of CPU (0) or memory (1).
func (b *books) node(cluster string, which int) *node {
	both := b.nodes[cluster]
	if both == nil {
		both = &[2]node{{new(big.Int), new(big.Int), new(big.Int)}, {new(big.Int), new(big.Int), new(big.Int)}}
		b.nodes[cluster] = both
	}
	return &both[which]
}

// task is one question to the database and what is done with each group of its answer.
type task struct {
	metric   string
	level    metrics.Kind
	by       []string
	increase bool
	billed   bool // what is billed of metric, instead of its samples
	covered  bool // its samples count in the line's coverage
	use      func(g *metricdb.Group, expected int64)
}

// gather reads everything.
func (a *API) gather(ctx context.Context, asked question, now time.Time) (*books, error) {
	b := &books{asked: asked, until: asked.to, entries: map[entryKey]*entry{}, nodes: map[string]*[2]node{}}
	if now.Before(b.until) {
		b.until = now
	}
	var err error
	if b.past, err = rollup.Open(ctx, a.db, asked.from, asked.to, onlyOf(asked.cluster)...); err != nil {
		return nil, err
	}
	b.resolutions = of(asked.cluster, b.past.Resolutions())
	lives, err := b.past.Lives(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the lives of pods: %w", err)
	}
	b.lives = make(map[podID]*lifetime.Life, len(lives))
	for i := range lives {
		b.lives[podOf(lives[i].Tags)] = &lives[i]
	}
	if err := b.run(ctx, a.tasks(b)); err != nil {
		return nil, err
	}
	if b.complete, err = complete(ctx, b.past, asked.cluster, asked.to, now); err != nil {
		return nil, err
	}
	b.settle()
	if err := b.claims(ctx, a.db); err != nil {
		return nil, err
	}
	return b, a.label(ctx, b)
}

// parallel is how many questions the database is asked at a time.
const parallel = 4

// run asks all, and then uses the answers one after the other.
func (b *books) run(ctx context.Context, tasks []task) error {
	answers, covered := make([][]metricdb.Group, len(tasks)), make([]rollup.Coverage, len(tasks))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, t := range tasks {
		g.Go(func() (err error) {
			if t.billed {
				answers[i], err = b.past.Billed(ctx, t.metric, t.level, t.by...)
				return err
			}
			answers[i], covered[i], err = b.past.Answer(ctx, t.metric, t.level, metricdb.Grouping{By: t.by, Increase: t.increase, Span: true})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, t := range tasks {
		for k := range answers[i] {
			expected := int64(0)
			if t.covered {
				expected = covered[i].Each[k].Expected
			}
			t.use(&answers[i][k], expected)
		}
	}
	return nil
}

// tasks are the questions of a report. CPU, memory and the like are read at one level:
// containers if the report is by container, else pods.
func (a *API) tasks(b *books) []task {
	pod := []string{metricdb.TagCluster, metricdb.TagNamespace, metricdb.TagPod, metricdb.TagPodID}
	level, by := metrics.Pod, pod
	if b.asked.by == "container" {
		level, by = metrics.Container, append(slices.Clone(pod), metricdb.TagContainer)
	}
	of := func(g *metricdb.Group) *entry {
		return b.entry(entryKey{podOf(g.Tags), g.Tags.Get(metricdb.TagContainer)})
	}
	timed := func(m amount) func(*metricdb.Group, int64) {
		return func(g *metricdb.Group, expected int64) {
			e := of(g)
			e.addAmount(m, nanosOf(g))
			if expected > 0 {
				e.samples, e.expected = e.samples+g.Count, e.expected+expected
			}
			if level == metrics.Pod && (m == memoryUsed || m == memoryRequested) {
				longest(e.presence, presenceOf(g))
			}
		}
	}
	risen := func(m amount) func(*metricdb.Group, int64) {
		return func(g *metricdb.Group, _ int64) { of(g).addAmount(m, whole(g.Increase)) }
	}
	present := func(g *metricdb.Group, _ int64) { longest(of(g).presence, presenceOf(g)) }
	tasks := []task{
		{metric: "cpu/usage_rate", level: level, by: by, covered: true, use: timed(cpuUsed)},
		{metric: "cpu/request", level: level, by: by, use: timed(cpuRequested)},
		{metric: "cpu/usage_rate", level: level, by: by, billed: true, use: timed(cpuBilled)},
		{metric: "memory/usage", level: level, by: by, covered: true, use: timed(memoryUsed)},
		{metric: "memory/request", level: level, by: by, use: timed(memoryRequested)},
		{metric: "memory/usage", level: level, by: by, billed: true, use: timed(memoryBilled)},
		{metric: "ephemeral_storage/usage", level: level, by: by, use: timed(ephemeralUsed)},
		{metric: "network/rx", level: metrics.Pod, by: pod, increase: true, use: risen(networkIn)},
		{metric: "network/tx", level: metrics.Pod, by: pod, increase: true, use: risen(networkOut)},
		{metric: "gpu/usage", level: metrics.Container, by: by, use: func(g *metricdb.Group, _ int64) {
			timed(gpuMemory)(g, 0)
			of(g).gpuRows.Add(of(g).gpuRows, presenceOf(g))
		}},
	}
	if level == metrics.Container { // pods are there for longer than any one of their containers
		tasks = append(tasks,
			task{metric: "memory/request", level: metrics.Pod, by: pod, use: present},
			task{metric: "memory/usage", level: metrics.Pod, by: pod, use: present})
	}
	for _, resource := range a.options.GPUs {
		tasks = append(tasks, task{metric: resource + "/request", level: level, by: by, use: timed(gpuTime)})
	}
	return append(tasks, b.nodeTasks()...)
}

func longest(z, other *big.Int) {
	if other.Cmp(z) > 0 {
		z.Set(other)
	}
}

func (b *books) nodeTasks() (tasks []task) {
	for which, resource := range []string{"cpu", "memory"} {
		usage := map[string]string{"cpu": "cpu/usage_rate", "memory": "memory/usage"}[resource]
		ask := func(metric string, into func(*node) *big.Int) {
			tasks = append(tasks, task{metric: metric, level: metrics.Node, by: []string{metricdb.TagCluster}, use: func(g *metricdb.Group, _ int64) {
				sum := into(b.node(g.Tags.Get(metricdb.TagCluster), which))
				sum.Add(sum, nanosOf(g))
			}})
		}
		ask(usage, func(n *node) *big.Int { return n.used })
		ask(resource+"/node_capacity", func(n *node) *big.Int { return n.capacity })
		ask(resource+"/node_allocatable", func(n *node) *big.Int { return n.allocatable })
	}
	return tasks
}
