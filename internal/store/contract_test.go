package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// server is a Redis that the contract is tested on.
type server struct {
	options Options
	pass    func(time.Duration) // lets time pass for what Redis lets expire
	tests   int
}

var podsResource = object.Resource{Version: "v1", Name: "pods", Kind: "Pod", Singular: "pod", Namespaced: true}

// testContract checks what the store promises, on any Redis.
func testContract(t *testing.T, s *server) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"append and read in order", appendAndRead},
		{"state of the log", stateOfLog},
		{"a retry does not double", retryOnce},
		{"an unfinished append is completed before another", completePending},
		{"two writers are fenced", fenceWriters},
		{"standby takes over", standby},
		{"release hands over at once", release},
		{"lost writes are noticed", lostWrites},
		{"a lost log entry is delivered again", lostEntryIsRead},
		{"everything lost", lostEverything},
		{"a reader behind the cap", overtakenReader},
		{"trim follows the reader", trimFollowsReader},
		{"publish and read", publishAndRead},
		{"a publish retry does not double", publishRetryOnce},
		{"large publication", largePublication},
		{"feed is capped", feedCap},
		{"hashes", hashes},
		{"listed is replaced atomically", listedAtomic},
		{"wants and bodies", wantsAndBodies},
		{"asks are taken once", asksOnce},
		{"registry", registry},
		{"forget", forget},
		{"dictionary for a second store", dictionaryElsewhere},
		{"dictionary lost and written again", dictionaryLost},
		{"dictionary is trained again", dictionaryRetrained},
		{"blocked readers do not starve writers", blockedReaders},
		{"blocked reader is woken", wokenReader},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.tests++
			test.run(t, &world{t: t, server: s, prefix: fmt.Sprintf("t%d", s.tests), ctx: t.Context()})
		})
	}
}

// world is what one test lives in: a server and a prefix of its own.
type world struct {
	t      *testing.T
	server *server
	prefix string
	ctx    context.Context
}

// leaseTTL is long enough for what happens between two beats on a busy machine.
const leaseTTL = time.Second

// expire lets every lease run out that is not renewed.
func (w *world) expire() { w.server.pass(leaseTTL + leaseTTL/5) }

