package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// pack packs records as the streamer and the aggregator pass them on.
func (w *world) pack(records ...object.Record) []object.Packed {
	w.t.Helper()
	p, err := newPacker(nil)
	w.check(err)
	packed := make([]object.Packed, len(records))
	for i, r := range records {
		packed[i] = object.Packed{Head: r.Head, Data: p.pack(nil, r)}
	}
	return packed
}

func changes(kind object.EventType, packed ...object.Packed) (changes []object.Change) {
	for _, p := range packed {
		changes = append(changes, object.Change{Type: kind, Object: p})
	}
	return changes
}

// scan returns the snapshot by key.
func (w *world) scan(s *Store) map[object.Key]object.Record {
	w.t.Helper()
	all := map[object.Key]object.Record{}
	for r, err := range s.Feed(podsResource).Scan(w.ctx) {
		w.check(err)
		all[r.Key] = r
	}
	return all
}

func (w *world) heads(a *Snapshot) map[object.Key]object.Head {
	w.t.Helper()
	all := map[object.Key]object.Head{}
	for h, err := range a.Heads(w.ctx) {
		w.check(err)
		all[h.Key] = h
	}
	return all
}

func publishAndRead(t *testing.T, w *world) {
	s := w.store()
	a, f := w.snapshot(s), w.store().Feed(podsResource)
	_, err := f.State(w.ctx)
	w.wantErr(err, object.ErrNotSynced)
	tail, err := f.Tail(w.ctx)
	w.check(err)
	w.equal(tail, object.LogID(""))

	records := newPods(1).records(5)
	p := w.pack(records...)
	columns := []object.Column{{Name: "Name", Type: "string"}, {Name: "Ready", Priority: 1}}
	freshness := object.Freshness{Streamed: "105", StreamedAt: at(1), Verified: "100", VerifiedAt: at(0)}
	state := object.SnapshotState{
		Synced: true, Lineage: "a", Freshness: freshness, Objects: 5, LastDrift: object.Drift{Ghost: 2}, Verified: 3, Late: 1,
		Checkpoint: "1795-3", Received: 5, Expect: 6, Barrier: "99", Listed: "l1", Columns: columns,
	}
	first := object.Publication{
		State: state, Drift: object.Drift{Missing: 1, Stale: 2},
		Entry: object.FeedEntry{Hold: true, Barrier: "99", Lineage: "a", Freshness: freshness, Objects: 5, Columns: columns, Changes: changes(object.Added, p...)},
	}
	id1, err := a.Publish(w.ctx, first)
	w.check(err)

	// Pod 0 goes, pod 1 is deleted and made anew, of pod 2 the deletion was not seen.
	gone := p[0]
	gone.Deleted, gone.Version = true, "99999"
	recreated := p[1]
	recreated.UID = "another"
	unseen := object.Packed{Head: object.Head{Key: p[2].Key, UID: p[2].UID, Version: "99998", Deleted: true}}
	old := p[1]
	old.Deleted = true
	state.Objects, state.Columns, state.Listed = 3, columns, "l2"
	second := object.Publication{
		State: state, Drift: object.Drift{Missing: 4, Ghost: 1, Altered: 7},
		Tombstones: []object.Head{gone.Head, unseen.Head},
		Entry: object.FeedEntry{Lineage: "a", Freshness: freshness, Objects: 3, Changes: []object.Change{
			{Type: object.Deleted, Object: gone},
			{Type: object.Deleted, Object: old},
			{Type: object.Added, Object: recreated},
			{Type: object.Deleted, Object: unseen},
		}},
	}
	id2, err := a.Publish(w.ctx, second)
	w.check(err)

	got, err := f.State(w.ctx)
	w.check(err)
	want := state
	want.Tail, want.Drift = id2, object.Drift{Missing: 5, Stale: 2, Ghost: 1, Altered: 7}
	w.equal(got, want)
	tail, err = f.Tail(w.ctx)
	w.check(err)
	w.equal(tail, id2)

	remade := records[1]
	remade.UID = "another"
	w.equal(w.scan(s), map[object.Key]object.Record{remade.Key: remade, records[3].Key: records[3], records[4].Key: records[4]})
	w.equal(w.heads(a), map[object.Key]object.Head{
		gone.Key: gone.Head, unseen.Key: unseen.Head,
		remade.Key: remade.Head, records[3].Key: records[3].Head, records[4].Key: records[4].Head,
	})

	entries, err := f.Read(w.ctx, "", 0)
	w.check(err)
	wantFirst, wantSecond := first.Entry, second.Entry
	wantFirst.ID, wantSecond.ID, wantSecond.Prev = id1, id2, id1
	w.equal(entries, []object.FeedEntry{wantFirst, wantSecond})
	r, err := f.Unpack(w.ctx, entries[1].Changes[3].Object)
	w.check(err)
	w.equal(r, object.Record{Head: unseen.Head})
	entries, err = f.Read(w.ctx, id2, 0)
	w.check(err)
	w.equal(len(entries), 0)

	_, err = a.Publish(w.ctx, object.Publication{State: state, Forgotten: []object.Key{gone.Key, unseen.Key}})
	w.check(err)
	w.equal(len(w.heads(a)), 3)

	// The next tenure goes on from here, counters included.
	w.check(a.Release(w.ctx))
	got, err = w.store().Snapshot(podsResource).Acquire(w.ctx)
	w.check(err)
	want.Tail = got.Tail
	w.equal(got, want)
}

