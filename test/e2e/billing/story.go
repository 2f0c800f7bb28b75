package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The levels, as the API names them.
const (
	container = "container"
	podLevel  = "pod"
	namespace = "namespace"
	nodeLevel = "node"
	cluster   = "cluster"
)

const (
	mib = int64(1) << 20
	gib = int64(1) << 30
)

// series is one metric of one set: what is written, and what truth is computed from.
type series struct {
	metric, level string
	namespace     string
	pod           *pod
	container     string
	node          string
	resource      string // resource_id, or of gpu/usage the device
	load          load
	count         *counter // of counters, which are read at the windows of load
	float         bool
}

// pod is a pod, and all that is to know of its life. Times are seconds since the
// story's begin.
type pod struct {
	namespace, name, uid, node string
	team                       string
	cpu, memory, gpu           int64 // requests of the whole pod, as its life tells them
	born, started, ended       float64
	cpuLater                   int64   // from resized on, if that is not 0
	resized                    float64 // in place
	living                     bool    // it has a life; else only its samples tell of it
	unseen                     bool    // no scrape saw it

	containers []*box
	overhead   int64   // millicores of the pod beside its containers
	seen       []span  // windows in which it was sampled
	rx, tx     int64   // bytes a window
	ephemeral  load    // bytes
	volumes    []*disk // of the pod
}

// box is a container.
type box struct {
	name           string
	cpu, memory    load
	cpuReq, memReq load // constant; 0 if nil
	restarts       []int64
	disks          []*disk
	gpus           []*disk
}

// disk is a filesystem, or a GPU's memory.
type disk struct {
	name string
	used load
}

func (p *pod) labels() string {
	if p.team == "" {
		return "app:" + p.name
	}
	return "app:" + p.name + ",team:" + p.team
}

// claim is a claim to storage.
type claim struct {
	namespace, name string
	bytes           int64
	born, ended     float64
}

// story is what happened in a cluster from begin on.
type story struct {
	cluster  string
	begin    time.Time
	every    time.Duration
	windows  int64
	nodes    []string
	pods     []*pod
	claims   []claim
	series   []*series
	gaps     []span // no batch was written
	late     []span // batches that are written after their hour was closed
	withLate bool   // they are written
}

func (s *story) time(k int64) time.Time { return s.begin.Add(time.Duration(k) * s.every) }

func (s *story) end() time.Time { return s.time(s.windows) }

func (s *story) seconds(at float64) time.Time {
	return s.begin.Add(time.Duration(at * float64(time.Second)))
}

// window is the first one that ends at t or after it.
func (s *story) window(t time.Time) int64 {
	k := int64(t.Sub(s.begin) / s.every)
	if s.time(k).Before(t) {
		k++
	}
	return k
}

// batches are the windows of [from, to) that have a batch.
func (s *story) batches(from, to int64) []span {
	there := []span{{max(from, 0), min(to, s.windows)}}
	for _, gap := range s.gaps {
		there = without(there, gap)
	}
	if !s.withLate {
		for _, gap := range s.late {
			there = without(there, gap)
		}
	}
	return there
}

func without(spans []span, hole span) (left []span) {
	for _, s := range spans {
		if before := (span{s.from, min(s.to, hole.from)}); before.from < before.to {
			left = append(left, before)
		}
		if after := (span{max(s.from, hole.to), s.to}); after.from < after.to {
			left = append(left, after)
		}
	}
	return left
}

// holes is the span without those within it.
func holes(from, to int64, missing ...span) []span {
	spans := []span{{from, to}}
	for _, hole := range missing {
		spans = without(spans, hole)
	}
	return spans
}

// life gives p a life that fits its samples: it started some seconds before the first
// window that saw it, and ended some seconds after the last.
func (p *pod) life(s *story, before, after float64) *pod {
	every := s.every.Seconds()
	p.living = true
	p.started = float64(p.seen[0].from)*every - before
	p.born = p.started - 4
	p.ended = float64(p.seen[len(p.seen)-1].to-1)*every + after
	return p
}

