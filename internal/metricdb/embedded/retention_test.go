package embedded

import (
	"testing"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// clock is a test's own.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

const step = 20 * time.Minute

// batches writes a batch each step, in (c.now, c.now + d], and moves the clock along.
func batches(t *testing.T, s *Store, c *clock, load *dbtest.Load, d time.Duration) {
	t.Helper()
	for i := range int(d / step) {
		c.now = c.now.Add(step)
		if err := s.Write(t.Context(), load.Next(c.now, step)); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			maintain(t, s)
		}
	}
	maintain(t, s)
}

func maintain(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// span returns when the first and the last sample are, and how many there are.
func span(t *testing.T, s *Store) (first, last time.Time, samples int64) {
	t.Helper()
	q := metricdb.Query{Metric: "cpu/usage_rate", Level: metrics.Pod, From: dbtest.T0.Add(-100 * 365 * 24 * time.Hour), To: dbtest.T0.Add(100 * 365 * 24 * time.Hour)}
	got, err := s.Aggregate(t.Context(), q, metricdb.Grouping{Span: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) == 0 {
		return first, last, 0
	}
	return got[0].First, got[0].Last, got[0].Count
}

func TestRetention(t *testing.T) {
	c := &clock{now: dbtest.T0}
	s := open(t, Options{Retention: 3 * time.Hour, RecordRetention: 14 * 24 * time.Hour, Now: c.Now})
	load := dbtest.NewLoad(5, 1)
	batches(t, s, c, load, 10*time.Hour)
	first, _, _ := span(t, s)
	if age := c.now.Sub(first); age < 3*time.Hour || age > 4*time.Hour {
		t.Errorf("the oldest sample is %v old; want 3 to 4 hours", age)
	}
	spans, err := s.Resolutions(t.Context(), "", dbtest.T0, c.now.Add(time.Hour))
	if err != nil || len(spans) != 1 || spans[0].Batches != 30 {
		t.Errorf("records are kept apart: %v, %v", spans, err)
	}
	pause := c.now
	c.now = c.now.Add(60 * 24 * time.Hour) // nobody wrote for long
	maintain(t, s)
	if got, err := s.Resolutions(t.Context(), "", dbtest.T0, pause.Add(time.Hour)); err != nil || len(got) != 1 {
		t.Errorf("while nothing is written nothing is removed: %v, %v", got, err)
	}
	batches(t, s, c, load, 25*time.Hour)
	if got, err := s.Resolutions(t.Context(), "", dbtest.T0, pause.Add(time.Hour)); err != nil || len(got) != 0 {
		t.Errorf("after their retention: %v, %v", got, err)
	}
}

// TestClockJumpsAhead: what a clock in the future says is not believed for a day.
func TestClockJumpsAhead(t *testing.T) {
	c := &clock{now: dbtest.T0}
	s := open(t, Options{Retention: 10 * 24 * time.Hour, RecordRetention: 30 * 24 * time.Hour, Now: c.Now})
	load := dbtest.NewLoad(2, 1)
	batches(t, s, c, load, 40*time.Hour)
	before := c.now
	c.now = c.now.Add(50 * 365 * 24 * time.Hour)
	batches(t, s, c, load, 20*time.Hour)
	if first, _, n := span(t, s); !first.Equal(dbtest.T0.Add(step)) || n != 60*3*2 {
		t.Errorf("after 20 hours in the future there are %d samples from %v on; want all 360", n, first)
	}
	wrong := c.now
	c.now = before // someone saw to it
	batches(t, s, c, load, 10*time.Hour)
	if first, last, n := span(t, s); !first.Equal(dbtest.T0.Add(step)) || !last.Equal(wrong) || n != 70*3*2 {
		t.Errorf("after the clock was set right: %d samples from %v to %v", n, first, last)
	}
	batches(t, s, c, load, 11*24*time.Hour)
	if first, _, _ := span(t, s); c.now.Sub(first) < 10*24*time.Hour || c.now.Sub(first) > 10*24*time.Hour+2*time.Hour {
		t.Errorf("retention does not go on: the first sample is %v old", c.now.Sub(first))
	}
	// Nobody sees to it: after a day it is believed.
	c.now = c.now.Add(50 * 365 * 24 * time.Hour)
	from := c.now
	batches(t, s, c, load, 26*time.Hour)
	if first, _, _ := span(t, s); first.Before(from.Add(-time.Hour)) && !first.Equal(before.Add(50*365*24*time.Hour+step)) {
		t.Errorf("after a day in the future there is still %v", first)
	}
}

// TestClockAt1970 folds and removes nothing that it should not, and loses nothing.
func TestClockAt1970(t *testing.T) {
	c := &clock{now: dbtest.T0}
	s := open(t, Options{Retention: 24 * time.Hour, Now: c.Now})
	load := dbtest.NewLoad(2, 1)
	batches(t, s, c, load, 3*time.Hour)
	right := c.now
	c.now = time.Unix(0, 0).UTC()
	batches(t, s, c, load, 3*time.Hour)
	if first, last, n := span(t, s); !first.Equal(time.Unix(1200, 0)) || !last.Equal(right) || n != 6*3*2 {
		t.Errorf("%d samples from %v to %v", n, first, last)
	}
	c.now = right
	batches(t, s, c, load, 16*time.Hour)
	if first, last, n := span(t, s); !first.Equal(time.Unix(1200, 0)) || !last.Equal(c.now) || n != 22*3*2 {
		t.Errorf("once the clock is right: %d samples from %v to %v", n, first, last)
	}
	batches(t, s, c, load, 5*time.Hour)
	if first, last, n := span(t, s); !first.Equal(dbtest.T0.Add(step)) || !last.Equal(c.now) || n != 24*3*2 {
		t.Errorf("a day later: %d samples from %v to %v", n, first, last)
	}
}