func publishRetryOnce(t *testing.T, w *world) {
	s := w.store()
	a := w.snapshot(s)
	b := &breaker{}
	s.client.AddHook(b)
	publication := object.Publication{Drift: object.Drift{Missing: 1}, Entry: object.FeedEntry{Changes: changes(object.Added, w.pack(newPods(1).records(3)...)...)}}
	for _, b.deaf = range []bool{true, false} {
		b.broken = !b.deaf
		_, err := a.Publish(w.ctx, publication)
		w.wantErr(err, errBroken)
		b.deaf, b.broken = false, false
		_, err = a.Publish(w.ctx, publication)
		w.check(err)
	}
	// Another publication after an unfinished one comes behind it.
	b.deaf = true
	_, err := a.Publish(w.ctx, publication)
	w.wantErr(err, errBroken)
	b.deaf = false
	publication.Drift.Missing = 10
	_, err = a.Publish(w.ctx, publication)
	w.check(err)

	state, err := s.Feed(podsResource).State(w.ctx)
	w.check(err)
	w.equal(state.Drift.Missing, int64(13))
	entries, err := s.Feed(podsResource).Read(w.ctx, "", 0)
	w.check(err)
	w.equal(len(entries), 4)
	w.equal(len(w.scan(s)), 3)
}

func largePublication(t *testing.T, w *world) {
	s := w.store()
	a := w.snapshot(s)
	const n = 2000
	var packed []object.Packed
	var tombstones []object.Head
	var forgotten []object.Key
	for i := range n {
		key := object.Key{Namespace: "a", Name: "n" + strconv.Itoa(i)}
		packed = append(packed, object.Packed{Head: object.Head{Key: key, Version: "5"}, Data: []byte("data")})
		key.Namespace = "b"
		tombstones = append(tombstones, object.Head{Key: key, Version: "5", Deleted: true})
		forgotten = append(forgotten, key)
	}
	_, err := a.Publish(w.ctx, object.Publication{Tombstones: tombstones, Entry: object.FeedEntry{Changes: changes(object.Added, packed...)}})
	w.check(err)
	w.equal(len(w.heads(a)), 2*n)
	_, err = a.Publish(w.ctx, object.Publication{Forgotten: forgotten, Entry: object.FeedEntry{Changes: changes(object.Deleted, packed...)}})
	w.check(err)
	w.equal(len(w.heads(a)), 0)
	entries, err := s.Feed(podsResource).Read(w.ctx, "", 0)
	w.check(err)
	w.equal(len(entries[1].Changes), n)
}

func feedCap(t *testing.T, w *world) {
	s := w.store(func(o *Options) { o.FeedMaxBytes = 10_000 })
	a, f := w.snapshot(s), s.Feed(podsResource)
	packed := w.pack(newPods(1).records(1)...)
	for range 12 {
		_, err := a.Publish(w.ctx, object.Publication{Entry: object.FeedEntry{Changes: changes(object.Added, packed...)}})
		w.check(err)
	}
	entries, err := f.Read(w.ctx, "", 0)
	w.check(err)
	if len(entries) < 2 || len(entries) > 5 {
		t.Fatalf("%d entries left", len(entries))
	}
	n, bytes := a.ring.size()
	w.equal(n, len(entries))
	if bytes > 10_000 {
		t.Errorf("%d bytes", bytes)
	}
	w.check(a.Release(w.ctx))
	a = w.snapshot(s)
	again, bytesAgain := a.ring.size()
	w.equal(again, n)
	w.equal(bytesAgain, bytes)
}

