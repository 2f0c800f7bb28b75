package lifetime

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Whatever happens to those who follow a feed, the lives are those of the story.
func TestTheStoryIsKept(t *testing.T) {
	for _, kind := range []*kind{&pods, &claims} {
		t.Run(kind.name, rapid.MakeCheck(func(t *rapid.T) {
			w := newWorld(t, kind)
			w.live(false)
			w.now = w.now.Add(time.Minute)
			for range 12 {
				w.check()
			}
		}))
	}
}

// After gaps it is known again what is there, and that everything else is gone.
func TestAfterGaps(t *testing.T) {
	for _, kind := range []*kind{&pods, &claims} {
		t.Run(kind.name, rapid.MakeCheck(func(t *rapid.T) {
			w := newWorld(t, kind)
			w.live(true)
			var want, got []string
			for _, x := range w.there {
				if len(x.held) > 0 && x.finished.IsZero() {
					want = append(want, fmt.Sprint(x.uid, x.created, x.held[len(x.held)-1].Amounts))
				}
			}
			lives, err := kind.read(t.Context(), w.db, w.now.Add(time.Hour), w.now.Add(2*time.Hour), nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := range lives {
				if l := &lives[i]; l.Finished.IsZero() {
					got = append(got, fmt.Sprint(kind.uid(l), l.Created, l.amounts()))
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		}))
	}
}

// What two know of a life comes to the same, whoever tells whom.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func(name string) time.Time {
			if n := rapid.IntRange(0, 4).Draw(t, name); n > 0 {
				return sec(float64(n))
			}
			return time.Time{}
		}
		draw := func() *Life {
			l := &Life{Created: t0, Scheduled: at("scheduled"), Started: at("started"), Finished: at("finished"), Deleted: at("deleted")}
			l.Estimated = !l.Deleted.IsZero() && rapid.Bool().Draw(t, "estimated")
			return l
		}
		of := func(lives ...*Life) *Life {
			var all Life
			for _, l := range lives {
				all.merge(l)
			}
			return &all
		}
		a, b, c := draw(), draw(), draw()
		for _, other := range []*Life{of(b, a, c), of(c, a, b), of(a, b, c, a), of(a, of(b, c))} {
			if all := of(a, b, c); !all.same(other) {
				t.Fatalf("%+v, %+v", all, other)
			}
		}
		all := of(a, b, c)
		for _, l := range []*Life{a, b, c} {
			if !l.Deleted.IsZero() && !l.Estimated && all.Estimated {
				t.Fatalf("%+v is an estimate, though %+v knows", all, l)
			}
		}
	})
}
