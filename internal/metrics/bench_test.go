package metrics

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// fleet makes batches of a cluster whose values vary like real ones: noisy CPU, memory
// in pages, counters that advance, limits and filesystems that hardly change, times of
// whole seconds that differ per container, a few pods that come and go.
type fleet struct {
	random *rand.Rand
	ledger *Ledger
	nodes  []*fakeNode
	last   *Batch
	now    time.Time
	serial int
}

type fakeNode struct {
	name string
	meta *Meta
	set  *fakeSet
	sys  []*fakeSet
	pods []*fakePod
	free int64 // of the filesystem
}

type fakePod struct {
	namespace, name string
	meta            *Meta
	set             *fakeSet
	containers      []*fakeSet
}

// fakeSet is the state of a set's counters.
type fakeSet struct {
	start               int64
	cpu, faults, rx, tx int64
	memory, anon        int64
	load                float64 // cores
	request             int64
	used                int64
}

const namespaces = 50

func newFleet(nodes, pods int) *fleet {
	f := &fleet{random: rand.New(rand.NewPCG(1, 2)), ledger: NewLedger(17 * time.Minute), now: testStart}
	for n := range nodes {
		node := &fakeNode{name: fmt.Sprintf("node-%04d.zone-a.example.internal", n), set: f.set(testStart), free: 50e9 + f.random.Int64N(1<<20)<<12}
		node.meta = &Meta{UID: f.uid(), Node: node.name, Hostname: node.name, HostID: "aws:///zone-a/i-" + f.uid()[:17], Labels: []Label{{"kubernetes.io/hostname", node.name}, {"zone", "a"}}}
		node.meta.Joined = "kubernetes.io/hostname:" + node.name + ",zone:a"
		for range 3 {
			node.sys = append(node.sys, f.set(testStart))
		}
		for range pods {
			node.pods = append(node.pods, f.pod(node))
		}
		f.nodes = append(f.nodes, node)
	}
	return f
}

func (f *fleet) uid() string {
	a, b := f.random.Uint64(), f.random.Uint64()
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", a>>32, a>>16&0xffff, a&0xffff, b>>48, b&0xffffffffffff)
}

func (f *fleet) set(start time.Time) *fakeSet {
	s := &fakeSet{start: start.Add(-time.Duration(f.random.IntN(1e6)) * time.Second).UnixNano(), request: 50 * (1 + f.random.Int64N(10))}
	s.load = f.random.ExpFloat64() * 0.1
	s.cpu, s.faults, s.rx, s.tx = f.random.Int64N(1e15), f.random.Int64N(1e7), f.random.Int64N(1e11), f.random.Int64N(1e11)
	s.memory, s.used = (10000+f.random.Int64N(100000))<<12, f.random.Int64N(10000)<<12
	return s
}

func (f *fleet) pod(node *fakeNode) *fakePod {
	f.serial++
	app := fmt.Sprintf("app-%03d", f.serial%300)
	p := &fakePod{namespace: fmt.Sprintf("team-%02d", f.serial%namespaces), name: fmt.Sprintf("%s-%s-%s", app, f.uid()[:8], f.uid()[:5]), set: f.set(f.now)}
	p.meta = &Meta{UID: f.uid(), NamespaceID: "ns", Node: node.name, Hostname: node.name, HostID: node.meta.HostID, Labels: []Label{{"app", app}, {"pod-template-hash", "7d5b8c"}, {"tier", "web"}}}
	p.meta.Joined = "app:" + app + ",pod-template-hash:7d5b8c,tier:web"
	for range 2 {
		p.containers = append(p.containers, f.set(f.now))
	}
	return p
}