func hashes(t *testing.T, w *world) {
	s := w.store()
	a := w.snapshot(s)
	records := newPods(1).records(3)
	packed := w.pack(records...)
	packed[1].Data = []byte{1, 0, 0, 0, 0, 9, 9}           // garbage
	packed[2].Data = []byte{1, 7, 7, 7, 7, 0x28, 0xb5, 47} // by a dictionary that nobody has
	_, err := a.Publish(w.ctx, object.Publication{Entry: object.FeedEntry{Changes: changes(object.Added, packed...)}})
	w.check(err)
	got := map[object.Key]object.ListedItem{}
	for item, err := range a.Hashes(w.ctx) {
		w.check(err)
		got[item.Key] = item
	}
	want := map[object.Key]object.ListedItem{}
	for i, r := range records {
		item := object.ListedItem{Key: r.Key, UID: r.UID, Version: r.Version}
		if i == 0 {
			item.Hash = object.Hash(r.Body)
		}
		want[r.Key] = item
	}
	w.equal(got, want)
}

func listedAtomic(t *testing.T, w *world) {
	s := w.store()
	v, a := w.listing(s), s.Snapshot(podsResource)
	_, ok, err := a.Listed(w.ctx, "")
	w.check(err)
	w.equal(ok, false)
	make := func(round, n int) object.Listed {
		l := object.Listed{ID: "id" + strconv.Itoa(round), Version: "105", At: at(3), After: "99", Lineage: "a", ClusterUID: "u", Full: true}
		for i := range n {
			key := object.Key{Namespace: "ns", Name: fmt.Sprintf("%d-%d", round, i)}
			l.Items = append(l.Items, object.ListedItem{Key: key, UID: "u" + strconv.Itoa(i), Version: object.Version(strconv.Itoa(i + 1)), Hash: uint64(i) << 40})
		}
		return l
	}
	f := func(l object.Listed) {
		t.Helper()
		w.check(v.Put(w.ctx, l))
		w.check(v.Put(w.ctx, l)) // again is once
		got, ok, err := a.Listed(w.ctx, "other")
		w.check(err)
		w.equal(ok, true)
		w.equal(got, l)
		_, ok, err = a.Listed(w.ctx, l.ID)
		w.check(err)
		w.equal(ok, false)
	}
	f(make(1, 3))
	f(make(2, 0))
	f(make(3, 2*listedChunk+5))
	left, err := s.client.Keys(w.ctx, a.keys.base+"listed:*").Result()
	w.check(err)
	w.equal(left, []string{a.keys.listedMeta})

	// Readers beside a writer see one statement or another, never parts of both.
	ctx, cancel := context.WithCancel(w.ctx)
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				got, _, err := a.Listed(ctx, "")
				if ctx.Err() != nil || errors.Is(err, errReplaced) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				for _, item := range got.Items {
					if "id"+item.Key.Name[:1] != got.ID {
						t.Errorf("%v in %s", item.Key, got.ID)
						return
					}
				}
			}
		})
	}
	for round := range 20 {
		w.check(v.Put(w.ctx, make(round%7, (round%3)*listedChunk+round)))
	}
	cancel()
	readers.Wait()
}

func wantsAndBodies(t *testing.T, w *world) {
	s := w.store()
	v, a := w.listing(s), w.snapshot(s)
	records := newPods(1).records(700)
	w.check(w.log(s).Append(w.ctx, itemsOf(records[:100]))) // trains
	var keys []object.Key
	for _, r := range records {
		keys = append(keys, r.Key)
	}
	wants := func(id string, n int, adopted bool) {
		t.Helper()
		got, done, err := v.Wants(w.ctx, id)
		w.check(err)
		w.equal(len(got), n)
		w.equal(done, adopted)
	}
	bodies := func(id string, n int, complete bool) map[object.Key]object.Packed {
		t.Helper()
		got, done, err := a.Bodies(w.ctx, id)
		w.check(err)
		w.equal(len(got), n)
		w.equal(done, complete)
		return got
	}
	w.check(v.Put(w.ctx, object.Listed{ID: "one", Version: "5"}))
	wants("one", 0, false)
	bodies("one", 0, true)
	w.check(a.Want(w.ctx, "stale", keys))
	wants("one", 0, false)
	w.check(a.Want(w.ctx, "one", keys))
	wants("one", 700, false)
	wants("stale", 0, false)
	bodies("one", 0, false)
	w.check(v.PutBodies(w.ctx, "stale", records))
	wants("one", 700, false)
	w.check(v.PutBodies(w.ctx, "one", records[:699]))
	got, _, err := v.Wants(w.ctx, "one")
	w.check(err)
	w.equal(got, keys[699:])
	bodies("one", 0, false)
	w.check(v.PutBodies(w.ctx, "one", records[699:]))
	wants("one", 0, false)
	all := bodies("one", 700, true)
	for _, r := range records {
		unpacked, err := w.store().Feed(podsResource).Unpack(w.ctx, all[r.Key])
		w.check(err)
		w.equal(unpacked, r)
		break
	}
	if size := len(all[keys[1]].Data); size > 1000 {
		t.Errorf("%d bytes: not packed with the log's dictionary", size)
	}
	bodies("stale", 0, false)

	_, err = a.Publish(w.ctx, object.Publication{State: object.SnapshotState{Listed: "one"}})
	w.check(err)
	wants("one", 0, true)
	n, err := s.client.Exists(w.ctx, a.keys.bodies, a.keys.wants).Result()
	w.check(err)
	w.equal(n, int64(0))

	// The next statement begins with nothing.
	w.check(a.Want(w.ctx, "one", keys[:3]))
	w.check(v.PutBodies(w.ctx, "one", records[:1]))
	w.check(v.Put(w.ctx, object.Listed{ID: "two", Version: "6"}))
	wants("two", 0, false)
	bodies("two", 0, true)
}

