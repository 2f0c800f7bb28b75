package sink

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// fakeRedis is one stream of frames, with one holder.
type fakeRedis struct {
	mu     sync.Mutex
	holder *fakeWriter
	frames []object.Frame
	key    object.Frame
	keys   int
	away   error
}

type fakeWriter struct {
	redis *fakeRedis
	lost  error // of the next Append
}

func (w *fakeWriter) Acquire(ctx context.Context, waiting func(string)) error {
	for told := false; ; {
		w.redis.mu.Lock()
		err, free := w.redis.away, w.redis.holder == nil || w.redis.holder == w
		if err == nil && free {
			w.redis.holder = w
		}
		w.redis.mu.Unlock()
		if err != nil || free {
			return err
		}
		if !told {
			told = true
			waiting("another")
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// held returns an error unless w holds the stream. The caller holds the lock.
func (w *fakeWriter) held() error {
	if w.redis.away != nil {
		return w.redis.away
	}
	if w.redis.holder != w {
		return object.ErrFenced
	}
	return nil
}

func (w *fakeWriter) Beat(context.Context) error {
	w.redis.mu.Lock()
	defer w.redis.mu.Unlock()
	return w.held()
}

func (w *fakeWriter) Last(context.Context) (time.Time, error) {
	w.redis.mu.Lock()
	defer w.redis.mu.Unlock()
	if len(w.redis.frames) == 0 {
		return time.Time{}, w.redis.away
	}
	return w.redis.frames[len(w.redis.frames)-1].At, w.redis.away
}

func (w *fakeWriter) Append(_ context.Context, frame object.Frame, key []byte) error {
	w.redis.mu.Lock()
	defer w.redis.mu.Unlock()
	if err := w.held(); err != nil {
		return err
	}
	if err := w.lost; err != nil {
		w.lost = nil
		return err
	}
	w.redis.frames = append(w.redis.frames, frame)
	if key != nil {
		w.redis.key = object.Frame{At: frame.At, Data: key}
		w.redis.keys++
	}
	return nil
}

func (w *fakeWriter) Release(context.Context) error {
	w.redis.mu.Lock()
	defer w.redis.mu.Unlock()
	if w.redis.holder == w {
		w.redis.holder = nil
	}
	return nil
}

func (r *fakeRedis) Keyframe(context.Context, object.FrameStream) (object.Frame, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.key.Data == nil {
		return object.Frame{}, object.ErrNotSynced
	}
	return r.key, nil
}

func (r *fakeRedis) Range(_ context.Context, _ object.FrameStream, after time.Time) (frames []object.Frame, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.frames {
		if f.At.After(after) {
			frames = append(frames, f)
		}
	}
	return frames, nil
}

// lose forgets everything, as a Redis that restarts empty.
func (r *fakeRedis) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames, r.key = nil, object.Frame{}
}

func (r *fakeRedis) setAway(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = err
}

var stream = object.FrameStream{Cluster: "default", Shards: 1}

// collector is a Redis sink and what a pipeline does with it.
type collector struct {
	t      *testing.T
	redis  *fakeRedis
	writer *fakeWriter
	sink   *Redis
	ledger *metrics.Ledger
	tenure int
	stop   func()
}

func collect(t *testing.T, redis *fakeRedis) *collector {
	c := &collector{t: t, redis: redis, writer: &fakeWriter{redis: redis}, ledger: metrics.NewLedger(time.Hour)}
	c.sink = NewRedis(stream, c.writer, redis, nil, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.sink.Run(ctx) }()
	c.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	synctest.Wait()
	return c
}

// batch makes the batch of now, in which each pod uses so much memory.
func (c *collector) batch(memory map[string]int64) *metrics.Batch {
	if tenure := c.sink.Tenure(); tenure.Number != c.tenure {
		if c.tenure = tenure.Number; tenure.Base != nil {
			c.ledger = tenure.Ledger
		}
	}
	b := c.ledger.Begin("default", time.Now().UTC().Truncate(30*time.Second), 30*time.Second)
	ns := metrics.Ref{Kind: metrics.Namespace, Row: b.Row(metrics.Namespace, metrics.Ref{}, "ns")}
	for pod, bytes := range memory {
		b.Tables[metrics.Pod].Set(metrics.MemoryUsage, b.Row(metrics.Pod, ns, pod), bytes)
	}
	return b
}

func (c *collector) write(memory map[string]int64) {
	c.t.Helper()
	if err := c.sink.Write(c.t.Context(), c.batch(memory)); err != nil {
		c.t.Fatal(err)
	}
}

// follow reads the stream as an apiserver that starts now.
func (r *fakeRedis) follow(t *testing.T) *metrics.View {
	t.Helper()
	m := metrics.NewModel(15 * time.Minute)
	var deltas [][]byte
	for _, f := range r.frames {
		deltas = append(deltas, f.Data)
	}
	if err := m.Restore(stream, r.key.Data, deltas); err != nil {
		t.Fatal(err)
	}
	return m.View("default")
}

func wantSeries(t *testing.T, v *metrics.View, pod string, want ...int64) {
	t.Helper()
	points, _, _ := v.Series(metrics.Key{Kind: metrics.Pod, Namespace: "ns", Pod: pod}, "memory/usage", nil, time.Time{}, time.Now())
	var got []int64
	for _, p := range points {
		got = append(got, p.Bits)
	}
	if len(got) != len(want) {
		t.Errorf("series of %s: %v, want %v", pod, got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("series of %s: %v, want %v", pod, got, want)
			return
		}
	}
}

const window = 30 * time.Second

func TestRedisKeyframes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		redis := &fakeRedis{}
		c := collect(t, redis)
		defer c.stop()
		var want []int64
		for n := range int64(23) {
			time.Sleep(window)
			c.write(map[string]int64{"a": 100 * n})
			want = append(want, 100*n)
		}
		if redis.keys != 3 || len(redis.frames) != 23 {
			t.Errorf("%d keyframes and %d frames", redis.keys, len(redis.frames))
		}
		wantSeries(t, redis.follow(t), "a", want...)
		redis.wantDeltas(t)
	})
}

