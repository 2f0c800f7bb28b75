package billing

import (
	"context"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
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
	requests          map[amount]*metricdb.Group
	gpuRows           *big.Int
	presence          *big.Int
	labels            map[string]string
	cost              decimal.Decimal
}

// node is what the nodes of a cluster came to: value × nanoseconds.
type node struct{ used, capacity, allocatable *big.Int }

// books is all that a report is made of.
type books struct {
	asked       question
	resolutions []metricdb.Resolution
	promise     promise
	lives       map[podID]*Life
	entries     map[entryKey]*entry
	nodes       map[string]*[2]node // by cluster: CPU, memory
	complete    bool
}

func (b *books) entry(key entryKey) *entry {
	e := b.entries[key]
	if e == nil {
		e = &entry{amounts: newAmounts(), gpuRows: new(big.Int), presence: new(big.Int), requests: map[amount]*metricdb.Group{}}
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
	use      func(g *metricdb.Group)
	expect   func(g *metricdb.Group, expected int64) // nil if coverage does not matter
}

// gather reads everything.
func (a *API) gather(ctx context.Context, asked question, now time.Time) (*books, error) {
	b := &books{asked: asked, entries: map[entryKey]*entry{}, nodes: map[string]*[2]node{}, complete: true}
	var err error
	if b.resolutions, err = a.db.Resolutions(ctx, asked.cluster, asked.from, asked.to); err != nil {
		return nil, err
	}
	if b.lives, err = a.lives(ctx, asked.from, asked.to, asked.where()); err != nil {
		return nil, err
	}
	b.promise = newPromise(b.resolutions, asked.from, asked.to, now)
	if err := a.run(ctx, b, a.tasks(b)); err != nil {
		return nil, err
	}
	if b.complete {
		if b.complete, err = a.complete(ctx, b.resolutions, asked.from, asked.to, now); err != nil {
			return nil, err
		}
	}
	b.settle()
	if err := a.claims(ctx, b); err != nil {
		return nil, err
	}
	return b, a.price(ctx, b)
}

func (asked *question) where() []metricdb.Match {
	if asked.cluster == "" {
		return nil
	}
	return []metricdb.Match{metricdb.Is(metricdb.TagCluster, asked.cluster)}
}

// parallel is how many questions the database is asked at a time.
const parallel = 4

// run asks all, and then uses the answers one after the other.
func (a *API) run(ctx context.Context, b *books, tasks []task) error {
	answers, covered := make([][]metricdb.Group, len(tasks)), make([]Coverage, len(tasks))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, t := range tasks {
		g.Go(func() (err error) {
			q := metricdb.Query{Metric: t.metric, Level: t.level, From: b.asked.from, To: b.asked.to, Where: b.asked.where()}
			if t.billed {
				answers[i], err = a.options.Billed(ctx, q, t.by...)
				covered[i].Complete = true
				return err
			}
			answers[i], covered[i], err = a.options.Answer(ctx, q, metricdb.Grouping{By: t.by, Increase: t.increase, Span: true})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, t := range tasks {
		b.complete = b.complete && (covered[i].Complete || len(answers[i]) == 0)
		for k := range answers[i] {
			t.use(&answers[i][k])
			if t.expect != nil {
				t.expect(&answers[i][k], b.expected(&answers[i][k], covered[i].Expected, k))
			}
		}
	}
	return nil
}

// expected is how many samples a group should have, if need be from its pod's life.
func (b *books) expected(g *metricdb.Group, known []int64, at int) int64 {
	if known != nil {
		return known[at]
	}
	return b.promise.of(g, b.lives)
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
	timed := func(m amount) func(*metricdb.Group) {
		return func(g *metricdb.Group) { of(g).addAmount(m, nanosOf(g)) }
	}
	expect := func(g *metricdb.Group, expected int64) {
		of(g).samples += g.Count
		of(g).expected += expected
	}
	request := func(m amount) func(*metricdb.Group) {
		return func(g *metricdb.Group) { timed(m)(g); of(g).requests[m] = g }
	}
	risen := func(m amount) func(*metricdb.Group) {
		return func(g *metricdb.Group) { of(g).addAmount(m, whole(g.Increase)) }
	}
	tasks := []task{
		{metric: "cpu/usage_rate", level: level, by: by, use: timed(cpuUsed), expect: expect},
		{metric: "cpu/request", level: level, by: by, use: request(cpuRequested)},
		{metric: "cpu/usage_rate", level: level, by: by, billed: true, use: timed(cpuBilled)},
		{metric: "memory/usage", level: level, by: by, use: timed(memoryUsed), expect: expect},
		{metric: "memory/request", level: level, by: by, use: request(memoryRequested)},
		{metric: "memory/usage", level: level, by: by, billed: true, use: timed(memoryBilled)},
		{metric: "ephemeral_storage/usage", level: level, by: by, use: timed(ephemeralUsed)},
		{metric: "network/rx", level: metrics.Pod, by: pod, increase: true, use: risen(networkIn)},
		{metric: "network/tx", level: metrics.Pod, by: pod, increase: true, use: risen(networkOut)},
		{metric: "memory/request", level: metrics.Pod, by: pod, use: func(g *metricdb.Group) { longest(of(g).presence, presenceOf(g)) }},
		{metric: "memory/usage", level: metrics.Pod, by: pod, use: func(g *metricdb.Group) { longest(of(g).presence, presenceOf(g)) }},
		{metric: "gpu/usage", level: metrics.Container, by: by, use: func(g *metricdb.Group) {
			timed(gpuMemory)(g)
			of(g).gpuRows.Add(of(g).gpuRows, presenceOf(g))
		}},
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
			tasks = append(tasks, task{metric: metric, level: metrics.Node, by: []string{metricdb.TagCluster}, use: func(g *metricdb.Group) {
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

// settle turns what was read into what is billed: with the lives of pods.
func (b *books) settle() {
	for _, e := range b.entries {
		longest(e.gpuTime(), e.gpuRows)
		e.amounts[podTime].Set(e.presence)
	}
	seen := map[podID]bool{}
	for key := range b.entries {
		seen[key.podID] = true
	}
	for id, l := range b.lives {
		lived := l.held(b.promise.from, b.promise.to)
		if lived <= 0 {
			continue
		}
		e := b.entry(entryKey{podID: id})
		e.amounts[podTime].SetInt64(int64(lived))
		switch {
		case !seen[id]:
			e.estimate(l, lived)
		case b.asked.by != "container":
			e.exact(cpuRequested, cpuBilled, l.CPU, lived)
			e.exact(memoryRequested, memoryBilled, l.Memory, lived)
			longest(e.gpuTime(), new(big.Int).Mul(big.NewInt(l.GPU), big.NewInt(int64(lived))))
		}
	}
}

func (e *entry) gpuTime() *big.Int { return e.amounts[gpuTime] }

// estimate is for pods that no scrape saw: they are billed what they requested while
// they lived, and are taken to have used it.
func (e *entry) estimate(l *Life, lived time.Duration) {
	e.estimated = true
	for _, m := range []amount{cpuUsed, cpuRequested, cpuBilled} {
		e.addTime(m, l.CPU, lived)
	}
	for _, m := range []amount{memoryUsed, memoryRequested, memoryBilled} {
		e.addTime(m, l.Memory, lived)
	}
	e.addTime(gpuTime, l.GPU, lived)
}

// exact makes the requests of a pod that requested the same all the time exact: times
// its life. What was not sampled of its life is billed as requested.
func (e *entry) exact(requested, billed amount, request int64, lived time.Duration) {
	g := e.requests[requested]
	if g == nil || g.Min.Float || g.Min.Bits != request || g.Max.Bits != request {
		return
	}
	product := big.NewInt(request)
	more := product.Mul(product, big.NewInt(int64(lived)))
	more.Sub(more, e.amounts[requested])
	e.amounts[requested].Add(e.amounts[requested], more)
	e.amounts[billed].Add(e.amounts[billed], more)
}

// The set of records that says when each claim to storage lived, and how many bytes it
// requested. Its tags are cluster_name, namespace_name, claim_name and claim_id.
const (
	claimSet     = metricdb.RecordPrefix + "claim"
	fieldStorage = "storage.request"
)

// claims adds what was claimed of storage to the namespaces.
func (a *API) claims(ctx context.Context, b *books) error {
	q := metricdb.RecordQuery{Set: claimSet, From: earliest, To: b.asked.to, Where: b.asked.where(), Fields: []string{fieldDeleted, fieldStorage}}
	for r, err := range a.db.Records(ctx, q) {
		if err != nil {
			return err
		}
		size, ok := r.Get(fieldStorage)
		claim := newLife(&r)
		if begin, end := claim.overlap(r.Time, b.promise.from, b.promise.to); ok && begin.Before(end) {
			id := podID{cluster: strings.Clone(r.Tags.Get(metricdb.TagCluster)), namespace: strings.Clone(r.Tags.Get(metricdb.TagNamespace))}
			b.entry(entryKey{podID: id}).addTime(claimsRequested, size.Bits, end.Sub(begin))
		}
	}
	return nil
}

// price gives every entry its labels and its cost.
func (a *API) price(ctx context.Context, b *books) error {
	if a.options.Prices == nil && b.asked.by != "label" {
		return nil
	}
	joined, err := a.joinedLabels(ctx, b)
	if err != nil {
		return err
	}
	for key, e := range b.entries {
		e.labels = splitLabels(joined[key.podID], a.options.LabelSeparator)
		if a.options.Prices != nil {
			e.cost = a.options.Prices.cost(&e.amounts, key.cluster, key.namespace, e.labels)
		}
	}
	return nil
}

// joinedLabels are the labels of each pod: as the event log has them, else as the
// last in order among those of its samples.
func (a *API) joinedLabels(ctx context.Context, b *books) (map[podID]string, error) {
	all, err := a.db.Tags(ctx, metricdb.Query{
		Metric: "memory/request", Level: metrics.Pod, From: b.asked.from, To: b.asked.to, Where: b.asked.where(),
	}, metricdb.TagCluster, metricdb.TagNamespace, metricdb.TagPod, metricdb.TagPodID, metricdb.TagLabels)
	if err != nil {
		return nil, err
	}
	joined := map[podID]string{}
	for _, tags := range all {
		joined[podOf(tags)] = tags.Get(metricdb.TagLabels)
	}
	for id, l := range b.lives {
		if l.Labels != "" {
			joined[id] = l.Labels
		}
	}
	return joined, nil
}

func splitLabels(joined, separator string) map[string]string {
	labels := map[string]string{}
	for part := range strings.SplitSeq(joined, separator) {
		if key, value, ok := strings.Cut(part, ":"); ok {
			labels[key] = value
		}
	}
	return labels
}
