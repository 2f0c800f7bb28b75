package mirror

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Latest waits for what Redis held when it was called, and no longer than that.
func TestLatest(t *testing.T) {
	story(t, func(t *testing.T, feed *fakeFeed, m *Mirror) {
		if root, err := m.Latest(t.Context()); root != nil || !errors.Is(err, object.ErrNotSynced) {
			t.Fatalf("before the first: %v, %v", root, err)
		}
		feed.put("5", "a/x")
		defer run(m)()
		time.Sleep(time.Second)
		latest := func(version string, wantErr error) {
			t.Helper()
			root, err := m.Latest(t.Context())
			if string(root.Freshness.Streamed) != version || !errors.Is(err, wantErr) {
				t.Errorf("Latest is %s, %v, want %s, %v", root.Freshness.Streamed, err, version, wantErr)
			}
		}
		for v := range 20 {
			feed.put(fmt.Sprint(6+v), "a/x")
			latest(fmt.Sprint(6+v), nil) // although the mirror has not read it yet
		}
		// What is held back is not waited for.
		entry := entryOf("one", "30", "a/y")
		entry.Hold = true
		feed.publish(entry, nil)
		latest("25", nil)
		feed.put("31", "a/z")
		latest("31", nil)
		feed.setDown(true)
		latest("31", errAway)
		time.Sleep(10 * time.Second)
		begun := time.Now()
		latest("31", errAway)
		if time.Since(begun) > 0 {
			t.Errorf("a mirror that is cut off was waited for, for %v", time.Since(begun))
		}
	})
}

// Many who ask at the same time cost Redis one question.
func TestTailsAreAskedOnceForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		tails := tails{turn: make(chan struct{}, 1)}
		ask := func(context.Context) (object.LogID, error) {
			now := asked.Add(1)
			time.Sleep(time.Millisecond)
			return object.LogID(fmt.Sprint(now)), nil
		}
		ids := make(chan object.LogID, 100)
		for range 100 {
			go func() {
				id, _ := tails.read(t.Context(), ask)
				ids <- id
			}()
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if asked.Load() > 2 || len(ids) != 100 {
			t.Errorf("%d questions, %d answers", asked.Load(), len(ids))
		}
		// An answer that was on its way when somebody asked is not for that one.
		first := make(chan object.LogID, 1)
		go func() {
			id, _ := tails.read(t.Context(), ask)
			first <- id
		}()
		synctest.Wait()
		second, _ := tails.read(t.Context(), ask)
		if second == <-first {
			t.Error("who asked later got an older answer")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := tails.read(ctx, ask); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		time.Sleep(time.Second)
	})
}

// A watcher that does not keep up is ended; others and the mirror do not wait for it.
func TestSlowWatcherIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFakeFeed()
		m := New(pods, feed, Options{Wait: time.Second, HistoryBytes: 4096}, quiet())
		feed.put("5", "a/x")
		defer run(m)()
		time.Sleep(time.Second)
		slow, err := m.Changes(t.Context(), "5")
		if err != nil {
			t.Fatal(err)
		}
		quick, err := m.Changes(t.Context(), "5")
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for v := range 50 {
			feed.put(fmt.Sprint(6+v), "a/x")
			batch, err := quick.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			seen += len(batch.Events)
		}
		if _, err := slow.Next(t.Context()); !errors.Is(err, object.ErrExpired) || seen != 50 {
			t.Errorf("the slow one: %v; the quick one saw %d of 50", err, seen)
		}
		if _, err := m.Changes(t.Context(), "5"); !errors.Is(err, object.ErrExpired) {
			t.Errorf("a watch from what is not kept: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := quick.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with nothing new: %v", err)
		}
	})
}