// add puts a pod into the story, with all series of it.
func (s *story) add(p *pod) {
	s.pods = append(s.pods, p)
	if p.unseen {
		return
	}
	from, to := p.seen[0].from, p.seen[len(p.seen)-1].to
	whole := []span{{from, to}}
	put := func(metric, level string, of load, c *counter) *series {
		one := &series{metric: metric, level: level, namespace: p.namespace, pod: p, node: p.node, load: of.on(p.seen), count: c}
		s.series = append(s.series, one)
		return one
	}
	cpu, memory, cpuReq, memReq := []load{constant(from, to, p.overhead)}, []load{}, []load{}, []load{}
	nanos := int64(s.every/time.Millisecond) * 1000 // CPU time of a millicore in a window
	for _, b := range p.containers {
		if b.cpuReq == nil { // the collector says 0 where nothing is requested
			b.cpuReq = constant(from, to, 0)
		}
		if b.memReq == nil {
			b.memReq = constant(from, to, 0)
		}
		in := func(metric string, of load, c *counter) *series {
			one := put(metric, container, of, c)
			one.container = b.name
			return one
		}
		in("cpu/usage_rate", b.cpu, nil)
		in("cpu/usage", b.cpu, &counter{b.cpu.on(whole), nanos, b.restarts})
		in("memory/usage", b.memory, nil)
		in("cpu/request", b.cpuReq, nil)
		in("memory/request", b.memReq, nil)
		in("uptime", constant(from, to, 1), &counter{constant(from, to, 1), s.every.Milliseconds(), b.restarts})
		for _, d := range b.disks {
			in("filesystem/usage", d.used, nil).resource = d.name
		}
		for _, d := range b.gpus {
			in("gpu/usage", d.used, nil).resource = d.name
		}
		if len(b.gpus) > 0 {
			in("nvidia.com/gpu/request", constant(from, to, int64(len(b.gpus))), nil)
			put("nvidia.com/gpu/request", podLevel, constant(from, to, int64(len(b.gpus))), nil)
		}
		cpu, memory = append(cpu, b.cpu.on(whole)), append(memory, b.memory.on(whole))
		cpuReq, memReq = append(cpuReq, b.cpuReq.on(whole)), append(memReq, b.memReq.on(whole))
	}
	put("cpu/usage_rate", podLevel, plus(cpu...), nil)
	put("cpu/usage", podLevel, plus(cpu...), &counter{plus(cpu...), nanos, nil})
	put("memory/usage", podLevel, plus(memory...), nil)
	put("cpu/request", podLevel, plus(cpuReq...), nil)
	put("memory/request", podLevel, plus(memReq...), nil)
	put("network/rx", podLevel, constant(from, to, 1), &counter{constant(from, to, p.rx), 1, nil})
	put("network/tx", podLevel, constant(from, to, 1), &counter{sawtooth(from, to, p.tx, 11, 50), 1, nil})
	put("ephemeral_storage/usage", podLevel, p.ephemeral, nil)
	for _, d := range p.volumes {
		put("filesystem/usage", podLevel, d.used, nil).resource = d.name
	}
}

// sums adds what the collector sums up: namespaces, nodes and the cluster.
func (s *story) sums(system, systemMemory int64) {
	everywhere := constant(0, s.windows, 1)
	for _, metric := range []string{"cpu/usage_rate", "memory/usage", "cpu/request", "memory/request"} {
		byNamespace, byNode, all := map[string][]load{}, map[string][]load{}, []load{}
		for _, one := range s.series {
			if one.level == podLevel && one.metric == metric {
				byNamespace[one.namespace] = append(byNamespace[one.namespace], one.load)
				byNode[one.node] = append(byNode[one.node], one.load)
			}
		}
		own := map[string]int64{"cpu/usage_rate": system, "memory/usage": systemMemory}[metric]
		for name, loads := range byNamespace {
			s.series = append(s.series, &series{metric: metric, level: namespace, namespace: name, load: plus(loads...)})
		}
		for _, name := range s.nodes {
			total := plus(append(byNode[name], everywhere.times(own))...)
			s.series = append(s.series, &series{metric: metric, level: nodeLevel, node: name, load: total})
			all = append(all, total)
		}
		s.series = append(s.series, &series{metric: metric, level: cluster, load: plus(all...)})
	}
	for _, name := range s.nodes {
		for metric, value := range map[string]int64{
			"cpu/node_capacity": 8000, "cpu/node_allocatable": 7600, "memory/node_capacity": 32 * gib, "memory/node_allocatable": 30 * gib,
		} {
			s.series = append(s.series, &series{metric: metric, level: nodeLevel, node: name, load: everywhere.times(value), float: true})
		}
		s.series = append(s.series, &series{
			metric: "network/rx", level: nodeLevel, node: name, load: everywhere, count: &counter{everywhere.times(9001), 1, nil},
		})
	}
	slices.SortFunc(s.series, func(a, b *series) int { return strings.Compare(a.String(), b.String()) })
}

// String names the series.
func (one *series) String() string {
	uid := ""
	if one.pod != nil {
		uid = one.pod.name + "/" + one.pod.uid
	}
	return fmt.Sprintf("%s %s %s %s %s %s %s", one.level, one.node, one.namespace, uid, one.container, one.metric, one.resource)
}

// without is what of a series is not in the window of a gap: the windows of [from, to)
// at which it has a sample.
func (s *story) sampled(one *series, from, to int64) load {
	return one.load.on(s.batches(from, to))
}
