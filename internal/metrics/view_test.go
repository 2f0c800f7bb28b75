package metrics

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// small is a cluster, or a shard of one, whose batches are written by hand.
type small struct {
	t       *testing.T
	ledger  *Ledger
	encoder *Encoder
	stream  object.FrameStream
	model   *Model
	batch   *Batch
}

func newSmall(t *testing.T, m *Model, shard, shards int) *small {
	return &small{t: t, ledger: NewLedger(17 * time.Minute), encoder: NewEncoder(), stream: object.FrameStream{Cluster: "c", Shard: shard, Shards: shards}, model: m}
}

func at(seconds int) time.Time { return testStart.Add(time.Duration(seconds) * time.Second) }

func (s *small) begin(seconds int) *small {
	s.batch = s.ledger.Begin("c", at(seconds), testWindow)
	s.batch.Shard, s.batch.Shards, s.batch.ScrapedAt = s.stream.Shard, s.stream.Shards, at(seconds+5)
	return s
}

// ref puts a key into the batch.
func (s *small) ref(key Key) Ref {
	b := s.batch
	switch key.Kind {
	case Node:
		return Ref{Node, b.Row(Node, Ref{}, key.Node)}
	case SystemContainer:
		return Ref{SystemContainer, b.Row(SystemContainer, s.ref(Key{Kind: Node, Node: key.Node}), key.Container)}
	case Namespace:
		return Ref{Namespace, b.Row(Namespace, Ref{}, key.Namespace)}
	case Pod:
		return Ref{Pod, b.Row(Pod, s.ref(Key{Kind: Namespace, Namespace: key.Namespace}), key.Pod)}
	case Container:
		return Ref{Container, b.Row(Container, s.ref(Key{Kind: Pod, Namespace: key.Namespace, Pod: key.Pod}), key.Container)}
	default:
		return Ref{}
	}
}

func (s *small) set(key string, id ID, bits int64, labels ...Label) *small {
	ref := s.ref(parseKey(key))
	if kind, ok := Family(id); ok && len(labels) > 0 {
		ref = Ref{kind, s.batch.Row(kind, ref, JoinLabels(labels))}
	}
	s.batch.Tables[ref.Kind].Set(id, ref.Row, bits)
	return s
}

func (s *small) write() {
	s.t.Helper()
	frame := s.encoder.Encode(s.batch)
	s.encoder.Commit(s.batch)
	if err := s.model.Apply(s.stream, frame); err != nil {
		s.t.Fatal(err)
	}
}