func asksOnce(t *testing.T, w *world) {
	s := w.store()
	l, v, a := w.log(s), w.listing(s), w.snapshot(s)
	for _, ask := range []object.Ask{object.AskAdvance, object.AskResync, object.AskVerify, object.AskFull, object.AskFull} {
		w.check(a.Ask(w.ctx, ask))
	}
	w.check(s.Ask(w.ctx, podsResource, object.AskAdvance))
	f := func(beat func(context.Context) ([]object.Ask, error), want ...object.Ask) {
		t.Helper()
		got, err := beat(w.ctx)
		w.check(err)
		if !slices.Equal(got, want) {
			t.Errorf("took %v, want %v", got, want)
		}
	}
	f(l.Beat, object.AskAdvance, object.AskResync)
	f(l.Beat)
	f(v.Beat, object.AskVerify, object.AskFull)
	f(v.Beat)
	w.check(s.Ask(w.ctx, podsResource, object.AskCheck))
	f(v.Beat)
	f(l.Beat, object.AskCheck)
}

func registry(t *testing.T, w *world) {
	s := w.store(func(o *Options) { o.Instance = "host-1" })
	other := w.store(func(o *Options) { o.Instance = "host-2" })
	deployments := object.Resource{Group: "apps", Version: "v1", Name: "deployments", Kind: "Deployment"}
	none, err := s.Resources(w.ctx)
	w.check(err)
	w.equal(len(none), 0)
	w.check(s.Log(deployments).Report(w.ctx, object.Status{State: object.StateFollowing}))
	w.check(other.Log(object.Resource{Name: "pods"}).Report(w.ctx, object.Status{State: object.StateStandby}))
	w.check(s.Log(podsResource).Report(w.ctx, object.Status{State: object.StateSyncing, Message: "m"}))
	w.check(s.Snapshot(podsResource).Report(w.ctx, object.Status{State: object.StateFailing, Message: "x"}))
	w.check(s.Snapshot(podsResource).Report(w.ctx, object.Status{State: object.StateFollowing}))
	got, err := s.Resources(w.ctx)
	w.check(err)
	for i := range got {
		for k := range got[i].Statuses {
			if age := time.Since(got[i].Statuses[k].At); age < 0 || age > time.Minute {
				t.Errorf("reported at %v", got[i].Statuses[k].At)
			}
			got[i].Statuses[k].At = time.Time{}
		}
	}
	w.equal(got, []object.Registered{
		{Resource: podsResource, Statuses: []object.Status{
			{Role: object.RoleAggregator, Instance: "host-1", State: object.StateFollowing},
			{Role: object.RoleStreamer, Instance: "host-1", State: object.StateSyncing, Message: "m"},
			{Role: object.RoleStreamer, Instance: "host-2", State: object.StateStandby},
		}},
		{Resource: deployments, Statuses: []object.Status{{Role: object.RoleStreamer, Instance: "host-1", State: object.StateFollowing}}},
	})

	// The dead are buried once someone else does their work, and shown until then.
	dead := object.Status{Role: object.RoleStreamer, Instance: "host-0", State: object.StateFollowing, At: time.Now().Add(-time.Hour).UTC()}
	w.check(s.report(w.ctx, podsResource, dead))
	w.check(s.report(w.ctx, object.Resource{Name: "nodes"}, dead))
	w.log(s)
	got, err = s.Resources(w.ctx)
	w.check(err)
	w.equal(len(got), 3)
	w.equal(got[0].Resource.Name, "nodes")
	w.equal(len(got[1].Statuses), 3)
	n, err := s.client.HLen(w.ctx, s.registry()).Result()
	w.check(err)
	w.equal(n, int64(5))
}