// advance moves a set's counters on by seconds.
func (f *fleet) advance(s *fakeSet, seconds float64) {
	s.load = max(0.001, s.load*(0.9+0.2*f.random.Float64()))
	s.cpu += int64(s.load * seconds * 1e9 * (0.8 + 0.4*f.random.Float64()))
	s.memory += (f.random.Int64N(400) - 200) << 12
	s.memory = max(s.memory, 1<<20)
	s.faults += f.random.Int64N(300)
	s.rx += f.random.Int64N(200000)
	s.tx += f.random.Int64N(100000)
	if f.random.IntN(10) == 0 {
		s.used += f.random.Int64N(100) << 12
	}
}

// next makes the next batch, after churn pods were replaced by others.
func (f *fleet) next(churn int) *Batch {
	for range churn {
		node := f.nodes[f.random.IntN(len(f.nodes))]
		node.pods[f.random.IntN(len(node.pods))] = f.pod(node)
	}
	f.now = f.now.Add(30 * time.Second)
	b := f.ledger.Begin("default", f.now, 30*time.Second)
	b.ScrapedAt = f.now.Add(5 * time.Second)
	for _, node := range f.nodes {
		f.node(b, node)
	}
	f.rates(b)
	f.last = b
	return b
}

func (f *fleet) node(b *Batch, node *fakeNode) {
	b.Nodes = append(b.Nodes, NodeStatus{Name: node.name, Took: time.Duration(f.random.IntN(1e8)), LastAt: f.now.Add(6 * time.Second)})
	ref := Ref{Node, b.Row(Node, Ref{}, node.name)}
	b.Describe(ref, "", node.meta)
	node.free -= (f.random.Int64N(1000) - 450) << 12
	f.measure(b, ref, node.set)
	f.network(b, ref, node.set)
	f.filesystem(b, ref, "/", node, 3e10)
	t := b.Tables[Node]
	for _, id := range []ID{CPUNodeCapacity, CPUNodeAllocatable, MemoryNodeCapacity, MemoryNodeAllocatable} {
		t.Set(id, ref.Row, FloatBits(64e9))
	}
	for i, s := range node.sys {
		sys := Ref{SystemContainer, b.Row(SystemContainer, ref, []string{"kubelet", "docker-daemon", "pods"}[i])}
		f.measure(b, sys, s)
		f.filesystem(b, sys, "/", node, s.used)
	}
	for _, p := range node.pods {
		namespace := Ref{Namespace, b.Row(Namespace, Ref{}, p.namespace)}
		pod := Ref{Pod, b.Row(Pod, namespace, p.name)}
		b.Describe(pod, "", p.meta)
		f.measure(b, pod, p.set)
		f.network(b, pod, p.set)
		f.spec(b, pod, p.set)
		for _, volume := range []string{"Volume:token"} {
			f.filesystem(b, pod, volume, node, 12288)
		}
		for i, s := range p.containers {
			c := Ref{Container, b.Row(Container, pod, []string{"app", "sidecar"}[i])}
			b.Describe(c, "registry.example.com/team/app:1.2", p.meta)
			f.measure(b, c, s)
			f.spec(b, c, s)
			f.filesystem(b, c, "/", node, s.used)
			f.filesystem(b, c, "logs", node, s.used/2&^4095)
		}
	}
}

func (f *fleet) measure(b *Batch, ref Ref, s *fakeSet) {
	f.advance(s, 30)
	t := b.Tables[ref.Kind]
	at := f.now.Add(time.Duration(f.random.IntN(15)-5) * time.Second).UnixNano()
	t.Set(StartTime, ref.Row, s.start)
	t.Set(CPUTime, ref.Row, at)
	t.Set(MemoryTime, ref.Row, at)
	t.Set(Uptime, ref.Row, (at-s.start)/1e6)
	t.Set(CPUUsage, ref.Row, s.cpu)
	t.Set(MemoryUsage, ref.Row, s.memory)
	t.Set(MemoryWorkingSet, ref.Row, s.memory-s.memory/5&^4095)
	t.Set(MemoryRSS, ref.Row, s.memory-s.memory/3&^4095)
	t.Set(MemoryPageFaults, ref.Row, s.faults)
	t.Set(MemoryMajorPageFaults, ref.Row, s.faults/1000)
	t.Set(EphemeralStorageUsage, ref.Row, s.used)
}

