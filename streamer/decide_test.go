package streamer

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestDecide(t *testing.T) {
	log := object.LogState{
		Resync:   object.Resync{Lineage: "L", ClusterUID: "A", Schema: "S"},
		Position: "100",
	}
	now := cluster{uid: "A", schema: "S", version: "120"}

	f := func(name string, change func(*object.LogState, *cluster, *recollection), why reason, sameLineage, rewrite bool) {
		t.Helper()
		l, n, k := log, now, recollection{}
		change(&l, &n, &k)
		got := decide(l, n, k)
		if got.reason != why {
			t.Errorf("%s: reason %q, want %q", name, got.reason, why)
		}
		if same := got.resync.Lineage == l.Resync.Lineage; same != sameLineage || got.resync.Lineage == "" {
			t.Errorf("%s: lineage %q after %q", name, got.resync.Lineage, l.Resync.Lineage)
		}
		if got.resync.Rewrite != rewrite {
			t.Errorf("%s: rewrite %v", name, got.resync.Rewrite)
		}
		if want := map[bool]object.Version{true: l.Position}[sameLineage]; got.after != want {
			t.Errorf("%s: goes on after %q, want %q", name, got.after, want)
		}
	}
	const same, other = true, false

	f("all is well", func(*object.LogState, *cluster, *recollection) {}, "", same, false)
	f("nothing happened", func(_ *object.LogState, n *cluster, _ *recollection) { n.version = "100" }, "", same, false)
	f("no log", func(l *object.LogState, _ *cluster, _ *recollection) { *l = object.LogState{} }, reasonFirst, other, false)
	f("log lost", func(l *object.LogState, _ *cluster, k *recollection) { *l, k.severed = object.LogState{}, true }, reasonLost, other, false)
	f("lineage lost", func(_ *object.LogState, _ *cluster, k *recollection) { k.severed = true }, reasonLost, other, false)
	f("other cluster", func(_ *object.LogState, n *cluster, _ *recollection) { n.uid = "B" }, reasonCluster, other, false)
	f("cluster hidden", func(_ *object.LogState, n *cluster, _ *recollection) { n.uid = "" }, "", same, false)
	f("cluster was hidden", func(l *object.LogState, _ *cluster, _ *recollection) { l.Resync.ClusterUID = "" }, "", same, false)
	f("restored", func(_ *object.LogState, n *cluster, _ *recollection) { n.version = "99" }, reasonRestored, other, false)
	f("restored below a list", func(_ *object.LogState, _ *cluster, k *recollection) { k.highest = "121" }, reasonRestored, other, false)
	f("list older than log", func(_ *object.LogState, _ *cluster, k *recollection) { k.pending = reasonRestored }, reasonRestored, other, false)
	f("expired", func(_ *object.LogState, _ *cluster, k *recollection) { k.pending = reasonExpired }, reasonExpired, same, false)
	f("asked", func(_ *object.LogState, _ *cluster, k *recollection) { k.pending = reasonAsked }, reasonAsked, same, false)
	f("unfinished", func(l *object.LogState, _ *cluster, _ *recollection) { l.Resyncing = true }, reasonPartial, same, false)
	f("unfinished rewrite", func(l *object.LogState, _ *cluster, _ *recollection) { l.Resyncing, l.Resync.Rewrite = true, true }, reasonPartial, same, true)
	f("finished rewrite", func(l *object.LogState, _ *cluster, _ *recollection) { l.Resync.Rewrite = true }, "", same, false)
	f("no position", func(l *object.LogState, _ *cluster, _ *recollection) { l.Position = "" }, reasonPartial, same, false)
	f("schema", func(_ *object.LogState, n *cluster, _ *recollection) { n.schema = "T" }, reasonSchema, same, true)
	f("schema hidden", func(_ *object.LogState, n *cluster, _ *recollection) { n.schema = "" }, "", same, false)
	f("asked and schema", func(_ *object.LogState, n *cluster, k *recollection) { n.schema, k.pending = "T", reasonAsked }, reasonAsked, same, true)
	f("restored and schema", func(_ *object.LogState, n *cluster, _ *recollection) { n.schema, n.version = "T", "5" }, reasonRestored, other, false)
}

