package metrics

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const (
	testWindow = 30 * time.Second
	testKeep   = 5 * time.Minute
)

var (
	testStream = object.FrameStream{Cluster: "c", Shard: 0, Shards: 1}
	testStart  = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
)

// reading names a value of one batch: a set's key, a metric and its labels.
type reading struct{ key, metric, labels string }

// world is a collector, a Redis and an apiserver, and a plain account of what was
// written.
type world struct {
	t       *rapid.T
	now     time.Time
	ledger  *Ledger
	encoder *Encoder
	last    *Batch

	key      []byte
	keyAt    time.Time
	deltas   [][]byte
	times    []time.Time
	model    *Model
	behind   bool      // the model missed a frame
	since    time.Time // the first batch of the collector that did not go on from others
	restored bool      // and what was before it may be lost

	wrote  map[time.Time]map[reading]int64
	checks int
}

func newWorld(t *rapid.T) *world {
	return &world{
		t: t, now: testStart, ledger: NewLedger(testKeep + 2*time.Minute), encoder: NewEncoder(),
		model: NewModel(testKeep), wrote: map[time.Time]map[reading]int64{},
	}
}

// batch makes the next batch: entities come and go, values are missing, counters
// start anew.
func (w *world) batch() (*Batch, map[reading]int64) {
	w.now = w.now.Add(testWindow * time.Duration(rapid.SampledFrom([]int{1, 1, 1, 1, 2, 9}).Draw(w.t, "windows")))
	b := w.ledger.Begin("c", w.now, testWindow)
	b.ScrapedAt = w.now.Add(time.Second)
	seed := rapid.Uint64().Draw(w.t, "seed")
	random := func(n uint64) uint64 { // quick, and no worse to shrink than a draw for each value
		seed ^= seed << 13
		seed ^= seed >> 7
		seed ^= seed << 17
		return seed % n
	}
	if seed == 0 {
		seed = 1
	}
	values := map[reading]int64{}
	set := func(ref Ref, key Key, labels string, d *Descriptor, bits int64) {
		b.Tables[ref.Kind].Make(d).Set(ref.Row, bits)
		values[reading{key.String(), d.Name, labels}] = bits
	}
	measure := func(ref Ref, key Key) {
		start := testStart.Add(-time.Duration(1+random(2)) * time.Hour)
		for _, id := range []ID{CPUUsage, NetworkRx, CPUTime, NetworkTime, StartTime, MemoryUsage, CPURequest, MemoryNodeUtilization} {
			if random(8) == 0 {
				continue
			}
			var bits int64
			switch id {
			case CPUUsage, NetworkRx:
				bits = int64(random(1e9)) + w.now.Sub(testStart).Nanoseconds()*3
			case CPUTime, NetworkTime:
				bits = w.now.UnixNano() + int64(random(10))*1e9
			case StartTime:
				bits = start.UnixNano()
			case MemoryUsage:
				bits = int64(random(1<<16)) << 12
			case CPURequest:
				bits = 100 * int64(random(2))
			default:
				bits = FloatBits(float64(random(1000)) / 1000)
			}
			set(ref, key, "", Describe(id), bits)
		}
		for _, id := range []ID{CPUUsageRate, NetworkRxRate} {
			bits, ok := w.rate(b, ref, id)
			if random(16) == 0 {
				bits, ok = int64(random(5000)), true
			}
			if ok {
				set(ref, key, "", Describe(id), bits)
			}
		}
		if random(16) == 0 {
			set(ref, key, "", ResourceRequest("nvidia.com/gpu"), int64(random(4)))
		}
		for i := range random(3) {
			name := fmt.Sprintf("resource_id:/%d", i)
			row := b.Row(Filesystem, ref, name)
			set(Ref{Filesystem, row}, key, name, Describe(FilesystemUsage), int64(random(1<<40)))
		}
		if random(4) == 0 { // a device's row, a sum, or both
			if name := "gpu_index:0,gpu_name:T4,gpu_uuid:GPU-0"; random(2) == 0 {
				set(Ref{GPU, b.Row(GPU, ref, name)}, key, name, Describe(GPUUsage), int64(random(1<<15)))
			}
			if random(2) == 0 {
				set(ref, key, "", Describe(GPUUsage), int64(random(1<<15)))
			}
		}
	}
	churn := 1 + random(60)
	meta := &Meta{UID: "u", Hostname: fmt.Sprint("host", random(2)), Labels: []Label{{"k", "v"}}}
	for n := range 3 {
		if random(churn) == 0 {
			b.Nodes = append(b.Nodes, NodeStatus{Name: fmt.Sprint(n), Reason: "timeout"})
			continue
		}
		node := fmt.Sprint("n", n)
		b.Nodes = append(b.Nodes, NodeStatus{Name: node, Took: time.Second, LastAt: w.now})
		ref := Ref{Node, b.Row(Node, Ref{}, node)}
		b.Describe(ref, "", meta)
		measure(ref, Key{Kind: Node, Node: node})
	}
	for i := range 28 {
		if random(churn) == 0 {
			continue
		}
		key := Key{Kind: Pod, Namespace: fmt.Sprint("ns", i%2), Pod: fmt.Sprint("pod", i+100*int(random(40)/39))}
		ns := Ref{Namespace, b.Row(Namespace, Ref{}, key.Namespace)}
		pod := Ref{Pod, b.Row(Pod, ns, key.Pod)}
		b.Describe(pod, "", meta)
		measure(pod, key)
		key.Kind, key.Container = Container, "app"
		container := Ref{Container, b.Row(Container, pod, "app")}
		b.Describe(container, "image", meta)
		measure(container, key)
	}
	set(Ref{Cluster, 0}, Key{}, "", Describe(MemoryUsage), int64(random(1<<50)))
	return b, values
}

