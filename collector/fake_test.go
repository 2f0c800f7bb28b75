package collector

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/collector/sink"
	"github.com/kubernetes-resource-monitor/krm/collector/source"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// fakeCluster is a cluster whose nodes answer as they are told. It is Objects too.
type fakeCluster struct {
	mu       sync.Mutex
	nodes    []*objects.Node
	pods     []*objects.Pod
	view     *objects.View // of both, nil after a change
	unsynced []string
	takes    map[string]time.Duration // how long a node takes; negative: it fails after so long
	asked    []question
	busy     int // questions that go on
	busiest  int
	sample   func(node string) *source.Sample // nil: a node set with one value
}

type question struct {
	node string
	at   time.Time
}

func newCluster(names ...string) *fakeCluster {
	c := &fakeCluster{takes: map[string]time.Duration{}}
	for _, name := range names {
		c.nodes = append(c.nodes, &objects.Node{Name: name, UID: "uid-" + name, Ready: "True"})
	}
	return c
}

// many are the names of so many nodes.
func many(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("node-%04d", i))
	}
	return names
}

func (c *fakeCluster) Read(look func(*objects.View)) {
	c.mu.Lock()
	if c.view == nil {
		c.view = objects.NewView(c.pods, slices.Clone(c.nodes), nil)
	}
	view := c.view
	c.mu.Unlock()
	look(view)
}

func (c *fakeCluster) Unsynced() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsynced
}

func (c *fakeCluster) Target(n *objects.Node) (source.Target, error) {
	if n.Ready != "True" {
		return source.Target{}, fakeError("not ready")
	}
	return source.Target{Node: n, URL: "https://" + n.Name}, nil
}

type fakeError string

func (e fakeError) Error() string  { return "it is " + string(e) }
func (e fakeError) Reason() string { return string(e) }

func (c *fakeCluster) Scrape(ctx context.Context, target source.Target) (*source.Sample, error) {
	name := target.Node.Name
	c.mu.Lock()
	takes := c.takes[name]
	c.asked = append(c.asked, question{name, time.Now()})
	c.busy++
	c.busiest = max(c.busiest, c.busy)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.busy--
	}()
	if err := sleep(ctx, max(takes, -takes)); err != nil {
		return nil, err
	}
	if takes < 0 {
		return nil, fakeError(source.Refused)
	}
	if c.sample != nil {
		return c.sample(name), nil
	}
	return sampleOf(name, set(metrics.Node, "", "", "", source.Value{ID: metrics.CPUUsage, Bits: 1})), nil
}

func (c *fakeCluster) change(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	c.view = nil
}

// questions returns how often each node was asked since the last call.
func (c *fakeCluster) questions() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := map[string]int{}
	for _, q := range c.asked {
		counts[q.node]++
	}
	c.asked = nil
	return counts
}

func sampleOf(node string, sets ...source.Set) *source.Sample {
	return &source.Sample{Node: node, Sets: sets}
}

func set(kind metrics.Kind, namespace, pod, container string, values ...source.Value) source.Set {
	return source.Set{Kind: kind, Namespace: namespace, Pod: pod, Container: container, UID: "uid-" + pod, Values: values}
}

// fakeSinks keeps batches and when they came.
type fakeSinks struct {
	mu      sync.Mutex
	batches []*metrics.Batch
	at      []time.Time
	tenure  sink.Tenure
}

func newSinks() *fakeSinks { return &fakeSinks{tenure: sink.Tenure{Number: 1}} }

func (s *fakeSinks) Put(b *metrics.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches, s.at = append(s.batches, b), append(s.at, time.Now())
}

func (s *fakeSinks) Tenure() sink.Tenure {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tenure
}

func (s *fakeSinks) take() (batches []*metrics.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	batches, s.batches, s.at = s.batches, nil, nil
	return batches
}

// failed are the nodes of a batch that have no metrics, with the reason.
func failed(b *metrics.Batch) map[string]string {
	all := map[string]string{}
	for _, n := range b.Nodes {
		if n.Reason != "" {
			all[n.Name] = n.Reason
		}
	}
	return all
}

func pipeline(c *fakeCluster, s Sinks, options Options) *Pipeline {
	return New("default", []NamedSource{{"kubernetes", c}}, c, s, options, slog.New(slog.DiscardHandler))
}

// running runs f beside a pipeline.
func running(p *Pipeline, f func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	f()
	cancel()
	if err := <-ended; err != nil {
		panic(err)
	}
}

// wait lets time pass in a synctest bubble, and all that is to happen by then.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