// wantDeltas fails if one of the frames after the first does not need the one before it.
func (r *fakeRedis) wantDeltas(t *testing.T) {
	t.Helper()
	for i := 2; i < len(r.frames); i++ {
		m := metrics.NewModel(15 * time.Minute)
		if err := m.Restore(stream, nil, [][]byte{r.frames[0].Data}); err != nil {
			t.Fatal(err)
		}
		if err := m.Apply(stream, r.frames[i].Data); !errors.Is(err, metrics.ErrGap) {
			t.Errorf("frame %d after the first: %v, want a gap", i, err)
		}
	}
}

// A collector that takes over goes on where the other ended: readers see one series.
func TestRedisTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		redis := &fakeRedis{}
		first := collect(t, redis)
		second := collect(t, redis)
		if got := second.sink.Tenure(); !got.Standby || got.Number != 0 {
			t.Errorf("the second's tenure: %+v", got)
		}
		time.Sleep(window)
		first.write(map[string]int64{"a": 1, "b": 10})
		if err := second.sink.Write(t.Context(), second.batch(nil)); !errors.Is(err, ErrStandby) {
			t.Errorf("the second writes: %v", err)
		}
		time.Sleep(window)
		first.write(map[string]int64{"a": 2, "b": 20})
		first.stop()
		time.Sleep(time.Second)
		if got := second.sink.Tenure(); got.Standby || got.Number != 1 || got.Base == nil {
			t.Fatalf("the second's tenure: %+v", got)
		}
		// The window that the first has served is not served again.
		if err := second.sink.Write(t.Context(), second.batch(nil)); !errors.Is(err, ErrStandby) {
			t.Errorf("the second writes the same window: %v", err)
		}
		time.Sleep(window)
		second.write(map[string]int64{"c": 300, "a": 3})
		second.stop()
		v := redis.follow(t)
		wantSeries(t, v, "a", 1, 2, 3)
		wantSeries(t, v, "b", 10, 20)
		wantSeries(t, v, "c", 300)
		redis.wantDeltas(t)
	})
}