// store opens a Store as another process would.
func (w *world) store(change ...func(*Options)) *Store {
	w.t.Helper()
	options := w.server.options
	options.Prefix, options.LeaseTTL = w.prefix, leaseTTL
	for _, f := range change {
		f(&options)
	}
	s, err := Connect(w.ctx, options, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) wantErr(err, want error) {
	w.t.Helper()
	if !errors.Is(err, want) {
		w.t.Fatalf("error %v, want %v", err, want)
	}
}

func (w *world) equal(got, want any) {
	w.t.Helper()
	if !reflect.DeepEqual(got, want) {
		w.t.Fatalf("-want +got:\n%s", cmp.Diff(want, got))
	}
}

// log returns an acquired log.
func (w *world) log(s *Store) *Log {
	w.t.Helper()
	l := s.Log(podsResource)
	_, err := l.Acquire(w.ctx)
	w.check(err)
	return l
}

// snapshot returns an acquired snapshot.
func (w *world) snapshot(s *Store) *Snapshot {
	w.t.Helper()
	a := s.Snapshot(podsResource)
	_, err := a.Acquire(w.ctx)
	w.check(err)
	return a
}

func (w *world) listing(s *Store) *Listing {
	w.t.Helper()
	v := s.Listing(podsResource)
	w.check(v.Acquire(w.ctx))
	return v
}

// readAll reads the log after after until its end.
func (w *world) readAll(a *Snapshot, after object.LogID) (entries []object.LogEntry) {
	w.t.Helper()
	for {
		more, err := a.ReadLog(w.ctx, after, 0)
		w.check(err)
		if len(more) == 0 {
			return entries
		}
		entries = append(entries, more...)
		after = more[len(more)-1].ID
	}
}

func at(seconds int64) time.Time { return time.Unix(1795000000+seconds, 5).UTC() }

func position(version object.Version, seconds int64) object.LogItem {
	return object.LogItem{Kind: object.ItemPosition, Version: version, At: at(seconds)}
}

func begin(lineage string, expect int64) object.LogItem {
	return object.LogItem{Kind: object.ItemResyncBegin, At: at(0), Resync: object.Resync{Lineage: lineage, ClusterUID: "uid", Schema: "s", Rewrite: true, Expect: expect}}
}

func end(version object.Version, seconds int64) object.LogItem {
	return object.LogItem{Kind: object.ItemResyncEnd, Version: version, At: at(seconds)}
}

func appendAndRead(t *testing.T, w *world) {
	s := w.store()
	l, a := w.log(s), s.Snapshot(podsResource)
	columns := []object.Column{{Name: "Name", Type: "string", Format: "name", Description: "d", Priority: 1}}
	records := newPods(1).records(40)
	records[7].Deleted = true
	batches := [][]object.LogItem{
		{begin("a", 40), {Kind: object.ItemColumns, At: at(1), Columns: columns}},
		itemsOf(records),
		{end("900", 2), position("901", 3)},
	}
	for _, items := range batches {
		w.check(l.Append(w.ctx, items))
	}
	entries := w.readAll(a, "")
	if len(entries) != 3 {
		t.Fatalf("%d entries, want 3", len(entries))
	}
	w.equal(entries[0].Prev, object.LogID(""))
	w.equal(entries[1].Prev, entries[0].ID)
	w.equal(entries[2].Prev, entries[1].ID)
	w.equal(entries[0].Items, batches[0])
	w.equal(entries[2].Items, batches[2])
	for i, item := range entries[1].Items {
		w.equal(item.At, records[i].SeenAt)
		r, err := s.Feed(podsResource).Unpack(w.ctx, item.Packed)
		w.check(err)
		w.equal(r, records[i])
	}
	w.equal(len(w.readAll(a, entries[1].ID)), 1)
	state, err := l.State(w.ctx)
	w.check(err)
	w.equal(state.Tail, entries[2].ID)
}

func stateOfLog(t *testing.T, w *world) {
	l := w.log(w.store())
	f := func(position object.Version, positionAt int64, resyncing bool, lineage string, items ...object.LogItem) {
		t.Helper()
		w.check(l.Append(w.ctx, items))
		state, err := w.store().Listing(podsResource).LogState(w.ctx)
		w.check(err)
		want := object.LogState{Position: position, Resyncing: resyncing, Tail: state.Tail, Resync: state.Resync}
		if position != "" {
			want.PositionAt = at(positionAt)
		}
		w.equal(state, want)
		w.equal(state.Resync.Lineage, lineage)
	}
	f("", 0, true, "a", begin("a", 5))
	f("", 0, true, "a", itemsOf(newPods(1).records(2))...)
	f("100", 1, false, "a", end("100", 1))
	f("120", 2, false, "a", position("120", 2))
	f("120", 2, false, "a", position("99", 3))  // never backwards
	f("120", 4, false, "a", position("120", 4)) // but known anew
	f("120", 4, true, "a", begin("a", 5))       // the same lineage goes on
	f("130", 5, false, "a", end("130", 5))
	f("", 0, true, "b", begin("b", 5)) // another begins anew
	f("7", 6, false, "b", end("7", 6))
	f("99999999999999999999999", 7, false, "b", position("99999999999999999999999", 7))

	want, err := l.State(w.ctx)
	w.check(err)
	w.check(l.Release(w.ctx))
	got, err := w.store().Log(podsResource).Acquire(w.ctx)
	w.check(err)
	w.equal(got, want)
}

// breakAfter makes the next script of s arrive while its answer gets lost, and
// every one after it fail, until it is mended.
type breaker struct{ broken, deaf bool }

func (b *breaker) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b *breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if b.broken {
			cmd.SetErr(errBroken)
			return errBroken
		}
		err := next(ctx, cmd)
		if b.deaf && err == nil {
			cmd.SetErr(errBroken)
			return errBroken
		}
		return err
	}
}

var errBroken = errors.New("connection broken")

