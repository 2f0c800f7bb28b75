package lifetime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// flaky is a database that fails now and then: before it has written, or after.
type flaky struct {
	*dbtest.Memory
	fail func() (before, after bool)
}

var errAway = errors.New("away")

func (d flaky) WriteRecords(ctx context.Context, records []metricdb.Record) error {
	before, after := d.fail()
	if before {
		return errAway
	}
	err := d.Memory.WriteRecords(ctx, records)
	if after {
		return errAway
	}
	return err
}

// world is a random story of pods or claims, and of those who follow it.
type world struct {
	t         *rapid.T
	kind      *kind
	feed      *feed
	db        *dbtest.Memory
	failing   bool
	now       time.Time
	there     []*thing
	all       []*thing
	followers []*Follower
}

func newWorld(t *rapid.T, kind *kind) *world {
	return &world{
		t: t, kind: kind, feed: newFeed(), db: dbtest.NewMemory(), failing: true, now: t0.Add(day - 90*time.Second),
		followers: make([]*Follower, 2),
	}
}

func (w *world) start(i int) {
	db := flaky{w.db, func() (bool, bool) {
		if !w.failing {
			return false, false
		}
		n := rapid.IntRange(0, 9).Draw(w.t, "fails")
		return n == 0, n == 1
	}}
	skew := time.Duration(rapid.IntRange(-3, 3).Draw(w.t, "skew")) * time.Second
	f := newFollower(w.kind, db, w.feed, "one", Options{Now: func() time.Time { return w.now.Add(skew) }}, quiet())
	f.size = rapid.SampledFrom([]int{1, 2, 5, 1000}).Draw(w.t, "size")
	w.followers[i] = f
}

// follow has a follower go on for a while, or starts it anew.
func (w *world) follow(i int) {
	if w.followers[i] == nil || rapid.IntRange(0, 4).Draw(w.t, "dies") == 0 {
		w.start(i)
	}
	for range rapid.IntRange(1, 4).Draw(w.t, "steps") {
		if err := w.followers[i].Step(context.Background()); err != nil && !errors.Is(err, errAway) {
			w.t.Fatal(err)
		} else if err != nil && rapid.Bool().Draw(w.t, "killed") {
			w.start(i)
		}
	}
}

// wait lets time pass, often to just about midnight.
func (w *world) wait() time.Time {
	w.now = w.now.Add(rapid.SampledFrom([]time.Duration{
		time.Millisecond, 17 * time.Millisecond, 400 * time.Millisecond, time.Second, 40 * time.Second, 25 * time.Minute, 7 * time.Hour, 50 * time.Hour,
	}).Draw(w.t, "wait"))
	if rapid.IntRange(0, 5).Draw(w.t, "midnight") == 0 {
		w.now = w.now.Truncate(day).Add(day - time.Millisecond)
	}
	return w.now
}

func (w *world) tell(what object.EventType, x *thing, body string) {
	tell := w.feed.tell
	if rapid.Bool().Draw(w.t, "join") {
		tell = w.feed.join
	}
	tell(what, w.now, x.name, x.uid, body)
}

func (w *world) create() {
	x := &thing{
		pod: w.kind == &pods, name: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(w.t, "name"), uid: fmt.Sprint("u", len(w.all)),
		cpu: rapid.Int64Range(1, 3).Draw(w.t, "cpu"), gi: rapid.Int64Range(1, 3).Draw(w.t, "gi"), phase: "Pending",
	}
	for _, other := range w.there {
		if other.name == x.name {
			return
		}
	}
	w.wait()
	x.created = w.now.Truncate(time.Second)
	if rapid.Bool().Draw(w.t, "at once") {
		x.begin(x.created, x.created)
	}
	if !x.pod || x.node != "" {
		x.now(x.created)
	}
	w.there, w.all = append(w.there, x), append(w.all, x)
	w.tell(object.Added, x, x.body())
}

// begin schedules a pod, and binds a claim.
func (x *thing) begin(pod, claim time.Time) {
	x.phase, x.node, x.scheduled = "Bound", "n1", claim
	if x.pod {
		x.phase, x.scheduled = "Pending", pod
	}
}