func (f *fleet) network(b *Batch, ref Ref, s *fakeSet) {
	t := b.Tables[ref.Kind]
	at, _ := t.Get(CPUTime, ref.Row)
	t.Set(NetworkTime, ref.Row, at+int64(f.random.IntN(3))*1e9)
	t.Set(NetworkRx, ref.Row, s.rx)
	t.Set(NetworkTx, ref.Row, s.tx)
	t.Set(NetworkRxErrors, ref.Row, 0)
	t.Set(NetworkTxErrors, ref.Row, 0)
}

func (f *fleet) spec(b *Batch, ref Ref, s *fakeSet) {
	t := b.Tables[ref.Kind]
	t.Set(CPURequest, ref.Row, s.request)
	t.Set(CPULimit, ref.Row, 2*s.request)
	t.Set(MemoryRequest, ref.Row, s.request<<20)
	t.Set(MemoryLimit, ref.Row, s.request<<21)
	t.Set(EphemeralStorageRequest, ref.Row, 0)
	t.Set(EphemeralStorageLimit, ref.Row, 0)
	t.Set(RestartCount, ref.Row, 0)
}

func (f *fleet) filesystem(b *Batch, parent Ref, name string, node *fakeNode, used int64) {
	row := b.Row(Filesystem, parent, "resource_id:"+name)
	t := b.Tables[Filesystem]
	t.Set(FilesystemUsage, row, used)
	t.Set(FilesystemLimit, row, 100e9)
	t.Set(FilesystemAvailable, row, node.free)
	t.Set(FilesystemInodes, row, 6e6)
	t.Set(FilesystemInodesFree, row, 5e6-node.free>>20)
}

// rates does what the processor does.
func (f *fleet) rates(b *Batch) {
	if f.last == nil {
		return
	}
	for kind := range Levels {
		now, before := b.Tables[kind], f.last.Tables[kind]
		for id := range NumIDs {
			d := Describe(id)
			if !d.Rate() || now.Column(d.RateOf) == nil {
				continue
			}
			for row := range now.Rows {
				value, ok := now.Get(d.RateOf, row)
				was, had := before.Get(d.RateOf, row)
				if !ok || !had || !before.Live.Has(row) {
					continue
				}
				at, _ := now.Get(d.RateTime, row)
				wasAt, _ := before.Get(d.RateTime, row)
				start, _ := now.Get(StartTime, row)
				wasStart, _ := before.Get(StartTime, row)
				if rate, ok := d.RateBetween(Sample{was, wasAt, wasStart}, Sample{value, at, start}); ok {
					now.Set(id, row, rate)
				}
			}
		}
	}
}

func (b *Batch) count() (values, sets, labelled int) {
	for kind, t := range b.Tables {
		if Kind(kind) < Levels {
			sets += t.Live.Count()
		} else {
			labelled += t.Live.Count()
		}
		for _, c := range t.Columns() {
			values += c.Has.Count()
		}
	}
	return values, sets, labelled
}