func retryOnce(t *testing.T, w *world) {
	s := w.store()
	l, a := w.log(s), s.Snapshot(podsResource)
	w.check(l.Append(w.ctx, []object.LogItem{begin("a", 1)}))
	b := &breaker{}
	s.client.AddHook(b)
	items := itemsOf(newPods(1).records(3))

	b.broken = true // it did not arrive
	w.wantErr(l.Append(w.ctx, items), errBroken)
	b.broken = false
	w.check(l.Append(w.ctx, items))
	w.equal(len(w.readAll(a, "")), 2)

	b.deaf = true // it arrived, and nobody knows
	again := []object.LogItem{position("5", 1)}
	w.wantErr(l.Append(w.ctx, again), errBroken)
	b.deaf = false
	again = slices.Clone(again)
	w.check(l.Append(w.ctx, again))
	w.check(l.Append(w.ctx, []object.LogItem{position("6", 2)}))
	entries := w.readAll(a, "")
	w.equal(len(entries), 4)
	w.equal(entries[2].Items, again)
	w.equal(entries[3].Prev, entries[2].ID)
}

func completePending(t *testing.T, w *world) {
	s := w.store()
	l, a := w.log(s), s.Snapshot(podsResource)
	b := &breaker{}
	s.client.AddHook(b)
	for _, b.deaf = range []bool{true, false} {
		b.broken = !b.deaf
		err := l.Append(w.ctx, []object.LogItem{position("5", 1)})
		w.wantErr(err, errBroken)
		b.deaf, b.broken = false, false
		w.check(l.Append(w.ctx, []object.LogItem{position("6", 2)}))
	}
	var versions []object.Version
	for _, e := range w.readAll(a, "") {
		versions = append(versions, e.Items[0].Version)
	}
	w.equal(versions, []object.Version{"5", "6", "5", "6"})
}

func fenceWriters(t *testing.T, w *world) {
	one, two := w.store(), w.store()
	old := w.log(one)
	w.check(old.Append(w.ctx, []object.LogItem{position("1", 1)}))
	w.expire() // old sleeps too long
	new := w.log(two)
	w.check(new.Append(w.ctx, []object.LogItem{position("2", 2)}))

	w.wantErr(old.Append(w.ctx, []object.LogItem{position("9", 9)}), object.ErrFenced)
	_, err := old.Beat(w.ctx)
	w.wantErr(err, object.ErrFenced)
	w.check(old.Release(w.ctx)) // not its own any more
	_, err = new.Beat(w.ctx)
	w.check(err)
	w.check(new.Append(w.ctx, []object.LogItem{position("3", 3)}))
	state, err := new.State(w.ctx)
	w.check(err)
	w.equal(state.Position, object.Version("3"))
	w.equal(len(w.readAll(two.Snapshot(podsResource), "")), 3)

	// The same for the other two roles.
	oldA, oldV := w.snapshot(one), w.listing(one)
	w.expire()
	w.snapshot(two)
	w.listing(two)
	_, err = oldA.Publish(w.ctx, object.Publication{})
	w.wantErr(err, object.ErrFenced)
	w.wantErr(oldA.Beat(w.ctx), object.ErrFenced)
	w.wantErr(oldA.Want(w.ctx, "x", []object.Key{{Name: "a"}}), object.ErrFenced)
	w.wantErr(oldV.Put(w.ctx, object.Listed{ID: "x"}), object.ErrFenced)
	w.wantErr(oldV.PutBodies(w.ctx, "x", newPods(1).records(1)), object.ErrFenced)
	_, err = one.Feed(podsResource).State(w.ctx)
	w.wantErr(err, object.ErrNotSynced)

	// Who never acquired writes nothing.
	w.wantErr(one.Log(podsResource).Append(w.ctx, []object.LogItem{position("9", 9)}), object.ErrFenced)
	_, err = one.Snapshot(podsResource).Publish(w.ctx, object.Publication{})
	w.wantErr(err, object.ErrFenced)
}