// rate is what the processor makes of counters, if the batch before has the row.
func (w *world) rate(b *Batch, ref Ref, id ID) (int64, bool) {
	if w.last == nil || w.last.ledger != b.ledger {
		return 0, false
	}
	sample := func(t *Table) (s Sample, ok bool) {
		value, has := t.Get(Describe(id).RateOf, ref.Row)
		at, timed := t.Get(Describe(id).RateTime, ref.Row)
		start, _ := t.Get(StartTime, ref.Row)
		return Sample{value, at, start}, has && timed
	}
	before, ok := sample(w.last.Tables[ref.Kind])
	now, has := sample(b.Tables[ref.Kind])
	if !ok || !has {
		return 0, false
	}
	return Describe(id).RateBetween(before, now)
}

// write is a batch that gets to Redis, with a keyframe now and then.
func (w *world) write(*rapid.T) {
	b, values := w.batch()
	delta := w.encoder.Encode(b)
	if rapid.IntRange(0, 5).Draw(w.t, "keyframe") == 0 || w.now.Sub(w.keyAt) > testKeep/2 {
		w.key, w.keyAt = w.encoder.Keyframe(b), w.now
	}
	w.encoder.Commit(b)
	w.last = b
	w.deltas, w.times = append(w.deltas, delta), append(w.times, b.Time)
	for w.times[0].Before(w.now.Add(-testKeep - time.Minute)) {
		w.deltas, w.times = w.deltas[1:], w.times[1:]
	}
	w.wrote[b.Time] = values
	if w.since.IsZero() {
		w.since = b.Time
	}
	if rapid.IntRange(0, 9).Draw(w.t, "miss") == 0 {
		w.behind = true
		return
	}
	err := w.model.Apply(testStream, delta)
	if errors.Is(err, ErrGap) && w.behind {
		w.restore(w.t)
		return
	}
	if err != nil {
		w.t.Fatalf("apply: %v", err)
	}
	if err := w.model.Apply(testStream, delta); !errors.Is(err, ErrOld) {
		w.t.Fatalf("the same frame again: %v", err)
	}
	if w.behind {
		w.behind, w.restored = false, true // a full frame: what was missed is lost
	}
}

// lose is a batch that never gets to Redis.
func (w *world) lose(*rapid.T) {
	b, _ := w.batch()
	w.encoder.Encode(b)
	w.last = b
}

// restart is a new collector that knows nothing.
func (w *world) restart(*rapid.T) {
	w.ledger, w.encoder, w.last = NewLedger(testKeep+2*time.Minute), NewEncoder(), nil
	w.since = time.Time{}
}

// resume is a new collector that goes on from Redis.
func (w *world) resume(*rapid.T) {
	m := NewModel(testKeep)
	if m.Restore(testStream, w.key, w.deltas) != nil {
		return
	}
	b := m.Batch(testStream)
	if !b.Time.Equal(w.times[len(w.times)-1]) {
		return // Redis lacks what leads to the newest one
	}
	w.ledger, w.encoder, w.last = ResumeLedger(testKeep+2*time.Minute, b), NewEncoder(), b
	w.encoder.Commit(b)
}

// restore is an apiserver that starts anew.
func (w *world) restore(*rapid.T) {
	m := NewModel(testKeep)
	if err := m.Restore(testStream, w.key, w.deltas); err != nil {
		if w.key != nil {
			w.t.Fatalf("restore: %v", err)
		}
		return
	}
	w.model, w.behind, w.restored = m, false, true
	if at := m.View("c").Time(); w.key != nil && !at.Equal(w.times[len(w.times)-1]) {
		w.t.Fatalf("restored to %v, newest is %v", at, w.times[len(w.times)-1])
	}
}