// change is one step in the life of something that is there.
func (w *world) change(x *thing) {
	w.wait()
	second := w.now.Truncate(time.Second)
	switch step := rapid.IntRange(0, 6).Draw(w.t, "step"); {
	case x.scheduled.IsZero() && step < 4:
		x.begin(second, w.now)
		if x.pod {
			x.now(x.created)
		} else {
			x.now(w.now)
		}
	case !x.pod && !x.scheduled.IsZero() && step == 0:
		x.phase = map[string]string{"Bound": "Lost", "Lost": "Bound"}[x.phase]
		x.now(w.now)
	case x.pod && x.node != "" && x.started.IsZero() && x.finished.IsZero() && step < 3:
		x.started, x.phase = second, "Running"
	case x.pod && x.node != "" && x.finished.IsZero() && step == 3:
		x.phase, x.finished, x.over = "Failed", second, x.started.IsZero()
		if x.over {
			x.finished = w.now
		}
	case x.finished.IsZero():
		x.cpu, x.gi = rapid.Int64Range(1, 3).Draw(w.t, "cpu"), rapid.Int64Range(1, 3).Draw(w.t, "gi")
		if !x.pod || x.node != "" {
			x.now(w.now)
		}
	}
	w.tell(object.Modified, x, x.body())
}

func (w *world) remove(x *thing) {
	w.wait()
	w.there = slices.DeleteFunc(w.there, func(y *thing) bool { return x == y })
	x.deleted = w.now
	body := x.body()
	uid := x.uid
	switch rapid.IntRange(0, 3).Draw(w.t, "tombstone") {
	case 0:
		body, x.estimated = "", true
		x.uid = rapid.SampledFrom([]string{x.uid, ""}).Draw(w.t, "stray")
	case 1:
		body = "garbage"
	}
	w.tell(object.Deleted, x, body)
	if x.uid == "" { // creations are known to the second
		x.uid, w.now = uid, w.now.Add(time.Second)
	}
}

func (w *world) check() {
	from := t0.Add(time.Duration(rapid.Int64Range(0, int64(w.now.Sub(t0)+day)/1e6).Draw(w.t, "from")) * 1e6)
	if rapid.Bool().Draw(w.t, "whole day") {
		from = from.Truncate(day)
	}
	to := from.Add(time.Duration(rapid.Int64Range(1, int64(4*day)/1e6).Draw(w.t, "long")) * 1e6)
	if to.After(w.now) {
		to = w.now // what comes after it, a model does not know
	}
	if !from.Before(to) {
		return
	}
	var want, got []string
	for _, x := range w.all {
		if x.created.Before(to) && (x.deleted.IsZero() || x.deleted.After(from)) && len(x.held) > 0 {
			want = append(want, x.line(from, to))
		}
	}
	lives, err := w.kind.read(context.Background(), w.db, from, to, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range lives {
		l := &lives[i]
		got = append(got, l.line(l.Tags.Get(w.kind.tagName), w.kind.uid(l), from, to, w.now))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("[%v, %v) (-want +got):\n%s", from, to, diff)
	}
}

// live lets the story happen, and then has everybody follow it to its end. With trims, the feed forgets
// now and then what was told.
func (w *world) live(trims bool) {
	for range rapid.IntRange(1, 40).Draw(w.t, "long") {
		n := rapid.IntRange(0, 9).Draw(w.t, "what")
		switch {
		case n < 2 || len(w.there) == 0 && n < 7:
			w.create()
		case n < 5:
			w.change(rapid.SampledFrom(w.there).Draw(w.t, "whom"))
		case n == 5 && len(w.there) > 0:
			w.remove(rapid.SampledFrom(w.there).Draw(w.t, "whom"))
		case n == 6 && trims && rapid.Bool().Draw(w.t, "trim"):
			w.feed.first = len(w.feed.entries)
		case n == 6:
			w.feed.at = w.wait()
		case n < 9:
			w.follow(0)
		default:
			w.follow(1)
		}
	}
	w.failing = false
	for i := range w.followers {
		if w.followers[i] == nil {
			w.start(i)
		}
		for range 40 {
			if err := w.followers[i].Step(context.Background()); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}
