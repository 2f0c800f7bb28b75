package objects

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// fakeFeed is a snapshot and its feed, as Redis would keep them.
type fakeFeed struct {
	mu      sync.Mutex
	objects map[object.Key]string // bodies
	entries []object.FeedEntry
	first   int // entries before were trimmed
	n       int
	lineage string
	synced  bool
	down    error
	silent  bool   // trimmed entries are passed over
	noRead  error  // only reading the feed fails
	atScan  func() // called in the midst of the next scan
	scans   int
}

func newFakeFeed() *fakeFeed {
	return &fakeFeed{objects: map[object.Key]string{}, lineage: "l", synced: true}
}

func id(n int) object.LogID {
	if n == 0 {
		return ""
	}
	return object.LogID(fmt.Sprintf("7-%d", n))
}

// set publishes changes in one entry; a body of "" is a deletion.
func (f *fakeFeed) set(bodies map[object.Key]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	entry := object.FeedEntry{ID: id(f.n), Prev: id(f.n - 1), Lineage: f.lineage, Freshness: object.Freshness{StreamedAt: time.Now().UTC()}}
	for key, body := range bodies {
		change := object.Change{Type: object.Modified, Object: object.Packed{Head: object.Head{Key: key}, Data: []byte(body)}}
		if body == "" {
			change.Type = object.Deleted
			delete(f.objects, key)
		} else {
			f.objects[key] = body
		}
		entry.Changes = append(entry.Changes, change)
	}
	entry.Objects = int64(len(f.objects))
	f.entries = append(f.entries, entry)
}

func (f *fakeFeed) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

func (f *fakeFeed) State(context.Context) (object.SnapshotState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return object.SnapshotState{}, f.down
	}
	return object.SnapshotState{Synced: f.synced, Lineage: f.lineage, Tail: id(f.n), Objects: int64(len(f.objects)), Freshness: object.Freshness{StreamedAt: time.Now().UTC()}}, nil
}

func (f *fakeFeed) Scan(context.Context) iter.Seq2[object.Record, error] {
	return func(yield func(object.Record, error) bool) {
		f.mu.Lock()
		all, atScan := maps.Clone(f.objects), f.atScan
		f.atScan = nil
		f.scans++
		f.mu.Unlock()
		for key, body := range all {
			if atScan != nil {
				atScan()
				atScan = nil // once a scan
			}
			r, err := f.unpack(key, body)
			if !yield(r, err) {
				return
			}
		}
	}
}

func (f *fakeFeed) unpack(key object.Key, body string) (object.Record, error) {
	r := object.Record{Head: object.Head{Key: key}, Body: []byte(body)}
	if body == "broken" {
		return r, object.ErrUnreadable
	}
	return r, nil
}

func (f *fakeFeed) Unpack(_ context.Context, p object.Packed) (object.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return object.Record{}, f.down
	}
	return f.unpack(p.Key, string(p.Data))
}