func seriesOf(v *View, key, metric string, labels ...Label) string {
	points, _, partial := v.Series(parseKey(key), metric, labels, time.Time{}, time.Time{})
	var s string
	for _, p := range points {
		s += fmt.Sprintf("%d:%d ", int(p.Time.Sub(testStart).Seconds()), p.Bits)
	}
	return fmt.Sprint(s, "partial ", partial)
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestView(t *testing.T) {
	m := NewModel(15 * time.Minute)
	root, logs := Label{"resource_id", "/"}, Label{"resource_id", "logs"}
	s := newSmall(t, m, 0, 1).begin(30)
	s.set("cluster", MemoryUsage, 30).set("namespace:b", MemoryUsage, 20).set("namespace:b", PodsMissing, 1)
	s.set("namespace:b/pod:x/container:app", CPUUsage, 1e9).set("namespace:b/pod:x/container:app", FilesystemUsage, 5, root)
	s.set("namespace:b/pod:x/container:app", FilesystemUsage, 6, logs)
	s.set("node:n1", MemoryUsage, 7).set("node:n1/container:docker-daemon", MemoryUsage, 8).set("node:n1/container:system", MemoryUsage, 9)
	node := &Meta{Hostname: "host-1", Node: "n1"}
	s.batch.Describe(s.ref(parseKey("node:n1")), "", node)
	pod := &Meta{UID: "uid", Node: "n1"}
	s.batch.Describe(s.ref(parseKey("namespace:b/pod:x")), "", pod)
	s.batch.Describe(s.ref(parseKey("namespace:b/pod:x/container:app")), "image:1", nil)
	s.batch.Tables[Container].Set(StartTime, 0, at(-60).UnixNano())
	s.batch.Nodes = []NodeStatus{{Name: "n1", Took: time.Second, LastAt: at(36)}, {Name: "n2", Reason: "timeout", Error: "wait"}}
	s.write()
	s.begin(60).set("cluster", MemoryUsage, 31).set("namespace:a-b/pod:y", MemoryUsage, 3).set("namespace:b", MemoryUsage, 21)
	s.set("namespace:b/pod:x/container:app", CPUUsage, 2e9).set("namespace:b/pod:z", MemoryUsage, 4).set("node:n1", MemoryUsage, 0)
	s.batch.Nodes = []NodeStatus{{Name: "n1"}}
	s.write()
	v := m.View("c")

	equal(t, "clusters", m.Clusters(), []string{"c"})
	equal(t, "time", []any{v.Time(), v.Resolution(), v.ScrapedAt()}, []any{at(60), testWindow, at(65)})
	equal(t, "batches", v.Batches(), []BatchInfo{{at(30), 2, 1}, {at(60), 1, 0}})
	equal(t, "nodes", v.Nodes(), []NodeStatus{{Name: "n1"}})
	equal(t, "node names", v.NodeNames(), []string{"n1"})
	equal(t, "namespaces", v.Namespaces(), []string{"a-b", "b"})
	equal(t, "pods", v.Pods("b"), []string{"x", "z"})
	equal(t, "no pods", v.Pods("none"), []string{})
	equal(t, "containers", v.Containers("b", "x"), []string{"app"})
	equal(t, "system containers that are gone", v.SystemContainers("n1"), []string{})
	equal(t, "keys", v.Keys(), []string{
		"cluster", "namespace:a-b", "namespace:a-b/pod:y", "namespace:b", "namespace:b/pod:x", "namespace:b/pod:x/container:app", "namespace:b/pod:z", "node:n1",
	})
	equal(t, "metric names", v.MetricNames(parseKey("namespace:b/pod:x/container:app")), []string{"cpu/usage", "filesystem/usage"})
	equal(t, "label sets", v.LabelSets(parseKey("namespace:b/pod:x/container:app"), "filesystem/usage"), [][]Label{{root}, {logs}})
	equal(t, "no label sets", v.LabelSets(parseKey("node:n1"), "memory/usage"), [][]Label{})
	info, ok := v.Entity(parseKey("namespace:b/pod:x/container:app"))
	equal(t, "entity", info, Info{Key: parseKey("namespace:b/pod:x/container:app"), Meta: pod, Image: "image:1"})
	equal(t, "entity is there", ok, true)
	info, ok = v.Entity(parseKey("node:host-1/container:runtime"))
	equal(t, "entity by aliases", info, Info{Key: parseKey("node:n1/container:docker-daemon"), Meta: node})
	equal(t, "it is remembered", ok, true)
	equal(t, "it is not alive", v.Alive(info.Key), false)
	_, ok = v.Entity(parseKey("node:n7"))
	equal(t, "no entity", ok, false)

	equal(t, "series", seriesOf(v, "cluster", "memory-usage"), "30:30 60:31 partial 0")
	equal(t, "partial", seriesOf(v, "namespace:b", "memory/usage"), "30:20 60:21 partial 1")
	equal(t, "zero is a value", seriesOf(v, "node:host-1", "memory/usage"), "30:7 60:0 partial 0")
	equal(t, "gone", seriesOf(v, "node:n1/container:misc", "memory/usage"), "30:9 partial 0")
	equal(t, "labelled", seriesOf(v, "namespace:b/pod:x/container:app", "filesystem/usage", logs), "30:6 partial 0")
	equal(t, "other labels", seriesOf(v, "namespace:b/pod:x/container:app", "filesystem/usage", logs, root), "partial 0")
	equal(t, "without labels", seriesOf(v, "namespace:b/pod:x/container:app", "filesystem/usage"), "partial 0")
	equal(t, "labels of what has none", seriesOf(v, "namespace:b", "memory/usage", root), "partial 0")
	points, d, _ := v.Series(Key{}, "memory/usage", nil, at(30), at(30))
	equal(t, "both ends", points, []Point{{at(30), 30}})
	equal(t, "descriptor", d, Describe(MemoryUsage))
	points, _, _ = v.Series(Key{}, "memory/usage", nil, at(31), at(59))
	equal(t, "between", points, []Point(nil))
	_, d, _ = v.Series(Key{}, "no/such", nil, at(30), at(30))
	equal(t, "no descriptor", d, (*Descriptor)(nil))
	bits, ok := v.Newest(Key{}, MemoryUsage)
	equal(t, "newest", []any{bits, ok}, []any{int64(31), true})
	equal(t, "complete", v.Complete(), true)
	m.Drop(s.stream)
	equal(t, "dropped", m.View("c"), (*View)(nil))
	equal(t, "clusters", m.Clusters(), []string{})
}

func TestViewOverShards(t *testing.T) {
	m := NewModel(15 * time.Minute)
	one, two := newSmall(t, m, 0, 2), newSmall(t, m, 1, 2)
	one.begin(30).set("cluster", MemoryUsage, 10).set("namespace:a", MemoryUsage, 10).set("namespace:a/pod:x", MemoryUsage, 10).set("node:n1", MemoryUsage, 1)
	one.batch.Nodes = []NodeStatus{{Name: "n1"}}
	one.write()
	equal(t, "half a cluster", seriesOf(m.View("c"), "cluster", "memory/usage"), "30:10 partial 1")
	equal(t, "is not complete", m.View("c").Complete(), false)
	two.begin(30).set("cluster", MemoryUsage, 5).set("namespace:a", MemoryUsage, 5).set("namespace:a/pod:y", MemoryUsage, 5).set("namespace:b", MemoryUsage, 0).set("node:n2", MemoryUsage, 2)
	two.batch.Nodes = []NodeStatus{{Name: "n2"}, {Name: "n3", Reason: "timeout"}}
	two.write()
	v := m.View("c")
	equal(t, "sum", seriesOf(v, "cluster", "memory/usage"), "30:15 partial 0")
	equal(t, "is complete", v.Complete(), true)
	equal(t, "a namespace of one", seriesOf(v, "namespace:b", "memory/usage"), "30:0 partial 0")
	equal(t, "pods", v.Pods("a"), []string{"x", "y"})
	equal(t, "nodes", v.NodeNames(), []string{"n1", "n2"})
	equal(t, "batches", v.Batches(), []BatchInfo{{at(30), 3, 1}})
	equal(t, "statuses", len(v.Nodes()), 3)
	bits, _ := v.Newest(Key{}, MemoryUsage)
	equal(t, "newest", bits, int64(15))
	var each []string
	for set := range v.Each {
		set.Values(func(d *Descriptor, _ []Label, bits int64, _ time.Time) bool {
			each = append(each, fmt.Sprint(set.Key, " ", bits))
			return true
		})
	}
	equal(t, "each", each, []string{"cluster 15", "namespace:a 15", "namespace:a/pod:x 10", "namespace:a/pod:y 5", "namespace:b 0", "node:n1 1", "node:n2 2"})

	// A pod moves, and one collector is late.
	two.begin(60).set("cluster", MemoryUsage, 7).set("namespace:a/pod:x", MemoryUsage, 7).write()
	v = m.View("c")
	equal(t, "moved", seriesOf(v, "namespace:a/pod:x", "memory/usage"), "30:10 60:7 partial 0")
	equal(t, "one of two", seriesOf(v, "cluster", "memory/usage"), "30:15 60:7 partial 1")
	bits, _ = v.Newest(parseKey("namespace:a/pod:x"), MemoryUsage)
	equal(t, "the newer is the newest", bits, int64(7))

	// The other collector is gone for long: what it had is in no list.
	two.begin(180).set("cluster", MemoryUsage, 7).write()
	equal(t, "nodes of a late shard", m.View("c").NodeNames(), []string{})

	// A single collector takes over: sums are of what is whole.
	all := newSmall(t, m, 0, 1)
	all.begin(30).set("cluster", MemoryUsage, 99).write()
	equal(t, "the smaller division", seriesOf(m.View("c"), "cluster", "memory/usage"), "30:15 60:7 180:7 partial 2")
	all.begin(60).set("cluster", MemoryUsage, 17).write()
	equal(t, "the whole one", seriesOf(m.View("c"), "cluster", "memory/usage"), "30:15 60:17 180:7 partial 1")
}

// Sums of a labelled metric stand at the levels, without labels; the rows stay by theirs.
func TestViewOfSums(t *testing.T) {
	m := NewModel(15 * time.Minute)
	gpu := func(n string) []Label { return []Label{{"gpu_index", n}, {"gpu_name", "T4"}, {"gpu_uuid", "GPU-" + n}} }
	batch := func(s *small, seconds int, namespace string, used int64) {
		s.begin(seconds).set(namespace+"/pod:x/container:app", GPUUsage, used, gpu("0")...).set(namespace+"/pod:x", GPUUsage, used)
		s.set(namespace, GPUUsage, used).set("cluster", GPUUsage, used)
		s.set("node:n1", GPUUsage, 3, gpu("1")...).set("node:n1", GPUUsage, used+3)
		s.write()
	}
	one, two := newSmall(t, m, 0, 2), newSmall(t, m, 1, 2)
	batch(one, 30, "namespace:b", 100)
	two.begin(30).set("cluster", GPUUsage, 7).set("namespace:b", GPUUsage, 7).set("namespace:c", MemoryUsage, 1).set("namespace:b", PodsMissing, 1).write()
	batch(one, 60, "namespace:b", 200)
	f := func(key, want string, labels ...Label) {
		t.Helper()
		equal(t, key, seriesOf(m.View("c"), key, "gpu/usage", labels...), want)
	}
	f("namespace:b/pod:x", "30:100 60:200 partial 0")
	f("namespace:b/pod:x/container:app", "partial 0")
	f("namespace:b/pod:x/container:app", "30:100 60:200 partial 0", gpu("0")...)
	f("namespace:b/pod:x", "partial 0", gpu("0")...)
	f("namespace:b", "30:107 60:200 partial 2") // a pod is missing, and then a shard
	f("cluster", "30:107 60:200 partial 1")
	f("namespace:c", "partial 0")
	f("node:n1", "30:103 60:203 partial 0")
	f("node:n1", "30:3 60:3 partial 0", gpu("1")...)
	equal(t, "of a pod", m.View("c").MetricNames(parseKey("namespace:b/pod:x")), []string{"gpu/usage"})
	equal(t, "label sets of a node", m.View("c").LabelSets(parseKey("node:n1"), "gpu/usage"), [][]Label{gpu("1")})
	equal(t, "label sets of a pod", m.View("c").LabelSets(parseKey("namespace:b/pod:x"), "gpu/usage"), [][]Label{})

	// A collector that starts anew goes on from the model, in the same rows.
	b := m.Batch(one.stream)
	one.ledger, one.encoder = ResumeLedger(17*time.Minute, b), NewEncoder()
	one.encoder.Commit(b)
	batch(one, 90, "namespace:b", 300)
	f("namespace:b/pod:x", "30:100 60:200 90:300 partial 0")
	f("node:n1", "30:103 60:203 90:303 partial 0")
}

// TestBatchView compares the view of a batch with that of a model that got its frame.
func TestBatchView(t *testing.T) {
	f := newFleet(3, 5)
	f.next(0)
	b := f.next(1)
	m := NewModel(time.Minute)
	if err := m.Apply(testStream, NewEncoder().Encode(b)); err != nil {
		t.Fatal(err)
	}
	dump := func(v *View) (lines []string) {
		for set := range v.Each {
			var values []string
			set.Values(func(d *Descriptor, labels []Label, bits int64, start time.Time) bool {
				values = append(values, fmt.Sprint(d.Name, labels, bits, start))
				return true
			})
			slices.Sort(values)
			points, _, _ := v.Series(set.Key, "cpu/usage_rate", nil, time.Time{}, time.Time{})
			lines = append(lines, fmt.Sprint(set.Key, set.Meta, set.Image, set.Start, values, points))
		}
		return lines
	}
	want, got := dump(m.View("c")), dump(BatchView(b))
	equal(t, "batch", got, want)
	if len(want) < 3*5*3 {
		t.Errorf("only %d sets", len(want))
	}
}

func TestGap(t *testing.T) {
	m := NewModel(time.Minute)
	s := newSmall(t, m, 0, 1)
	s.begin(30).set("cluster", MemoryUsage, 1).write()
	s.begin(60).set("cluster", MemoryUsage, 2)
	s.encoder.Encode(s.batch)
	s.encoder.Commit(s.batch)
	s.begin(90).set("cluster", MemoryUsage, 3)
	frame := s.encoder.Encode(s.batch)
	if err := m.Apply(s.stream, frame); err != ErrGap { //nolint:errorlint // the sentinel itself is promised
		t.Errorf("a frame is missing: %v", err)
	}
	equal(t, "as before", seriesOf(m.View("c"), "cluster", "memory/usage"), "30:1 partial 0")
}

func TestFamilyLabels(t *testing.T) {
	f := func(kind Kind, name string, want ...Label) {
		t.Helper()
		got := SplitLabels(kind, name)
		equal(t, name, got, want)
		equal(t, name+" again", JoinLabels(got), name)
	}
	f(Filesystem, "resource_id:/", Label{"resource_id", "/"})
	f(Disk, "resource_id:8:0,x", Label{"resource_id", "8:0,x"})
	f(Accelerator, "accelerator_id:GPU-1,make:nvidia,model:Tesla P100", Label{"accelerator_id", "GPU-1"}, Label{"make", "nvidia"}, Label{"model", "Tesla P100"})
	f(GPU, "gpu_index:0,gpu_name:A,B:c,gpu_uuid:GPU-1", Label{"gpu_index", "0"}, Label{"gpu_name", "A,B:c"}, Label{"gpu_uuid", "GPU-1"})
	f(GPU, "gpu_index:0,gpu_uuid:GPU-1", Label{"gpu_index", "0"}, Label{"gpu_uuid", "GPU-1"})
}

// TestKeyframeAlone restores a keyframe without the delta of its batch: all but the
// rates that only the delta tells.
func TestKeyframeAlone(t *testing.T) {
	s := newSmall(t, NewModel(time.Hour), 0, 1)
	measure := func(seconds int) *small {
		return s.begin(seconds).set("node:n", CPUUsage, int64(seconds)*1e6).set("node:n", CPUTime, at(seconds).UnixNano())
	}
	measure(30).write()
	measure(60).set("node:n", CPUUsageRate, 1).set("node:m", CPUUsageRate, 7)
	key, delta := s.encoder.Keyframe(s.batch), s.encoder.Encode(s.batch)
	s.write()
	after := s.encoder.Keyframe(s.batch)
	measure(90).set("node:n", CPUUsageRate, 1)
	next := s.encoder.Encode(s.batch)
	f := func(what string, key []byte, usage, rates, others string, deltas ...[]byte) {
		t.Helper()
		m := NewModel(time.Hour)
		if err := m.Restore(s.stream, key, deltas); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		v := m.View("c")
		equal(t, what+": usage", seriesOf(v, "node:n", "cpu/usage"), usage)
		equal(t, what+": rates", seriesOf(v, "node:n", "cpu/usage_rate"), rates)
		equal(t, what+": rates of no counter", seriesOf(v, "node:m", "cpu/usage_rate"), others)
		_, ok := v.Newest(parseKey("node:n"), CPUUsageRate)
		equal(t, what+": newest", ok, rates != "partial 0")
	}
	f("alone", key, "60:60000000 partial 0", "partial 0", "60:7 partial 0")
	f("with what follows", key, "60:60000000 90:90000000 partial 0", "90:1 partial 0", "60:7 partial 0", next)
	f("with its delta", key, "60:60000000 partial 0", "60:1 partial 0", "60:7 partial 0", delta)
	f("with both", key, "60:60000000 90:90000000 partial 0", "60:1 90:1 partial 0", "60:7 partial 0", delta, next)
	f("made after Commit", after, "60:60000000 partial 0", "60:1 partial 0", "60:7 partial 0")
}

// TestReadersNeedNoLocks is for the race detector.
func TestReadersNeedNoLocks(t *testing.T) {
	m := NewModel(2 * time.Minute)
	f, e := newFleet(2, 3), NewEncoder()
	next := func() {
		b := f.next(1)
		if err := m.Apply(testStream, e.Encode(b)); err != nil {
			t.Error(err)
		}
		e.Commit(b)
	}
	next()
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for range 20 {
				v := m.View(testStream.Cluster)
				newest := v.Time()
				points, _, _ := v.Series(Key{Kind: Node, Node: v.NodeNames()[0]}, "memory/usage", nil, time.Time{}, time.Time{})
				if last := points[len(points)-1].Time; !last.Equal(newest) || len(v.Batches()) == 0 {
					t.Errorf("view of %v ends at %v", newest, last)
				}
			}
		})
	}
	for range 20 {
		next()
	}
	readers.Wait()
}