// busy is the time that the process had on processors: other than the time that
// passes, it does not depend on who else is on the machine.
func busy() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// loop is b.Loop that also reports the time on processors.
func loop(b *testing.B, f func()) {
	start := busy()
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(busy()-start)/float64(b.N), "cpu-ns/op")
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkModel measures everything that is done with a batch of 1000 nodes × 30 pods
// × 2 containers, and what fifteen minutes of it take.
func BenchmarkModel(b *testing.B) {
	const nodes, pods, frames = 1000, 30, 31
	empty := heap()
	f := newFleet(nodes, pods)
	e, m := NewEncoder(), NewModel(15*time.Minute)
	var deltas [][]byte
	var key []byte
	var keyframe time.Duration
	var last *Batch
	var encode, commit, apply time.Duration
	for i := range frames {
		last = f.next(20)
		start := busy()
		delta := e.Encode(last)
		encode += busy() - start
		if i == frames-1 {
			start = busy()
			key = e.Keyframe(last)
			keyframe = busy() - start
		}
		start = busy()
		e.Commit(last)
		commit += busy() - start
		start = busy()
		if err := m.Apply(testStream, delta); err != nil {
			b.Fatal(err)
		}
		apply += busy() - start
		if i == 0 {
			encode, commit, apply = 0, 0, 0
		}
		deltas = append(deltas, delta)
	}
	values, sets, labelled := last.count()
	f, e, last = nil, nil, nil
	size := 0
	for _, delta := range deltas[1:] {
		size += len(delta)
	}
	b.Run("memory", func(b *testing.B) {
		deltasSize := size + len(deltas[0]) + len(key)
		used := heap() - empty - uint64(deltasSize)
		inFrames, inValues := m.streams[testStream].head().size()
		for b.Loop() {
		}
		b.ReportMetric(float64(used)/1e6, "MB")
		b.ReportMetric(float64(inFrames)/1e6, "MB-frames")
		b.ReportMetric(float64(inValues)/1e6, "MB-values")
		b.ReportMetric(float64(size)/1e6/(frames-1), "MB/delta")
		b.ReportMetric(float64(len(key))/1e6, "MB/keyframe")
		b.ReportMetric(float64(len(deltas[0]))/1e6, "MB/first")
		b.ReportMetric(float64(values), "values")
		b.ReportMetric(float64(sets), "sets")
		b.ReportMetric(float64(labelled), "labelled")
		b.ReportMetric(float64(encode.Milliseconds())/(frames-1), "ms-encode")
		b.ReportMetric(float64(keyframe.Milliseconds()), "ms-keyframe")
		b.ReportMetric(float64(commit.Milliseconds())/(frames-1), "ms-commit")
		b.ReportMetric(float64(apply.Milliseconds())/(frames-1), "ms-apply")
	})
	b.Run("restore", func(b *testing.B) {
		loop(b, func() {
			if err := NewModel(15*time.Minute).Restore(testStream, key, deltas); err != nil {
				b.Fatal(err)
			}
		})
	})
	benchmarkView(b, m.View("c"))
}

func benchmarkView(b *testing.B, v *View) {
	pods := v.Pods("team-07")
	pod := Key{Kind: Pod, Namespace: "team-07", Pod: pods[len(pods)/2]}
	container := Key{Kind: Container, Namespace: pod.Namespace, Pod: pod.Pod, Container: "app"}
	run := func(name string, f func()) { b.Run(name, func(b *testing.B) { loop(b, f) }) }
	series := func(name, metric string, labels ...Label) {
		run("series/"+name, func() {
			if points, _, _ := v.Series(container, metric, labels, time.Time{}, time.Time{}); len(points) < 30 {
				b.Fatal(len(points))
			}
		})
	}
	series("gauge", "memory/usage")
	series("rate", "cpu/usage_rate")
	series("labelled", "filesystem/available", Label{"resource_id", "/"})
	run("metricnames", func() { v.MetricNames(container) })
	run("pods", func() { v.Pods("team-07") })
	run("nodes", func() { v.NodeNames() })
	run("keys", func() { v.Keys() })
	run("each", func() {
		n := 0
		for set := range v.Each {
			set.Values(func(*Descriptor, []Label, int64, time.Time) bool { n++; return true })
		}
		if n < 2e6 {
			b.Fatal(n)
		}
	})
}

// size is how much memory the segment's frames and values take.
func (s *segment) size() (frames, values int) {
	for _, f := range s.past {
		frames += cap(f.data)
	}
	for kind := range Kinds {
		for _, c := range s.head[kind].columns {
			values += 8 * (cap(c.values) + cap(c.has))
		}
	}
	return frames, values
}
