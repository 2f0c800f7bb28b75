package mirror

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// story runs f in a bubble with a mirror of feed that polls quickly.
func story(t *testing.T, f func(t *testing.T, feed *fakeFeed, m *Mirror)) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFakeFeed()
		m := New(pods, feed, Options{Wait: time.Second}, quiet())
		f(t, feed, m)
	})
}

func wantRoot(t *testing.T, m *Mirror, version string, want ...string) {
	t.Helper()
	root := m.Root()
	if root == nil {
		t.Fatalf("no root; status %+v", m.Status())
	}
	if diff := cmp.Diff(want, contentsOf(root)); diff != "" || string(root.Freshness.Streamed) != version {
		t.Fatalf("root is of version %s, want %s (-want +got):\n%s", root.Freshness.Streamed, version, diff)
	}
}

func TestMirrorFollows(t *testing.T) {
	story(t, func(t *testing.T, feed *fakeFeed, m *Mirror) {
		feed.put("10", "b/x", "a/x", "a-b/x")
		defer run(m)()
		time.Sleep(100 * time.Millisecond)
		wantRoot(t, m, "10", "a-b/x=10", "a/x=10", "b/x=10")
		root := m.Root()
		feed.put("11", "a/y")
		synctest.Wait()
		wantRoot(t, m, "11", "a-b/x=10", "a/x=10", "a/y=11", "b/x=10")
		if now := m.Root(); now.Load != root.Load || root.Len() != 3 || feed.scans != 1 {
			t.Errorf("load %d then %d, old root has %d objects, %d scans", root.Load, now.Load, root.Len(), feed.scans)
		}
		var inA []string
		for o := range m.Root().All("a") {
			inA = append(inA, o.path)
		}
		if diff := cmp.Diff([]string{"a/x", "a/y"}, inA); diff != "" {
			t.Errorf("objects of namespace a (-want +got):\n%s", diff)
		}
		o, ok := m.Root().Get(object.Key{Namespace: "a", Name: "y"})
		if !ok || o.UID != "uid-a/y" || o.Labels.Get("v") != "11" {
			t.Errorf("Get(a/y) = %+v, %v", o, ok)
		}
		if _, ok := m.Root().Get(object.Key{Namespace: "a", Name: "none"}); ok {
			t.Error("an object that is not there was found")
		}
	})
}

func TestMirrorWaitsForTheFirstCompleteList(t *testing.T) {
	story(t, func(t *testing.T, feed *fakeFeed, m *Mirror) {
		defer run(m)()
		time.Sleep(time.Second)
		if got := m.Status().Progress(); m.Root() != nil || got != "waiting for the first complete snapshot" {
			t.Errorf("progress %q, root %v", got, m.Root())
		}
		begin := entryOf("one", "", "a/x")
		begin.Hold = true
		feed.publish(begin, func(s *object.SnapshotState) {
			s.Synced, s.Resyncing, s.Received, s.Expect = false, true, 1200, 5000
		})
		time.Sleep(time.Second)
		if got := m.Status().Progress(); m.Root() != nil || got != "syncing 1200 of about 5000" {
			t.Errorf("progress %q, root %v", got, m.Root())
		}
		feed.put("20", "a/y")
		time.Sleep(time.Second)
		wantRoot(t, m, "20", "a/x=", "a/y=20")
		if got := m.Status(); got.Progress() != "" || got.Phase != PhaseFollowing || got.SyncedAt.IsZero() {
			t.Errorf("status %+v", got)
		}
	})
}

