package lifetime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// t0 is when stories begin: a whole hour.
var t0 = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// of returns the records of a set as text: hour and fields.
func of(db *dbtest.Memory, set string, fields ...string) (lines []string) {
	for r := range db.Records(context.Background(), metricdb.RecordQuery{Set: set, Fields: fields, From: time.Unix(0, 0), To: t0.Add(1000 * day)}) {
		line := r.Time.Format("15:04")
		for _, field := range r.Fields {
			line += " " + field.Name + "=" + field.Value.String()
		}
		lines = append(lines, line)
	}
	return lines
}

// story is Lifetimes between a feed and a database.
type story struct {
	t    *testing.T
	db   *dbtest.Memory
	feed *feed
	now  time.Time
	l    *Follower
}

func newStory(t *testing.T) *story {
	s := &story{t: t, db: dbtest.NewMemory(), feed: newFeed(), now: t0.Add(time.Hour)}
	s.restart()
	return s
}

func (s *story) restart() {
	s.l = NewFollower(s.db, s.feed, "one", Options{Now: func() time.Time { return s.now }}, quiet())
}

func (s *story) step() {
	s.t.Helper()
	for range 6 {
		if err := s.l.Step(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}

// lives are all lives of the first week as text: seconds after t0, "-" if unknown.
func (s *story) lives() []string {
	s.t.Helper()
	lives, err := Pods(s.t.Context(), s.db, t0, t0.Add(7*day))
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, l := range lives {
		line := l.Tags.Get("pod_name") + "/" + l.UID()
		for _, at := range []time.Time{l.Created, l.Scheduled, l.Started, l.Finished, l.Deleted} {
			if at.IsZero() {
				line += " -"
			} else {
				line += fmt.Sprintf(" %v", at.Sub(t0).Seconds())
			}
		}
		if l.Estimated {
			line += " estimated"
		}
		all = append(all, line)
	}
	return all
}

func sec(n float64) time.Time { return t0.Add(time.Duration(n * float64(time.Second))) }

func TestLifetimes(t *testing.T) {
	s := newStory(t)
	f := s.feed
	f.tell(object.Added, sec(1), "old", "o", podBody("old", "o", sec(0), "n1", running(sec(1), sec(2))))
	s.step()
	f.tell(object.Added, sec(10), "web", "u1", podBody("web", "u1", sec(10), "", `"phase":"Pending"`))
	s.step()
	f.tell(object.Modified, sec(11), "web", "u1", podBody("web", "u1", sec(10), "n1", scheduled(sec(11))))
	f.tell(object.Modified, sec(13), "web", "u1", podBody("web", "u1", sec(10), "n1", running(sec(11), sec(12))))
	s.step()
	s.restart()
	// A container that starts again does not start the pod again.
	f.tell(object.Modified, sec(20), "web", "u1", podBody("web", "u1", sec(10), "n1", running(sec(11), sec(19))))
	f.tell(object.Deleted, sec(30.25), "web", "u1", podBody("web", "u1", sec(10), "n1", succeeded(sec(11), sec(19), sec(29))))
	f.tell(object.Added, sec(31), "web", "u2", podBody("web", "u2", sec(31), "n2", scheduled(sec(31))))
	// It comes and goes between two looks, and never ran.
	f.tell(object.Added, sec(40), "brief", "b", podBody("brief", "b", sec(40), "n1", scheduled(sec(40))))
	f.tell(object.Deleted, sec(40.5), "brief", "b", podBody("brief", "b", sec(40), "n1", scheduled(sec(40))))
	s.step()
	equal(t, s.lives(), "brief/b 40 40 - - 40.5", "old/o 0 1 2 - -", "web/u1 10 11 12 29 30.25", "web/u2 31 31 - - -")
	lives, err := Pods(t.Context(), s.db, t0, t0.Add(day), metricdb.Is("pod_name", "old"))
	if err != nil || len(lives) != 1 {
		t.Fatal(lives, err)
	}
	if l := lives[0]; l.CPU != 250+100+50 || l.Memory != 64<<20 || l.GPU != 1 || l.Containers != 1 || l.Tags.Get("labels") != "a:1,b:2" || l.Tags.Get("nodename") != "n1" {
		t.Errorf("%+v", l)
	}
	if len(of(s.db, pods.set, "created")) != 4 {
		t.Errorf("records of pods: %v", of(s.db, pods.set, "created"))
	}
	writes := s.db.Writes
	s.step()
	if s.db.Writes != writes {
		t.Error("it writes though nothing changed")
	}
}

func TestLifetimesAfterAGap(t *testing.T) {
	s := newStory(t)
	f := s.feed
	for _, name := range []string{"a", "b", "c"} {
		f.tell(object.Added, sec(1), name, name, podBody(name, name, sec(0), "n1", running(sec(1), sec(2))))
	}
	s.step()
	f.tell(object.Deleted, sec(10), "a", "a", podBody("a", "a", sec(0), "n1", running(sec(1), sec(2))))
	f.tell(object.Modified, sec(11), "b", "b", podBody("b", "b", sec(0), "n1", running(sec(1), sec(2))))
	f.first = len(f.entries) // nobody reads that any more
	f.atScan = func() {
		f.tell(object.Deleted, sec(20), "b", "b", podBody("b", "b", sec(0), "n1", running(sec(1), sec(2))))
		f.tell(object.Added, sec(21), "d", "d", podBody("d", "d", sec(21), "n1", scheduled(sec(21))))
	}
	f.tell(object.Modified, sec(12), "c", "c", podBody("c", "c", sec(0), "n1", running(sec(1), sec(2))))
	f.first = len(f.entries)
	s.restart()
	for range 3 {
		if err := s.l.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	s.step()
	// What the feed still says is exact; what it does not is dated when it was noticed.
	equal(t, s.lives(), "a/a 0 1 2 - 12 estimated", "b/b 0 1 2 - 20", "c/c 0 1 2 - -", "d/d 21 21 - - -")
}

// TestLifetimesNothingIsLost: whatever write fails, all is there in the end.
func TestLifetimesNothingIsLost(t *testing.T) {
	for broken := range 6 {
		s := newStory(t)
		s.step() // what was over before it began, it does not know
		n := 0
		s.db.Fail = func([]metricdb.Record) error {
			if n++; n == broken+1 {
				return errors.New("away")
			}
			return nil
		}
		for i := range 8 {
			name := fmt.Sprint("p", i)
			at := sec(float64(i))
			s.feed.tell(object.Added, at, name, name, podBody(name, name, at, "n1", scheduled(at)))
			s.feed.tell(object.Deleted, at.Add(500*time.Millisecond), name, name, podBody(name, name, at, "n1", scheduled(at)))
			for range 2 {
				if err := s.l.Step(t.Context()); err != nil {
					s.restart()
				}
			}
		}
		s.db.Fail = nil
		s.step()
		var want []string
		for i := range 8 {
			want = append(want, fmt.Sprintf("p%d/p%d %d %d - - %v", i, i, i, i, float64(i)+.5))
		}
		equal(t, s.lives(), want...)
	}
}

// TestLivesOfLongAgo: pods that were created before are found from the day's record,
// and their ends from those of pods that ended.
func TestLivesOfLongAgo(t *testing.T) {
	s := newStory(t)
	s.feed.tell(object.Added, sec(1), "long", "l", podBody("long", "l", sec(0), "n1", running(sec(1), sec(2))))
	s.step()
	for i := range 3 {
		s.now = t0.Add(time.Duration(i+1)*day + time.Minute)
		s.feed.at = s.now
		s.step()
	}
	s.now = t0.Add(3*day + time.Hour)
	s.feed.tell(object.Deleted, t0.Add(3*day+time.Hour), "long", "l", podBody("long", "l", sec(0), "n1", running(sec(1), sec(2))))
	s.step()
	s.db.Drop(pods.set) // it is not looked at
	f := func(from, to time.Time, want int) {
		t.Helper()
		lives, err := Pods(t.Context(), s.db, from, to)
		if err != nil || len(lives) != want {
			t.Errorf("%v: %+v %v", from, lives, err)
		} else if want == 1 && to.After(t0.Add(3*day+time.Hour)) && !lives[0].Deleted.Equal(t0.Add(3*day+time.Hour)) {
			t.Errorf("%+v has no end", lives[0])
		}
	}
	f(t0.Add(day), t0.Add(day+time.Hour), 1)
	f(t0.Add(2*day), t0.Add(4*day), 1)
	f(t0.Add(3*day+2*time.Hour), t0.Add(4*day), 0)
}

// TestFirstStart: what came and went before is taken in as far as the feed reaches back.
func TestFirstStart(t *testing.T) {
	s := newStory(t)
	f := s.feed
	for i, name := range []string{"a", "b", "c", "d"} {
		at := sec(float64(10 * i))
		f.tell(object.Added, at, name, name, podBody(name, name, at, "n1", scheduled(at)))
		f.tell(object.Deleted, at.Add(5*time.Second), name, name, podBody(name, name, at, "n1", scheduled(at)))
	}
	f.first = 3 // the end of b is the first that it still has
	f.tell(object.Added, sec(50), "e", "e", podBody("e", "e", sec(50), "n1", scheduled(sec(50))))
	s.step()
	equal(t, s.lives(), "b/b 10 10 - - 15", "c/c 20 20 - - 25", "d/d 30 30 - - 35", "e/e 50 50 - - -")
}

// TestTombstones: one may have no body, one that cannot be read, or only the name.
func TestTombstones(t *testing.T) {
	s := newStory(t)
	f := s.feed
	for _, name := range []string{"bare", "broken", "stray", "free"} {
		node := "n1"
		if name == "free" { // it never had one
			node = ""
		}
		f.tell(object.Added, sec(1), name, name, podBody(name, name, sec(0), node, scheduled(sec(1))))
	}
	s.step()
	s.restart()
	f.tell(object.Deleted, sec(10), "bare", "bare", "")
	f.tell(object.Deleted, sec(11), "broken", "broken", "garbage")
	f.tell(object.Deleted, sec(12), "stray", "", "")
	f.tell(object.Deleted, sec(13), "free", "free", "")
	f.tell(object.Deleted, sec(14), "unknown", "unknown", "garbage")
	s.step()
	equal(t, s.lives(), "bare/bare 0 1 - - 10 estimated", "broken/broken 0 1 - - 11", "stray/stray 0 1 - - 12 estimated")
}

// TestFinished: a pod that is over and stays holds nothing any more, also days later.
func TestFinished(t *testing.T) {
	s := newStory(t)
	s.feed.tell(object.Added, sec(1), "job", "j", podBody("job", "j", sec(0), "n1", running(sec(1), sec(2))))
	s.feed.tell(object.Added, sec(1), "evicted", "e", podBody("evicted", "e", sec(0), "n1", scheduled(sec(1))))
	s.step()
	at := t0.Add(2*day + time.Hour)
	s.now = at.Add(time.Second)
	s.feed.tell(object.Modified, at, "job", "j", podBody("job", "j", sec(0), "n1", succeeded(sec(1), sec(2), at.Add(-time.Minute))))
	s.feed.tell(object.Modified, at, "evicted", "e", podBody("evicted", "e", sec(0), "n1", strings.Replace(scheduled(sec(1)), "Pending", "Failed", 1)))
	s.step()
	s.now = at.Add(3 * day)
	s.feed.at = s.now
	s.step()
	s.feed.tell(object.Deleted, s.now, "evicted", "e", podBody("evicted", "e", sec(0), "n1", strings.Replace(scheduled(sec(1)), "Pending", "Failed", 1)))
	s.step()
	for from, want := range map[time.Time]time.Duration{t0.Add(day): day + time.Hour, t0.Add(2 * day): time.Hour, t0.Add(4 * day): 0} {
		lives, err := Pods(t.Context(), s.db, from, t0.Add(6*day))
		if err != nil || len(lives) != 2 {
			t.Fatalf("%v %v", lives, err)
		}
		job, evicted := lives[1].Held(from, t0.Add(6*day), s.now), lives[0].Held(from, t0.Add(6*day), s.now)
		if job != max(want-time.Minute, 0) || evicted != want {
			t.Errorf("from %v: the job %v, the evicted one %v, want about %v", from, job, evicted, want)
		}
	}
}