func (f *fakeFeed) Read(ctx context.Context, after object.LogID, wait time.Duration) ([]object.FeedEntry, error) {
	from := 0
	if after != "" {
		_, n := splitID(after)
		from = int(n)
	}
	for deadline := time.Now().Add(wait); ; {
		f.mu.Lock()
		down, first, silent := cmp.Or(f.down, f.noRead), f.first, f.silent
		var entries []object.FeedEntry
		if from < f.n {
			entries = slices.Clone(f.entries[max(from, first):min(f.n, max(from, first)+3)])
		}
		f.mu.Unlock()
		switch {
		case down != nil:
			return nil, down
		case from < first && !silent:
			return nil, object.ErrExpired
		case len(entries) > 0 || time.Now().After(deadline) || ctx.Err() != nil:
			return entries, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func podBody(namespace, name, node string) (object.Key, string) {
	return object.Key{Namespace: namespace, Name: name},
		fmt.Sprintf(`{"metadata":{"name":%q,"namespace":%q},"spec":{"nodeName":%q}}`, name, namespace, node)
}

// follows runs Objects over the feeds while story runs.
func follows(t *testing.T, feeds Feeds, log io.Writer, story func(o *Objects)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		o := FromSnapshots(feeds, slog.New(slog.NewTextHandler(log, nil)))
		done := make(chan error)
		go func() { done <- o.Run(ctx) }()
		story(o)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func three() (Feeds, *fakeFeed) {
	pods, nodes, namespaces := newFakeFeed(), newFakeFeed(), newFakeFeed()
	nodes.set(map[object.Key]string{{Name: "b"}: `{"metadata":{"name":"b"}}`, {Name: "a"}: `{"metadata":{"name":"a"}}`})
	namespaces.set(map[object.Key]string{{Name: "ns"}: `{"metadata":{"name":"ns","uid":"u"}}`})
	return Feeds{pods, nodes, namespaces}, pods
}

// known lists the pods as "namespace/name@node", and checks that they stand by node.
func known(t *testing.T, o *Objects) string {
	t.Helper()
	var names []string
	o.Read(func(v *View) {
		onNodes := 0
		for p := range v.Pods() {
			names = append(names, p.Namespace+"/"+p.Name+"@"+p.Node)
			if v.Pod(p.Namespace, p.Name) != p || p.Node != "" && !slices.Contains(v.PodsOn(p.Node), p) {
				t.Errorf("%s is not found", p.Name)
			}
		}
		for _, pods := range v.onNode {
			onNodes += len(pods)
		}
		if pods, _, _ := v.Counts(); onNodes > pods {
			t.Errorf("%d pods on nodes, of %d", onNodes, pods)
		}
	})
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestFollow(t *testing.T) {
	feeds, pods := three()
	set := func(namespace, name, node string) {
		key, body := podBody(namespace, name, node)
		pods.set(map[object.Key]string{key: body})
	}
	set("ns", "p", "a")
	check := func(o *Objects, want string) {
		t.Helper()
		time.Sleep(12 * time.Second)
		if got := known(t, o); got != want {
			t.Errorf("pods are %q, want %q", got, want)
		}
	}
	pods.atScan = func() { set("ns", "q", "b") } // comes while the snapshot is read
	follows(t, feeds, io.Discard, func(o *Objects) {
		if o.Synced() || len(o.Unsynced()) != 3 {
			t.Error("synced before anything was read")
		}
		check(o, "ns/p@a ns/q@b")
		if !o.Synced() || o.Age() > 6*time.Second {
			t.Errorf("synced: %v, age %v", o.Synced(), o.Age())
		}
		o.Read(func(v *View) {
			if nodes := v.Nodes(); len(nodes) != 2 || nodes[0].Name != "a" || v.Node("b") != nodes[1] || v.Namespace("ns").UID != "u" {
				t.Errorf("nodes are %v", nodes)
			}
		})
		set("ns", "p", "b") // moved
		pods.set(map[object.Key]string{{Namespace: "ns", Name: "q"}: "", {Namespace: "ns", Name: "x"}: "broken"})
		check(o, "ns/p@b")
		if pods.scans != 1 {
			t.Errorf("the snapshot was read %d times, want once", pods.scans)
		}
		pods.change(func() { pods.down = errors.New("redis is away") })
		set("ns", "r", "a")
		check(o, "ns/p@b")
		if age := o.Age(); age < 5*time.Second {
			t.Errorf("age is %v although Redis is away", age)
		}
		pods.change(func() { pods.down = nil })
		check(o, "ns/p@b ns/r@a")
		// The feed was trimmed beyond what we read.
		pods.change(func() { pods.down = errors.New("redis is away") })
		set("ns", "r", "")
		set("ns", "s", "a")
		pods.change(func() { pods.down, pods.first = nil, pods.n-1 })
		check(o, "ns/p@b ns/r@ ns/s@a")
		// Redis lost everything, and there is another history.
		pods.change(func() { pods.synced, pods.n, pods.entries, pods.first = false, 0, nil, 0; clear(pods.objects) })
		check(o, "ns/p@b ns/r@ ns/s@a")
		set("other", "t", "a")
		pods.change(func() { pods.synced, pods.lineage = true, "l2" })
		check(o, "other/t@a")
	})
}

// Without a snapshot of pods that is told once a minute, and the rest is known.
func TestFollowWithoutPods(t *testing.T) {
	feeds, pods := three()
	pods.down = object.ErrNotSynced
	var log strings.Builder
	follows(t, feeds, &log, func(o *Objects) {
		time.Sleep(150 * time.Second)
		if got := strings.Join(o.Unsynced(), " "); got != "pods" {
			t.Errorf("unsynced: %q", got)
		}
	})
	if n := strings.Count(log.String(), "keeps no snapshot"); n != 3 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

// Nothing is shown of a scan before the feed has brought what changed meanwhile; and
// a feed that jumps, or goes back in silence, is not followed any further.
func TestFollowOnlyWhatFits(t *testing.T) {
	feeds, pods := three()
	set := func(name, node string) {
		key, body := podBody("ns", name, node)
		pods.set(map[object.Key]string{key: body})
	}
	set("p", "a")
	pods.atScan = func() {
		set("q", "a")
		pods.change(func() { pods.noRead = errors.New("redis is slow") })
	}
	check := func(o *Objects, want string) {
		t.Helper()
		time.Sleep(20 * time.Second)
		if got := known(t, o); got != want {
			t.Errorf("pods are %q, want %q", got, want)
		}
	}
	follows(t, feeds, io.Discard, func(o *Objects) {
		check(o, "")
		pods.change(func() { pods.noRead = nil })
		check(o, "ns/p@a ns/q@a")
		pods.change(func() { pods.noRead = errors.New("redis is slow") })
		set("p", "b")
		set("q", "b")
		pods.change(func() { pods.noRead, pods.silent, pods.first = nil, true, pods.n-1 })
		check(o, "ns/p@b ns/q@b")
		pods.change(func() {
			pods.silent, pods.first, pods.n, pods.entries = false, 0, 1, pods.entries[:1]
			key, body := podBody("ns", "p", "a")
			clear(pods.objects)
			pods.objects[key] = body
		})
		check(o, "ns/p@a")
	})
}

// A number of objects that is not the snapshot's is mended by reading it anew.
func TestFollowHeals(t *testing.T) {
	feeds, pods := three()
	key, body := podBody("ns", "p", "a")
	follows(t, feeds, io.Discard, func(o *Objects) {
		time.Sleep(time.Second)
		pods.change(func() {
			pods.objects[object.Key{Namespace: "ns", Name: "lost"}] = strings.ReplaceAll(body, `"p"`, `"lost"`)
		})
		pods.set(map[object.Key]string{key: body})
		time.Sleep(time.Second)
		if got := known(t, o); got != "ns/lost@a ns/p@a" {
			t.Errorf("pods are %q", got)
		}
	})
}

// Whatever happens in whatever order, the view is in the end what was set.
func TestViewIsWhatWasSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, want := newView(), map[podKey]string{}
		nodes := map[string]bool{}
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			p := &Pod{Namespace: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "namespace"), Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name"), Node: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "node")}
			switch rapid.IntRange(0, 3).Draw(t, "do") {
			case 0:
				v.deletePod(p.Namespace, p.Name)
				delete(want, podKey{p.Namespace, p.Name})
			case 1:
				v.setNode(&Node{Name: "n" + p.Node})
				nodes["n"+p.Node] = true
			case 2:
				v.deleteNode("n" + p.Node)
				delete(nodes, "n"+p.Node)
			default:
				v.setPod(p)
				want[podKey{p.Namespace, p.Name}] = p.Node
			}
		}
		count := 0
		for _, node := range []string{"1", "2"} {
			for _, p := range v.PodsOn(node) {
				if want[podKey{p.Namespace, p.Name}] != node {
					t.Fatalf("%+v is on node %s", p, node)
				}
				count++
			}
		}
		for key, node := range want {
			if p := v.Pod(key.namespace, key.name); p == nil || p.Node != node {
				t.Fatalf("%v is %+v", key, p)
			}
			if node == "" {
				count++
			}
		}
		if pods, _, _ := v.Counts(); pods != len(want) || count != len(want) {
			t.Fatalf("%d pods, %d by node, want %d", pods, count, len(want))
		}
		var names []string
		for _, n := range v.Nodes() {
			names = append(names, n.Name)
		}
		if !slices.Equal(names, slices.Sorted(maps.Keys(nodes))) {
			t.Fatalf("nodes are %v, want %v", names, nodes)
		}
	})
}

// fakeInformers tells of one pod, and then of its deletion.
type fakeInformers struct{}

func (fakeInformers) FollowPods(ctx context.Context, to Sink[*corev1.Pod]) error {
	pod := func(name string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Spec: corev1.PodSpec{NodeName: "a"}}
	}
	to.Replace([]*corev1.Pod{pod("gone")})
	to.Replace([]*corev1.Pod{pod("p"), pod("q")})
	to.Set(pod("r"))
	to.Delete("ns", "q")
	<-ctx.Done()
	return ctx.Err()
}

func (fakeInformers) FollowNodes(ctx context.Context, to Sink[*corev1.Node]) error {
	to.Replace(nil)
	to.Set(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "a"}})
	<-ctx.Done()
	return ctx.Err()
}

func (fakeInformers) FollowNamespaces(ctx context.Context, to Sink[*corev1.Namespace]) error {
	<-ctx.Done()
	return nil
}

func TestFromInformers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		o := FromInformers(fakeInformers{}, slog.New(slog.DiscardHandler))
		done := make(chan error)
		go func() { done <- o.Run(ctx) }()
		time.Sleep(time.Second)
		if got := known(t, o); got != "ns/p@a ns/r@a" {
			t.Errorf("pods are %q", got)
		}
		if got := strings.Join(o.Unsynced(), " "); got != "namespaces" || o.Age() != time.Second {
			t.Errorf("unsynced %q, age %v", got, o.Age())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