func TestRedisLosesItsData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		redis := &fakeRedis{}
		c := collect(t, redis)
		defer c.stop()
		time.Sleep(window)
		c.write(map[string]int64{"a": 1})
		redis.lose()
		c.writer.lost = object.ErrLost
		time.Sleep(window)
		b := c.batch(map[string]int64{"a": 2})
		if err := c.sink.Write(t.Context(), b); !errors.Is(err, object.ErrLost) {
			t.Fatalf("error %v", err)
		}
		time.Sleep(5 * time.Second)
		if err := c.sink.Write(t.Context(), b); err != nil { // as the queue does
			t.Fatal(err)
		}
		time.Sleep(window)
		c.write(map[string]int64{"a": 3})
		wantSeries(t, redis.follow(t), "a", 2, 3)
	})
}

// Redis has all that we wrote after all.
func TestRedisTakenOverByOurselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		redis := &fakeRedis{}
		c := collect(t, redis)
		defer c.stop()
		time.Sleep(window)
		c.write(map[string]int64{"a": 1})
		c.writer.lost = object.ErrLost
		time.Sleep(window)
		b := c.batch(map[string]int64{"a": 2})
		if err := c.sink.Write(t.Context(), b); !errors.Is(err, object.ErrLost) {
			t.Fatalf("error %v", err)
		}
		time.Sleep(5 * time.Second)
		if got := c.sink.Tenure(); got.Number != 1 || got.Standby || got.Base != nil {
			t.Errorf("tenure %+v: it is still the first", got)
		}
		if err := c.sink.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		wantSeries(t, redis.follow(t), "a", 1, 2)
	})
}

func TestRedisAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		redis := &fakeRedis{}
		c := collect(t, redis)
		defer c.stop()
		time.Sleep(window)
		c.write(map[string]int64{"a": 1})
		redis.setAway(errors.New("away"))
		time.Sleep(10 * time.Minute)
		b := c.batch(map[string]int64{"a": 2})
		if err := c.sink.Write(t.Context(), b); err == nil || errors.Is(err, ErrDrop) {
			t.Fatalf("error %v", err)
		}
		redis.setAway(nil)
		time.Sleep(longPause)
		if err := c.sink.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if redis.keys != 2 { // readers may have lost their place
			t.Errorf("%d keyframes after the gap, want 2", redis.keys)
		}
		if got := c.sink.Tenure().Number; got != 1 {
			t.Errorf("tenure %d: it was ours all the time", got)
		}
	})
}

// Redis was away when another took over.
func TestRedisFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		redis := &fakeRedis{}
		first := collect(t, redis)
		defer first.stop()
		time.Sleep(window)
		first.write(map[string]int64{"a": 1})
		second := &fakeWriter{redis: redis}
		redis.mu.Lock()
		redis.holder = second
		redis.mu.Unlock()
		time.Sleep(window)
		if err := first.sink.Write(t.Context(), first.batch(nil)); !errors.Is(err, ErrStandby) {
			t.Errorf("error %v", err)
		}
		if err := second.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(window)
		first.write(map[string]int64{"a": 3})
		wantSeries(t, redis.follow(t), "a", 1, 3)
	})
}

func TestRedisClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		redis := &fakeRedis{}
		c := collect(t, redis)
		defer c.stop()
		time.Sleep(window)
		old := c.batch(map[string]int64{"a": 1})
		time.Sleep(window)
		c.write(map[string]int64{"a": 2})
		if err := c.sink.Write(t.Context(), old); !errors.Is(err, ErrDrop) {
			t.Errorf("error %v, want that it is dropped", err)
		}
	})
}