// What a slow watcher holds is its own step, and not all that came after it.
func TestSlowWatcherHoldsNothing(t *testing.T) {
	root := &Root{Resource: pods, contents: newContents()}
	h := &history{}
	h.restart(root, "1")
	slow, err := h.after("1")
	if err != nil {
		t.Fatal(err)
	}
	freed := make(chan struct{}, 1000)
	for v := 2; v < 500; v++ {
		o := &Object{Body: make([]byte, 1<<10)}
		runtime.AddCleanup(o, func(struct{}) { freed <- struct{}{} }, struct{}{})
		event := Event{Type: object.Modified, Version: object.Version(fmt.Sprint(v)), Object: o, Before: o}
		if !h.extend(root, []Event{event}, 8<<10, time.Minute) {
			t.Fatal("the history did not go on")
		}
	}
	runtime.GC()
	for n := 0; n < 400; n++ {
		select {
		case <-freed:
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of 498 objects are free", n)
		}
	}
	if _, err := slow.Next(t.Context()); !errors.Is(err, object.ErrExpired) {
		t.Error(err)
	}
}

// A change that comes after readers were told that everything up to it is known
// makes them read anew.
func TestLateChangesAreNotLost(t *testing.T) {
	story(t, func(t *testing.T, feed *fakeFeed, m *Mirror) {
		feed.put("5", "a/x")
		defer run(m)()
		time.Sleep(time.Second)
		feed.put("50")
		time.Sleep(time.Second)
		cursor, err := m.Changes(t.Context(), "50")
		if err != nil {
			t.Fatal(err)
		}
		late := entryOf("one", "50")
		late.Changes = entryOf("one", "40", "a/y").Changes
		feed.publish(late, nil)
		if _, err := cursor.Next(t.Context()); !errors.Is(err, object.ErrExpired) {
			t.Errorf("the watcher was told %v", err)
		}
	})
}

// Watchers of a mirror that ends are told.
func TestCursorEndsWithTheMirror(t *testing.T) {
	story(t, func(t *testing.T, feed *fakeFeed, m *Mirror) {
		feed.put("5", "a/x")
		stop := run(m)
		time.Sleep(time.Second)
		cursor, err := m.Changes(t.Context(), "5")
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if _, err := cursor.Next(t.Context()); !errors.Is(err, object.ErrNotFound) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// A quiet resource's position is asked to be moved on for whoever waits for it.
func TestReadersThatWaitNudgeTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed, nudged := newFakeFeed(), 0
		m := New(pods, feed, Options{Wait: time.Second, OnBehind: func(context.Context, object.Resource) {
			nudged++
			feed.put(fmt.Sprint(9 * nudged))
		}}, quiet())
		feed.put("5", "a/x")
		defer run(m)()
		time.Sleep(time.Second)
		if root, err := m.NotOlderThan(t.Context(), "8"); err != nil || root.Freshness.Streamed != "9" || nudged != 1 {
			t.Errorf("%v, %v, nudged %d times", root.Freshness, err, nudged)
		}
		if _, err := m.NotOlderThan(t.Context(), "1000"); !errors.Is(err, ErrTooNew) {
			t.Errorf("a version that does not come: %v", err)
		}
		time.Sleep(time.Minute)
		if root, err := m.FresherThan(t.Context(), 5*time.Second, time.Second); err != nil || time.Since(root.Freshness.StreamedAt) > time.Second {
			t.Errorf("%v, %v", root, err)
		}
	})
}

// States of the past that a reader pages through stay for a while, and go then.
func TestKeptStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		feed := newFakeFeed()
		m := New(pods, feed, Options{Wait: time.Second, HistoryBytes: 1}, quiet())
		feed.put("5", "a/x")
		defer run(m)()
		time.Sleep(time.Second)
		m.Keep(m.Root())
		feed.put("6", "a/y")
		time.Sleep(time.Second)
		if root, err := m.Exact(t.Context(), "5"); err != nil || root.Len() != 1 {
			t.Errorf("%v, %v", root, err)
		}
		time.Sleep(keepRootsFor + time.Second)
		feed.put("7", "a/z")
		time.Sleep(time.Second)
		m.kept.mu.Lock()
		if n := len(m.kept.roots); n != 0 {
			t.Errorf("%d states are kept although nobody reads them", n)
		}
		m.kept.mu.Unlock()
		if _, err := m.Exact(t.Context(), "5"); !errors.Is(err, object.ErrExpired) {
			t.Errorf("after %v: %v", keepRootsFor, err)
		}
	})
}