func standby(t *testing.T, w *world) {
	first := w.log(w.store(func(o *Options) { o.Instance = "first" }))
	w.check(first.Append(w.ctx, []object.LogItem{position("1", 1)}))
	second := w.store(func(o *Options) { o.Instance = "second" })
	acquired := make(chan error, 1)
	l := second.Log(podsResource)
	go func() {
		_, err := l.Acquire(w.ctx)
		acquired <- err
	}()
	for range 3 { // it holds as long as it beats
		_, err := first.Beat(w.ctx)
		w.check(err)
		w.server.pass(leaseTTL / 5)
	}
	w.standsBy(second)
	select {
	case err := <-acquired:
		t.Fatalf("acquired beside a living writer: %v", err)
	default:
	}
	w.expire()
	w.check(<-acquired)
	w.check(l.Append(w.ctx, []object.LogItem{position("2", 2)}))
	w.wantErr(first.Append(w.ctx, []object.LogItem{position("3", 3)}), object.ErrFenced)

	// A lease that nobody else wants is taken back by a beat.
	w.expire()
	_, err := l.Beat(w.ctx)
	w.check(err)
	w.check(l.Append(w.ctx, []object.LogItem{position("4", 4)}))

	ctx, cancel := context.WithCancel(w.ctx)
	cancel()
	_, err = first.Acquire(ctx)
	w.wantErr(err, context.Canceled)
}

// standsBy waits until the registry shows that someone stands by.
func (w *world) standsBy(s *Store) {
	w.t.Helper()
	for {
		registered, err := s.Resources(w.ctx)
		w.check(err)
		if len(registered) == 0 {
			continue
		}
		status := registered[0].Statuses[0]
		w.equal(status.State, object.StateStandby)
		w.equal(status.Instance, "second")
		w.equal(status.Message, "the work is done by first")
		return
	}
}

func release(t *testing.T, w *world) {
	first := w.log(w.store(func(o *Options) { o.LeaseTTL = time.Hour }))
	w.check(first.Release(w.ctx))
	w.wantErr(first.Append(w.ctx, []object.LogItem{position("3", 3)}), object.ErrFenced)
	second := w.log(w.store())
	w.check(first.Release(w.ctx)) // twice is once
	w.check(second.Append(w.ctx, []object.LogItem{position("3", 3)}))
}

// undo puts the keys of a resource back to what they were, as a failover does
// that loses the last writes.
func (w *world) undo(s *Store) (restore func()) {
	w.t.Helper()
	dump := map[string]map[string]string{}
	k := newKeys(w.prefix, podsResource)
	for _, key := range []string{k.logMeta, k.snapshotMeta} {
		fields, err := s.client.HGetAll(w.ctx, key).Result()
		w.check(err)
		dump[key] = fields
	}
	return func() {
		w.t.Helper()
		for key, fields := range dump {
			w.check(s.client.Del(w.ctx, key).Err())
			for field, value := range fields {
				w.check(s.client.HSet(w.ctx, key, field, value).Err())
			}
		}
		for meta, stream := range map[string]string{k.logMeta: k.log, k.snapshotMeta: k.feed} {
			entries, err := s.client.XRange(w.ctx, stream, "-", "+").Result()
			w.check(err)
			for _, e := range entries {
				above, err := above(object.LogID(e.ID), object.LogID(dump[meta]["tail"]))
				w.check(err)
				if above {
					w.check(s.client.XDel(w.ctx, stream, e.ID).Err())
				}
			}
		}
	}
}

