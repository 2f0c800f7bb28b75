package streamer

import (
	"context"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestMemoryOfLineages(t *testing.T) {
	f := func(name string, happen func(m *memory), want bool) {
		t.Helper()
		var m memory
		m.took("")
		m.begun(0, "A", "")
		m.begun(0, "B", "A")
		happen(&m)
		if got := m.recall("A").severed; got != want {
			t.Errorf("%s: severed %v, want %v", name, got, want)
		}
	}
	f("took over again", func(m *memory) { m.took("B") }, false)
	f("lost some", func(m *memory) { m.lostWrites(); m.took("B") }, false)
	f("lost all", func(m *memory) { m.lostWrites(); m.took("") }, true)
	f("lost a lineage", func(m *memory) { m.lostWrites(); m.took("A") }, true)
	f("fenced, and the log is an older one", func(m *memory) { m.took("A") }, true)
	f("lost a lineage that another one began", func(m *memory) { m.lostWrites(); m.took("Z") }, true)
	f("another one began a lineage", func(m *memory) { m.took("C") }, false)
	f("and then lost it", func(m *memory) { m.took("C"); m.took("B") }, true)
	f("begun anew", func(m *memory) { m.took("A"); m.begun(0, "C", "A") }, false)
}

func TestMemoryOfWishes(t *testing.T) {
	var m memory
	m.want(reasonExpired)
	m.want(reasonAsked)
	known := m.recall("")
	if known.pending != reasonExpired {
		t.Errorf("pending %q, want the first", known.pending)
	}
	m.want(reasonRestored)
	m.begun(known.wishes, "A", "")
	if got := m.recall("A").pending; got != reasonRestored {
		t.Errorf("pending %q, want what came after the plan", got)
	}
	m.begun(m.recall("A").wishes, "B", "A")
	if got := m.recall("B").pending; got != "" {
		t.Errorf("pending %q after it was done", got)
	}
}

func TestTrailCompares(t *testing.T) {
	set := func(versions ...object.Version) map[object.Version]struct{} {
		s := make(map[object.Version]struct{})
		for _, v := range versions {
			s[v] = struct{}{}
		}
		return s
	}
	f := func(first []object.Version, second map[object.Version]struct{}, lacking, extra int) {
		t.Helper()
		trail := newTrail("10")
		trail.goLive("10")
		trail.mark()
		for _, v := range first {
			trail.saw(v)
		}
		l, e := trail.compare(evidence{from: "10", versions: second, bookmark: "20"})
		if l != lacking || e != extra {
			t.Errorf("%v and %v: lacking %d, extra %d; want %d, %d", first, second, l, e, lacking, extra)
		}
	}
	f(nil, set(), 0, 0)
	f([]object.Version{"12", "15"}, set("12", "15"), 0, 0)
	f([]object.Version{"15"}, set("12", "15"), 1, 0)
	f([]object.Version{"12", "15"}, set("12"), 0, 1)
	f([]object.Version{"9", "12", "21"}, set("12"), 0, 0) // a repetition, and what came later
}

// scripted is a server whose next complete list is written down.
type scripted struct {
	*server
	list []object.Event
}

func (s *scripted) Initial(ctx context.Context, r object.Resource) iter.Seq2[object.Event, error] {
	if s.list == nil {
		return s.server.Initial(ctx, r)
	}
	list := s.list
	s.list = nil
	return func(yield func(object.Event, error) bool) {
		for _, event := range list {
			if !yield(event, nil) {
				return
			}
		}
		_ = sleep(ctx, 2*time.Second)
	}
}

func TestListsThatAreNone(t *testing.T) {
	columns := []object.Column{{Name: "Name"}}
	f := func(name string, list []object.Event, want ...string) {
		inWorld(t, func(w *world) {
			w.write("a")
			w.follow()
			w.end()
			w.do(func() { w.floor, w.rv = 10, 10 })
			ctx, cancel := context.WithCancel(w.t.Context())
			w.stop = cancel
			w.running.Go(func() {
				_ = New("pods", &scripted{server: w.server, list: list}, w.redis.open, w.options, w.logger).Run(ctx)
			})
			w.pass(20 * time.Second)
			got := brief(batch{items: w.redis.all()[4:]})
			if !slices.Equal(got[:len(want)], want) {
				w.t.Errorf("%s: log %v, want %v", name, got, want)
			}
			w.redis.ask(object.AskAdvance)
			w.pass(20 * time.Second)
			w.wantTruth()
		})
	}
	f("a bookmark before the end says nothing", []object.Event{
		{Type: object.Columns, Columns: columns},
		{Type: object.Bookmark, Version: "11"},
	}, "begin", "columns", "begin", "columns", "record 2", "end 10")
	f("the same columns again", []object.Event{
		{Type: object.Columns, Columns: columns},
		{Type: object.Columns, Columns: columns},
	}, "begin", "columns", "begin", "columns", "record 2", "end 10")
	f("an end below the log", []object.Event{{Type: object.InitialEnd, Version: "1"}},
		"begin", "begin", "columns", "record 2", "end 10")
}

// A list that is cut off is not taken for one that the server's timeout ended.
func TestListCutOff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.write("a")
		w.write("b")
		w.pace = time.Second
		w.start()
		w.pass(1500 * time.Millisecond)
		w.sever("main", cutClean)
		w.pass(800 * time.Millisecond)
		w.wantState(object.StateUnreachable, "before the list was complete")
		w.wantCount("reconnects broken", 1)
		w.wantCount("reconnects closed", 0)
		w.pass(20 * time.Second)
		w.wantTruth()
	})
}

// A new lineage whose list broke is gone on with: there is not one more for it.
func TestRestoredAndCutOff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.write("a")
		w.write("b")
		w.write("c")
		w.follow()
		w.do(func() { w.snag = true })
		w.restore(1)
		w.pass(time.Minute)
		w.wantCount("resyncs restored", 1)
		w.wantCount("resyncs unfinished", 1)
		w.wantTruth()
	})
}

// Asks that come while what they ask for has just begun do not begin it again.
func TestAsksForAListThatRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		w.write("a")
		w.write("b")
		w.follow()
		w.do(func() { w.pace = 2 * time.Second })
		w.redis.ask(object.AskResync)
		for range 5 {
			w.pass(beatEvery / 2)
			w.redis.ask(object.AskResync)
		}
		w.pass(time.Minute)
		if n := w.count("resyncs asked") + w.count("resyncs unfinished"); n > 2 {
			w.t.Errorf("%d complete lists for asks within 4 s", n)
		}
		w.wantTruth()
	})
}