func TestWhyEnded(t *testing.T) {
	f := func(err error, want reason, state object.State) {
		t.Helper()
		if got := whyEnded(err); got != want {
			t.Errorf("%v: reason %q, want %q", err, got, want)
		}
		if err == nil {
			return
		}
		if got := whyEnded(fmt.Errorf("watch: %w", err)); got != want {
			t.Errorf("wrapped %v: reason %q, want %q", err, got, want)
		}
		if got := stateOf(err); got != state {
			t.Errorf("%v: state %q, want %q", err, got, state)
		}
	}
	f(nil, reasonClosed, "")
	f(errors.New("unexpected EOF"), reasonBroken, object.StateUnreachable)
	f(object.ErrSilent, reasonSilent, object.StateUnreachable)
	f(context.DeadlineExceeded, reasonSilent, object.StateUnreachable)
	f(syscall.ETIMEDOUT, reasonSilent, object.StateUnreachable)
	f(object.ErrGarbled, reasonGarbage, object.StateFailing)
	f(object.ErrExpired, reasonExpired, object.StateUnreachable)
	f(&object.RetryError{After: time.Second, Err: errors.New("429")}, reasonThrottled, object.StateUnreachable)
	f(syscall.ECONNREFUSED, reasonRefused, object.StateUnreachable)
	f(object.ErrForbidden, reasonForbidden, object.StateForbidden)
	f(object.ErrNotFound, reasonAbsent, object.StateAbsent)
	f(object.ErrFenced, reasonFenced, object.StateUnreachable)
	f(object.ErrLost, reasonLost, object.StateUnreachable)
	f(errUnequal, reasonUnequal, object.StateFailing)
	f(errChecked, reasonChecked, object.StateUnreachable)
	f(errAsked, reasonAsked, object.StateUnreachable)
}

func TestBackoff(t *testing.T) {
	f := func(failures int, err error, least, most time.Duration) {
		t.Helper()
		for range 50 {
			b := backoff{failures: failures}
			if got := b.next(err); got < least || got > most {
				t.Fatalf("after %d failures, %v: waits %v, want %v to %v", failures, err, got, least, most)
			}
		}
	}
	f(0, errBroken, 500*time.Millisecond, 500*time.Millisecond)
	f(1, errBroken, 500*time.Millisecond, time.Second)
	f(3, errBroken, 2*time.Second, 4*time.Second)
	f(6, errBroken, 15*time.Second, 30*time.Second)
	f(1000, errBroken, 15*time.Second, 30*time.Second)
	f(0, &object.RetryError{After: 20 * time.Second}, 20*time.Second, 20*time.Second)
	f(9, &object.RetryError{After: time.Second}, 15*time.Second, 30*time.Second)
	f(9, fmt.Errorf("x: %w", object.ErrNotFound), 10*time.Second, 10*time.Second)
	f(9, fmt.Errorf("x: %w", object.ErrForbidden), 30*time.Second, 30*time.Second)
}

func TestPace(t *testing.T) {
	const minute = time.Minute
	f := func(name string, e ending, failures, quick int, wait bool, after int) {
		t.Helper()
		p := pace{retry: backoff{failures: failures}, quick: quick}
		if got := p.wait(e) > 0; got != wait || p.retry.failures != after {
			t.Errorf("%s: waits %v, want %v; %d failures, want %d", name, got, wait, p.retry.failures, after)
		}
	}
	f("server's timeout", ending{lived: 7 * minute}, 0, 9, false, 0)
	f("at once", ending{}, 0, 0, false, 0)
	f("at once again", ending{}, 0, 1, false, 0)
	f("at once a third time", ending{}, 0, 2, true, 1)
	f("at once though with an event", ending{delivered: true}, 5, 9, true, 1)
	f("broken", ending{err: errBroken}, 3, 0, true, 4)
	f("broken after an event", ending{err: errBroken, delivered: true}, 3, 0, true, 1)
	f("broken after a long life", ending{err: errBroken, lived: minute}, 3, 0, true, 1)
	f("expired", ending{err: object.ErrExpired, resumed: true}, 3, 0, false, 3)
	f("list expired", ending{err: object.ErrExpired}, 3, 0, true, 4)
	f("asked", ending{err: errAsked}, 3, 0, false, 3)
	f("checked", ending{err: errChecked}, 3, 0, false, 3)
	f("unequal again", ending{err: errUnequal, delivered: true}, 3, 0, true, 4)
}