func lostWrites(t *testing.T, w *world) {
	s := w.store()
	l := w.log(s)
	w.check(l.Append(w.ctx, []object.LogItem{position("1", 1)}))
	restore := w.undo(s)
	w.check(l.Append(w.ctx, []object.LogItem{position("2", 2)}))
	lost, err := l.State(w.ctx)
	w.check(err)
	restore()

	for range 2 { // until it acquires
		w.wantErr(l.Append(w.ctx, []object.LogItem{position("3", 3)}), object.ErrLost)
	}
	state, err := l.Acquire(w.ctx) // at once: the lease is its own
	w.check(err)
	w.equal(state.Position, object.Version("1"))
	w.check(l.Append(w.ctx, []object.LogItem{position("2", 2)}))
	state, err = l.State(w.ctx)
	w.check(err)
	if ok, err := above(state.Tail, lost.Tail); err != nil || !ok {
		t.Fatalf("ID %s after the lost %s: %v", state.Tail, lost.Tail, err)
	}

	a := w.snapshot(s)
	_, err = a.Publish(w.ctx, object.Publication{})
	w.check(err)
	restore = w.undo(s)
	first, err := a.Publish(w.ctx, object.Publication{Entry: object.FeedEntry{Objects: 1}})
	w.check(err)
	restore()
	_, err = a.Publish(w.ctx, object.Publication{})
	w.wantErr(err, object.ErrLost)
	_, err = a.Acquire(w.ctx)
	w.check(err)
	second, err := a.Publish(w.ctx, object.Publication{Entry: object.FeedEntry{Objects: 2}})
	w.check(err)
	if ok, err := above(second, first); err != nil || !ok {
		t.Fatalf("ID %s after the lost %s: %v", second, first, err)
	}
}

func lostEntryIsRead(t *testing.T, w *world) {
	s := w.store()
	l, a := w.log(s), s.Snapshot(podsResource)
	w.check(l.Append(w.ctx, []object.LogItem{position("1", 1)}))
	restore := w.undo(s)
	w.check(l.Append(w.ctx, []object.LogItem{position("2", 2)}))
	entries := w.readAll(a, "")
	read := entries[len(entries)-1].ID
	restore()
	w.equal(len(w.readAll(a, read)), 0)
	_, err := l.Acquire(w.ctx)
	w.check(err)
	w.check(l.Append(w.ctx, []object.LogItem{position("2", 2)}))
	again := w.readAll(a, read) // Prev lies below what it read: it goes on
	w.equal(len(again), 1)
	w.equal(again[0].Items, []object.LogItem{position("2", 2)})
}

func lostEverything(t *testing.T, w *world) {
	s := w.store()
	l, a, v := w.log(s), w.snapshot(s), w.listing(s)
	records := newPods(1).records(100)
	w.check(l.Append(w.ctx, itemsOf(records)))
	id, err := a.Publish(w.ctx, object.Publication{})
	w.check(err)
	before, err := l.State(w.ctx)
	w.check(err)
	keys, err := s.client.Keys(w.ctx, w.prefix+"*").Result()
	w.check(err)
	for _, key := range keys { // of several slots
		w.check(s.client.Del(w.ctx, key).Err())
	}

	w.wantErr(l.Append(w.ctx, itemsOf(records)), object.ErrFenced)
	_, err = a.Publish(w.ctx, object.Publication{})
	w.wantErr(err, object.ErrFenced)
	_, err = v.Beat(w.ctx)
	w.wantErr(err, object.ErrFenced)

	state, err := l.Acquire(w.ctx)
	w.check(err)
	w.equal(state, object.LogState{})
	w.check(l.Append(w.ctx, itemsOf(records)))
	after, err := l.State(w.ctx)
	w.check(err)
	if ok, err := above(after.Tail, before.Tail); err != nil || !ok {
		t.Fatalf("ID %s after the lost %s: %v", after.Tail, before.Tail, err)
	}
	snapshot, err := a.Acquire(w.ctx)
	w.check(err)
	w.equal(snapshot, object.SnapshotState{})
	next, err := a.Publish(w.ctx, object.Publication{})
	w.check(err)
	if ok, err := above(next, id); err != nil || !ok {
		t.Fatalf("ID %s after the lost %s: %v", next, id, err)
	}
	// The dictionary came back with the lease.
	for _, item := range w.readAll(w.store().Snapshot(podsResource), "")[0].Items {
		_, err := w.store().Feed(podsResource).Unpack(w.ctx, item.Packed)
		w.check(err)
		break
	}
}