func forget(t *testing.T, w *world) {
	s := w.store()
	l := w.log(s)
	w.check(l.Append(w.ctx, itemsOf(newPods(1).records(100))))
	_, err := w.snapshot(s).Publish(w.ctx, object.Publication{})
	w.check(err)
	w.check(w.listing(s).Put(w.ctx, object.Listed{ID: "a", Items: make([]object.ListedItem, 3)}))
	w.wantErr(s.Forget(w.ctx, podsResource), ErrAlive) // leases
	w.expire()
	w.check(l.Report(w.ctx, object.Status{State: object.StateFollowing}))
	w.wantErr(s.Forget(w.ctx, podsResource), ErrAlive) // heartbeat
	status := object.Status{Role: object.RoleStreamer, Instance: s.options.Instance, At: time.Now().Add(-16 * time.Second)}
	w.check(s.report(w.ctx, podsResource, status))
	w.check(s.report(w.ctx, object.Resource{Name: "nodes"}, status))
	w.check(s.Forget(w.ctx, podsResource))
	keys, err := s.client.Keys(w.ctx, w.prefix+"*").Result()
	w.check(err)
	w.equal(keys, []string{s.registry()})
	got, err := s.Resources(w.ctx)
	w.check(err)
	w.equal(len(got), 1)
	w.wantErr(l.Append(w.ctx, []object.LogItem{position("9", 9)}), object.ErrFenced)
}

func dictionaryElsewhere(t *testing.T, w *world) {
	s := w.store()
	l := w.log(s)
	records := newPods(1).records(200)
	w.check(l.Append(w.ctx, itemsOf(records[:trainLeast-1])))
	w.equal(l.packer.dict, (*dictionary)(nil))
	w.check(l.Append(w.ctx, itemsOf(records)))
	if l.packer.dict == nil {
		t.Fatal("no dictionary")
	}
	other := w.store()
	entries := w.readAll(other.Snapshot(podsResource), "")
	for i, item := range entries[1].Items {
		r, err := other.Feed(podsResource).Unpack(w.ctx, item.Packed)
		w.check(err)
		w.equal(r, records[i])
	}
	// The next writer goes on with the same one.
	w.check(l.Release(w.ctx))
	next := w.log(other)
	w.equal(next.packer.id, l.packer.id)
	w.equal(next.trained, int64(200))
}

func dictionaryLost(t *testing.T, w *world) {
	s := w.store()
	l := w.log(s)
	records := newPods(1).records(100)
	w.check(l.Append(w.ctx, itemsOf(records)))
	packed := w.readAll(s.Snapshot(podsResource), "")[0].Items[0].Packed
	w.check(s.client.Del(w.ctx, l.keys.dict(l.packer.id)).Err())

	other := w.store().Feed(podsResource)
	for range 2 {
		_, err := other.Unpack(w.ctx, packed)
		w.wantErr(err, object.ErrUnreadable)
	}
	_, err := l.Acquire(w.ctx) // as the same process does after ErrLost
	w.check(err)
	r, err := w.store().Feed(podsResource).Unpack(w.ctx, packed)
	w.check(err)
	w.equal(r, records[0])
	n, err := s.client.Exists(w.ctx, l.keys.dict(l.packer.id)).Result()
	w.check(err)
	w.equal(n, int64(1))
}

func dictionaryRetrained(t *testing.T, w *world) {
	s := w.store()
	l := w.log(s)
	random := newPods(1)
	f := func(expect int64, anew bool) {
		t.Helper()
		old := l.packer.id
		w.check(l.Append(w.ctx, []object.LogItem{begin("a", expect)}))
		w.check(l.Append(w.ctx, itemsOf(random.records(100))))
		w.equal(l.packer.id != old, anew)
	}
	f(150, true)
	f(1499, false)
	f(1500, true)
	f(14999, false)
	// A reader has use for all of them.
	feed := w.store().Feed(podsResource)
	for _, e := range w.readAll(s.Snapshot(podsResource), "") {
		for _, item := range e.Items {
			if item.Kind != object.ItemRecord {
				continue
			}
			_, err := feed.Unpack(w.ctx, item.Packed)
			w.check(err)
		}
	}
	n, err := s.client.SCard(w.ctx, l.keys.dicts).Result()
	w.check(err)
	w.equal(n, int64(2))
}
