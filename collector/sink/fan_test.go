package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// fakeSink takes batches as it is told.
type fakeSink struct {
	takes  time.Duration
	errs   []error // of the next tries
	runErr error

	mu      sync.Mutex
	tries   []string
	written []string
	stopped bool
}

func (s *fakeSink) Run(ctx context.Context) error {
	if s.runErr != nil {
		return s.runErr
	}
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	return nil
}

func (s *fakeSink) Write(ctx context.Context, b *metrics.Batch) error {
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errors.New("it has stopped")
	}
	name := b.Time.Format("04:05")
	s.tries = append(s.tries, name)
	if len(s.errs) > 0 {
		err := s.errs[0]
		if s.errs = s.errs[1:]; err != nil {
			return err
		}
	}
	s.written = append(s.written, name)
	return nil
}

// fan runs f beside a Fan that has sinks, and returns its metrics.
func fan(t *testing.T, options Options, f func(*Fan), sinks ...*fakeSink) *Metrics {
	t.Helper()
	options.Metrics = NewMetrics(nil)
	var named []Named
	for i, s := range sinks {
		named = append(named, Named{fmt.Sprintf("sink%d", i), s})
	}
	ctx, cancel := context.WithCancel(t.Context())
	it := NewFan("default", named, options, slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- it.Run(ctx) }()
	f(it)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return options.Metrics
}

func batch() *metrics.Batch { return &metrics.Batch{Cluster: "default", Time: time.Now()} }

// every puts a batch each second, so many.
func every(f *Fan, n int) {
	for range n {
		f.Put(batch())
		time.Sleep(time.Second)
	}
}

func (m *Metrics) dropped(sink string) int {
	return int(testutil.ToFloat64(m.drops.WithLabelValues("default", sink)))
}

// The vectors of the original: a sink that takes 4 s gets 2 to 3 batches in 9.5 s, and
// others get all.
func TestSlowSinkLosesTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, fast := &fakeSink{takes: 4 * time.Second}, &fakeSink{}
		m := fan(t, Options{}, func(f *Fan) {
			every(f, 9)
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			if n := len(slow.written); n < 2 || n > 3 {
				t.Errorf("the slow sink has %d batches after 9.5 s", n)
			}
			if n := len(fast.written); n != 9 {
				t.Errorf("the fast sink has %d batches", n)
			}
		}, slow, fast)
		if n := m.dropped("sink1"); n != 0 {
			t.Errorf("the fast sink lost %d", n)
		}
		if n := m.dropped("sink0"); n+len(slow.written) != 9 || n < 4 {
			t.Errorf("the slow sink lost %d and has %v", n, slow.written)
		}
		if !slices.IsSorted(slow.written) {
			t.Errorf("out of order: %v", slow.written)
		}
	})
}

func TestFailedBatchIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("away")
		s := &fakeSink{errs: []error{away, away, nil, nil}}
		m := fan(t, Options{}, func(f *Fan) { every(f, 2); time.Sleep(time.Minute) }, s)
		if diff := cmp.Diff([]string{"00:00", "00:00", "00:00", "00:01"}, s.tries); diff != "" {
			t.Errorf("tries: %s", diff)
		}
		if n := m.dropped("sink0"); n != 0 {
			t.Errorf("%d lost", n)
		}
	})
}

// What the sink works on comes first when it is back, and of what waited the newest.
func TestLongOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSink{}
		for range 20 {
			s.errs = append(s.errs, errors.New("away"))
		}
		m := fan(t, Options{}, func(f *Fan) { every(f, 60); time.Sleep(time.Minute) }, s)
		if diff := cmp.Diff([]string{"00:00", "00:58", "00:59"}, s.written); diff != "" {
			t.Errorf("written: %s", diff)
		}
		if n := m.dropped("sink0"); n != 57 {
			t.Errorf("%d lost, want 57", n)
		}
	})
}

func TestOldBatchIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSink{}
		for range 1000 {
			s.errs = append(s.errs, errors.New("away"))
		}
		m := fan(t, Options{MaxAge: 30 * time.Second}, func(f *Fan) { every(f, 1); time.Sleep(time.Minute) }, s)
		if n := m.dropped("sink0"); n != 1 || len(s.tries) > 12 {
			t.Errorf("%d lost after %d tries", n, len(s.tries))
		}
	})
}

func TestDropAndStandbyAreFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSink{errs: []error{fmt.Errorf("%w: too old", ErrDrop), ErrStandby}}
		m := fan(t, Options{}, func(f *Fan) { every(f, 3) }, s)
		if diff := cmp.Diff([]string{"00:00", "00:01", "00:02"}, s.tries); diff != "" {
			t.Errorf("tries: %s", diff)
		}
		if n := m.dropped("sink0"); n != 1 {
			t.Errorf("%d lost: standing by is no loss", n)
		}
	})
}

func TestTryEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSink{takes: time.Hour}
		m := fan(t, Options{Timeout: 20 * time.Second, MaxAge: 10 * time.Second}, func(f *Fan) { every(f, 1); time.Sleep(25 * time.Second) }, s)
		if n := m.dropped("sink0"); n != 1 {
			t.Errorf("%d lost", n)
		}
	})
}

// What waits when we are to end is written first, but not for ever.
func TestEndDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fakeSink{takes: time.Second}
		fan(t, Options{}, func(f *Fan) {
			for range 3 {
				f.Put(batch())
				time.Sleep(time.Millisecond)
			}
		}, s)
		if n := len(s.written); n != 3 {
			t.Errorf("%d of 3 written", n)
		}
		began := time.Now()
		hung := &fakeSink{takes: time.Hour}
		fan(t, Options{}, func(f *Fan) { f.Put(batch()); f.Put(batch()) }, hung)
		if took := time.Since(began); took > drainTime {
			t.Errorf("the end took %v", took)
		}
	})
}

func TestSinkThatCannotRunEndsAll(t *testing.T) {
	broken := &fakeSink{runErr: errors.New("broken")}
	f := NewFan("default", []Named{{"a", broken}, {"b", &fakeSink{}}}, Options{}, slog.New(slog.DiscardHandler))
	if err := f.Run(t.Context()); !errors.Is(err, broken.runErr) {
		t.Errorf("error %v", err)
	}
}

// ready has nothing to do beside.
type ready struct{ fakeSink }

func (*ready) Run(context.Context) error { return nil }

func TestSinkWithoutWorkBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &ready{}
		f := NewFan("default", []Named{{"a", s}}, Options{}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		every(f, 3)
		cancel()
		if err := <-ended; err != nil || len(s.written) != 3 {
			t.Errorf("%v written, error %v", s.written, err)
		}
		if got := f.Tenure(); got != (Tenure{Number: 1}) {
			t.Errorf("tenure %v where nobody decides it", got)
		}
	})
}