func overtakenReader(t *testing.T, w *world) {
	s := w.store(func(o *Options) { o.LogMaxBytes = 6000 })
	l, a := w.log(s), s.Snapshot(podsResource)
	random := newPods(1)
	w.check(l.Append(w.ctx, itemsOf(random.records(1))))
	first := w.readAll(a, "")[0].ID
	for range 9 {
		w.check(l.Append(w.ctx, itemsOf(random.records(1))))
	}
	second := w.readAll(a, "")[1].ID
	_, err := l.Beat(w.ctx)
	w.check(err)
	if size, err := s.client.XLen(w.ctx, a.keys.log).Result(); err != nil || size >= 5 || size == 0 {
		t.Fatalf("%d entries left, %v", size, err)
	}
	for _, after := range []object.LogID{"", first, second} {
		_, err = a.ReadLog(w.ctx, after, 0)
		w.wantErr(err, object.ErrExpired)
	}
	state, err := a.LogState(w.ctx)
	w.check(err)
	w.equal(len(w.readAll(a, state.Tail)), 0)
	w.check(l.Append(w.ctx, []object.LogItem{position("5", 1)}))
	w.equal(len(w.readAll(a, state.Tail)), 1)

	// The cap holds for the next tenure too, which has to measure the log first.
	w.check(l.Release(w.ctx))
	l = w.log(s)
	entries, bytes := l.ring.size()
	size, err := s.client.XLen(w.ctx, a.keys.log).Result()
	w.check(err)
	w.equal(int64(entries), size)
	if bytes < 100 || bytes > 6000 {
		t.Errorf("measured %d bytes", bytes)
	}
	if age := time.Since(l.ring.entries[0].at); age < 0 || age > time.Minute {
		t.Errorf("measured an age of %v", age)
	}
}

func trimFollowsReader(t *testing.T, w *world) {
	s := w.store()
	l, a := w.log(s), w.snapshot(s)
	for range 5 {
		w.check(l.Append(w.ctx, []object.LogItem{position("5", 1)}))
	}
	entries := w.readAll(a, "")
	left := func() int64 {
		t.Helper()
		_, err := l.Beat(w.ctx)
		w.check(err)
		n, err := s.client.XLen(w.ctx, a.keys.log).Result()
		w.check(err)
		entries, _ := l.ring.size()
		w.equal(int64(entries), n)
		return n
	}
	w.equal(left(), int64(5)) // no reader: the caps alone
	publish := func(before object.LogID) {
		t.Helper()
		_, err := a.Publish(w.ctx, object.Publication{TrimBefore: before})
		w.check(err)
	}
	publish(entries[2].ID)
	w.equal(left(), int64(3))
	w.equal(len(w.readAll(a, entries[1].ID)), 3) // nothing was missed
	publish("9999999999999999-1")                // beyond the tail: the last one stays
	w.equal(left(), int64(1))
}

func blockedReaders(t *testing.T, w *world) {
	s := w.store()
	a, f := s.Snapshot(podsResource), s.Feed(podsResource)
	ctx, cancel := context.WithCancel(w.ctx)
	var readers sync.WaitGroup
	for range 30 {
		readers.Go(func() { _, _ = a.ReadLog(ctx, "", time.Minute) })
		readers.Go(func() { _, _ = f.Read(ctx, "", time.Minute) })
	}
	start := time.Now()
	l := w.log(s)
	w.check(l.Report(w.ctx, object.Status{State: object.StateFollowing}))
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v", took)
	}
	cancel()
	readers.Wait()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("ended after %v", took)
	}
}

func wokenReader(t *testing.T, w *world) {
	s := w.store()
	l, a := w.log(s), w.snapshot(s)
	got := make(chan int, 2)
	go func() {
		entries, _ := a.ReadLog(w.ctx, "", time.Minute)
		got <- len(entries)
	}()
	go func() {
		entries, _ := s.Feed(podsResource).Read(w.ctx, "", time.Minute)
		got <- len(entries)
	}()
	w.check(l.Append(w.ctx, []object.LogItem{position("5", 1)}))
	_, err := a.Publish(w.ctx, object.Publication{})
	w.check(err)
	w.equal(<-got, 1)
	w.equal(<-got, 1)

	entries, err := a.ReadLog(w.ctx, w.readAll(a, "")[0].ID, 20*time.Millisecond)
	w.check(err)
	w.equal(len(entries), 0)
}