func TestMirrorHoldsWhatIsInBetween(t *testing.T) {
	story(t, func(t *testing.T, feed *fakeFeed, m *Mirror) {
		feed.put("10", "a/x")
		held := entryOf("one", "10", "a/y")
		held.Hold = true
		feed.publish(held, nil)
		defer run(m)() // it begins between two states
		time.Sleep(10 * time.Second)
		if m.Root() != nil {
			t.Fatalf("a state in between is shown: %v", contentsOf(m.Root()))
		}
		barrier := entryOf("one", "12", "a/z")
		barrier.Barrier = "12"
		feed.publish(barrier, nil)
		time.Sleep(time.Second)
		wantRoot(t, m, "12", "a/x=10", "a/y=10", "a/z=12")
		if m.Root().Barrier != "12" {
			t.Errorf("barrier %q, want 12", m.Root().Barrier)
		}
	})
}

func TestMirrorServesOnWithoutRedis(t *testing.T) {
	story(t, func(t *testing.T, feed *fakeFeed, m *Mirror) {
		feed.put("10", "a/x")
		defer run(m)()
		time.Sleep(time.Second)
		feed.setDown(true)
		time.Sleep(time.Minute)
		wantRoot(t, m, "10", "a/x=10")
		if err := m.Err(); err == nil || !strings.Contains(err.Error(), "connection refused") || time.Since(m.Status().ErrSince) < 50*time.Second {
			t.Errorf("status %+v", m.Status())
		}
		feed.setDown(false)
		feed.put("11", "a/y")
		time.Sleep(10 * time.Second)
		wantRoot(t, m, "11", "a/x=10", "a/y=11")
		if m.Err() != nil || feed.scans != 1 {
			t.Errorf("err %v, %d scans", m.Err(), feed.scans)
		}
	})
}

func TestMirrorKeepsItsStateWhenRedisComesBackEmpty(t *testing.T) {
	story(t, func(t *testing.T, feed *fakeFeed, m *Mirror) {
		feed.put("10", "a/x")
		defer run(m)()
		time.Sleep(time.Second)
		feed.do(func(r *redis) { *r = redis{} })
		feed.takeOver()
		time.Sleep(time.Minute)
		wantRoot(t, m, "10", "a/x=10")
		if status := m.Status(); status.Phase != PhaseWaiting || status.Reason != "empty" {
			t.Errorf("status %+v", status)
		}
		feed.publish(entryOf("two", "3", "a/z"), nil)
		time.Sleep(time.Second)
		wantRoot(t, m, "3", "a/z=3")
		if root := m.Root(); root.Lineage != "two" {
			t.Errorf("lineage %q", root.Lineage)
		}
	})
}

func TestMirrorDoesNotGoBackWithRedis(t *testing.T) {
	story(t, func(t *testing.T, feed *fakeFeed, m *Mirror) {
		feed.put("10", "a/x")
		before := feed.redis.clone()
		feed.put("20", "a/x")
		defer run(m)()
		time.Sleep(time.Second)
		feed.do(func(r *redis) { *r = before })
		feed.takeOver()
		feed.put("15", "a/y")
		time.Sleep(10 * time.Second)
		wantRoot(t, m, "20", "a/x=20")
		if m.Status().Phase != PhaseCatchingUp {
			t.Errorf("status %+v", m.Status())
		}
		feed.put("20", "a/x")
		time.Sleep(time.Second)
		wantRoot(t, m, "20", "a/x=20", "a/y=15")
	})
}

func TestMirrorHealsAWrongNumberOfObjects(t *testing.T) {
	story(t, func(t *testing.T, feed *fakeFeed, m *Mirror) {
		feed.put("10", "a/x")
		defer run(m)()
		time.Sleep(time.Second)
		feed.do(func(r *redis) { r.snapshot[object.Key{Namespace: "a", Name: "lost"}] = record("a/lost", "9") })
		feed.put("11", "a/y")
		time.Sleep(time.Second)
		wantRoot(t, m, "11", "a/lost=9", "a/x=10", "a/y=11")
		feed.do(func(r *redis) { r.feed[len(r.feed)-1].Objects = 7 }) // the number itself is wrong: no second time
		wrong := entryOf("one", "12", "a/z")
		feed.publish(wrong, nil)
		time.Sleep(time.Second)
		wantRoot(t, m, "12", "a/lost=9", "a/x=10", "a/y=11", "a/z=12")
		if feed.scans != 2 {
			t.Errorf("%d scans, want 2", feed.scans)
		}
	})
}