// check compares all series of the model with the plain account.
func (w *world) check(*rapid.T) {
	v := w.model.View("c")
	if v == nil {
		return
	}
	known := map[time.Time]bool{}
	for _, batch := range v.Batches() {
		known[batch.Time] = true
	}
	want := map[reading][]Point{}
	for _, at := range w.window(v, known) {
		for r, bits := range w.wrote[at] {
			want[r] = append(want[r], Point{at, bits})
		}
	}
	listed := map[string][]string{}
	w.checks++
	for r, points := range want {
		if len(r.key+r.metric)%3 != w.checks%3 { // the others' turn comes with the next batches
			continue
		}
		key, labels := w.parse(r)
		got, d, _ := v.Series(key, r.metric, labels, time.Time{}, time.Time{})
		if d == nil || !slices.EqualFunc(got, points, samePoint) {
			w.t.Fatalf("%v: got %v\nwant %v", r, got, points)
		}
		names, ok := listed[r.key]
		if !ok {
			names = v.MetricNames(key)
			listed[r.key] = names
		}
		if !d.Hidden() && !slices.Contains(names, r.metric) {
			w.t.Fatalf("%v is not among %v", r, names)
		}
	}
	w.checkNewest(v)
}

// window returns the written batches that the model must have. What was before a
// collector's fresh start is lost where an apiserver started after it.
func (w *world) window(v *View, known map[time.Time]bool) (times []time.Time) {
	for at := range w.wrote {
		switch {
		case at.Before(v.Time().Add(-testKeep)) || at.After(v.Time()):
			continue
		case known[at]:
			times = append(times, at)
		case !w.restored || !w.since.IsZero() && !at.Before(w.since) && w.key != nil:
			w.t.Fatalf("batch %v is not in %v", at, known)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	if len(times) != len(known) {
		w.t.Fatalf("batches %v, want %v", known, times)
	}
	return times
}

// checkNewest compares lists and the export with the newest batch.
func (w *world) checkNewest(v *View) {
	got := map[reading]int64{}
	for set := range v.Each {
		valuesOf(set)(func(d *Descriptor, labels []Label, bits int64) bool {
			got[reading{set.Key.String(), d.Name, JoinLabels(labels)}] = bits
			return true
		})
	}
	want := map[reading]int64{}
	for r, bits := range w.wrote[v.Time()] {
		if d, ok := Lookup(r.metric); !ok || !d.Hidden() {
			want[r] = bits
		}
	}
	if !maps.Equal(want, got) {
		w.t.Fatalf("each (-want +got):\n%s", cmp.Diff(want, got))
	}
	listed := map[string][]string{}
	for r := range want {
		key, _ := w.parse(r)
		if !v.Alive(key) {
			w.t.Fatalf("%v is not alive", key)
		}
		if key.Kind == Pod && listed[key.Namespace] == nil {
			listed[key.Namespace] = v.Pods(key.Namespace)
		}
		if key.Kind == Pod && !slices.Contains(listed[key.Namespace], key.Pod) {
			w.t.Fatalf("%v is not among %v", key, listed[key.Namespace])
		}
	}
}

func samePoint(a, b Point) bool { return a.Bits == b.Bits && a.Time.Equal(b.Time) }

func valuesOf(s Set) func(func(*Descriptor, []Label, int64) bool) {
	return func(yield func(*Descriptor, []Label, int64) bool) {
		s.Values(func(d *Descriptor, labels []Label, bits int64, _ time.Time) bool { return yield(d, labels, bits) })
	}
}

func (w *world) parse(r reading) (key Key, labels []Label) {
	key = parseKey(r.key)
	if r.labels != "" {
		d, _ := Lookup(r.metric)
		kind, _ := Family(d.ID)
		labels = SplitLabels(kind, r.labels)
	}
	return key, labels
}

func parseKey(s string) (key Key) {
	for part := range strings.SplitSeq(s, "/") {
		what, name, _ := strings.Cut(part, ":")
		switch what {
		case "node":
			key.Kind, key.Node = Node, name
		case "namespace":
			key.Kind, key.Namespace = Namespace, name
		case "pod":
			key.Kind, key.Pod = Pod, name
		case "container":
			key.Container = name
			if key.Kind = Container; key.Node != "" {
				key.Kind = SystemContainer
			}
		}
	}
	return key
}

func TestModelIsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"write": w.write, "write2": w.write, "write3": w.write, "write4": w.write, "lose": w.lose,
			"restart": w.restart, "resume": w.resume, "restore": w.restore, "": w.check,
		})
	})
}