func TestOneUnreadableObjectDoesNotKeepTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, asked := newFakeFeed(), 0
		options := Options{Wait: time.Second, OnUnreadable: func(context.Context, object.Resource) { asked++ }}
		broken := entryOf("one", "11", "a/y")
		broken.Changes[0].Object.Data = []byte("no JSON")

		following := New(pods, feed, options, quiet())
		feed.put("10", "a/x", "a/y")
		defer run(following)()
		time.Sleep(100 * time.Millisecond)
		feed.publish(broken, nil)
		synctest.Wait()
		wantRoot(t, following, "11", "a/x=10")

		loading := New(pods, feed, options, quiet())
		defer run(loading)()
		time.Sleep(100 * time.Millisecond)
		wantRoot(t, loading, "11", "a/x=10")
		if asked < 2 {
			t.Errorf("a full verification was asked for %d times, want once by each mirror", asked)
		}
		if n := testutil.ToFloat64(loading.metrics.broken); n < 1 {
			t.Errorf("krm_mirror_unreadable_total is %v", n)
		}

		feed.put("12", "a/y") // as the repair does
		synctest.Wait()
		wantRoot(t, following, "12", "a/x=10", "a/y=12")
		wantRoot(t, loading, "12", "a/x=10", "a/y=12")
	})
}

func TestMirrorMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewPedanticRegistry()
		feed := newFakeFeed()
		m := New(pods, feed, Options{Metrics: NewMetrics(registry)}, quiet())
		feed.put("10", "a/x")
		stop := run(m)
		time.Sleep(time.Second)
		entry := entryOf("one", "11", "a/x", "a/y", "a/z")
		entry.Changes[0].Object.SeenAt = time.Now().Add(-3 * time.Millisecond)
		entry.Changes[1].Object.SeenAt = time.Now().Add(time.Hour)
		entry.Changes[2].Object.SeenAt = time.Time{}
		feed.publish(entry, nil)
		time.Sleep(2 * time.Second)
		want := `
# HELP krm_mirror_age_seconds Time since the served state was last known to be current.
# TYPE krm_mirror_age_seconds gauge
krm_mirror_age_seconds{resource="pods"} 2
# HELP krm_mirror_applied_total Changes of the feed applied after the snapshot was read.
# TYPE krm_mirror_applied_total counter
krm_mirror_applied_total{resource="pods"} 3
# HELP krm_mirror_clock_skew_total Changes that were seen in the future of this process's clock; their delay counts as 0.
# TYPE krm_mirror_clock_skew_total counter
krm_mirror_clock_skew_total{resource="pods"} 1
# HELP krm_mirror_objects Objects in the state that is served.
# TYPE krm_mirror_objects gauge
krm_mirror_objects{resource="pods"} 3
# HELP krm_mirror_position The resourceVersion up to which the served state is complete.
# TYPE krm_mirror_position gauge
krm_mirror_position{resource="pods"} 11
# HELP krm_mirror_reloads_total How often a snapshot was read whole, by reason; the first time is start.
# TYPE krm_mirror_reloads_total counter
krm_mirror_reloads_total{reason="start",resource="pods"} 1
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "krm_mirror_age_seconds", "krm_mirror_applied_total",
			"krm_mirror_clock_skew_total", "krm_mirror_objects", "krm_mirror_position", "krm_mirror_reloads_total"); err != nil {
			t.Error(err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() != "krm_mirror_delay_seconds" {
				continue
			}
			h := family.GetMetric()[0].GetHistogram()
			if h.GetSampleCount() != 2 || h.GetSampleSum() != 0.003 {
				t.Errorf("delays %v", h)
			}
		}
		stop()
		if n := testutil.CollectAndCount(m.options.Metrics, "krm_mirror_objects"); n != 0 {
			t.Error("a mirror that ended still reports objects")
		}
	})
}

// A pod of 5 KB takes at most 8 KB, whatever backs the record's bytes.
func TestMemoryPerPod(t *testing.T) {
	const pods5K = 2000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d := newDraft(object.SnapshotState{}, 1)
	for i := range pods5K {
		name := fmt.Sprintf("web-6d4cf56db6-%05d", i)
		body := append(make([]byte, 0, 16<<10), podBody("default", name, "123456")...)
		o, err := newObject(object.Record{
			Head: object.Head{Key: object.Key{Namespace: "default", Name: name}, UID: "0f8fad5b-d9cb-469f-a165-70867728950e", Version: "123456"},
			Body: body, Cells: []byte(strings.Repeat("c", 240)),
		}, true)
		if err != nil {
			t.Fatal(err)
		}
		d.set(o)
	}
	root := d.root(pods)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each, estimated := (after.HeapAlloc-before.HeapAlloc)/pods5K, root.Bytes/pods5K
	t.Logf("%d bytes a pod, estimated %d, body %d", each, estimated, len(podBody("default", "x", "1")))
	if each > 8<<10 {
		t.Errorf("%d bytes a pod, want at most 8 KB", each)
	}
	if estimated < int64(each)*3/4 || estimated > int64(each)*5/4 {
		t.Errorf("estimate of %d bytes a pod is far from %d", estimated, each)
	}
	runtime.KeepAlive(root)
}

func TestIDs(t *testing.T) {
	f := func(a, b object.LogID, want int) {
		t.Helper()
		if got := compareID(a, b); got != want {
			t.Errorf("compareID(%q, %q) = %d, want %d", a, b, got, want)
		}
		if got := compareID(b, a); got != -want {
			t.Errorf("compareID(%q, %q) = %d, want %d", b, a, got, -want)
		}
	}
	f("", "", 0)
	f("", "1-1", -1)
	f("9-5", "10-1", -1)
	f("10-9", "10-10", -1)
	f("1732200000000-7", "1732200000000-7", 0)
	for id, want := range map[object.LogID]object.LogID{"": "", "5-2": "5-1", "5-1": "5-0", "5-0": "4-18446744073709551615"} {
		if got := beforeID(id); got != want {
			t.Errorf("beforeID(%q) = %q, want %q", id, got, want)
		}
	}
}

// BenchmarkApply applies entries of 256 changes to a mirror of 10,000 pods: one
// operation is one change, scanned, put into the tree, and published with its entry.
func BenchmarkApply(b *testing.B) {
	d := newDraft(object.SnapshotState{}, 1)
	entry := object.FeedEntry{Freshness: object.Freshness{Streamed: "1"}}
	records := make([]object.Record, 10000)
	for i := range records {
		name := fmt.Sprintf("web-6d4cf56db6-%05d", i*7919%len(records))
		records[i] = object.Record{
			Head: object.Head{Key: object.Key{Namespace: "default", Name: name}, UID: "0f8fad5b-d9cb-469f-a165-70867728950e", Version: "123456"},
			Body: podBody("default", name, "123456"),
		}
		o, err := newObject(records[i], true)
		if err != nil {
			b.Fatal(err)
		}
		d.set(o)
	}
	b.SetBytes(int64(len(records[0].Body)))
	b.ReportAllocs()
	objects := make([]*Object, 0, 256)
	for i := 0; b.Loop(); i++ {
		r := records[i%len(records)]
		o, err := newObject(r, true)
		if err != nil {
			b.Fatal(err)
		}
		entry.Changes = append(entry.Changes, object.Change{Type: object.Modified, Object: object.Packed{Head: r.Head}})
		if objects = append(objects, o); len(objects) == 256 {
			d.apply(entry, objects)
			d.root(pods)
			entry.Changes, objects = entry.Changes[:0], objects[:0]
		}
	}
}
