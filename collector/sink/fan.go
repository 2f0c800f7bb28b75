package sink

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Options say how sinks are treated. The zero value is the default.
type Options struct {
	Queue   int           // batches that wait for a sink besides the one that it works on; default 2
	Timeout time.Duration // of one try of one batch; default 20 s
	MaxAge  time.Duration // a batch is tried again until its window is so long ago; default 5 min
	Metrics *Metrics      // nil: measured but not registered
}

const (
	firstPause = 500 * time.Millisecond // before another try
	longPause  = 5 * time.Second
	drainTime  = 5 * time.Second // for what waits when we are to end
	tellEvery  = time.Minute     // that batches are lost
)

// Named is a sink and what logs and metrics call it.
type Named struct {
	Name string
	Sink
}

// Fan hands the batches of one cluster to sinks.
type Fan struct {
	cluster string
	queues  []*queue
}

// NewFan returns a Fan for the batches of cluster.
func NewFan(cluster string, sinks []Named, options Options, log *slog.Logger) *Fan {
	options.Queue = cmp.Or(options.Queue, 2)
	options.Timeout = cmp.Or(options.Timeout, 20*time.Second)
	options.MaxAge = cmp.Or(options.MaxAge, 5*time.Minute)
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	f := &Fan{cluster: cluster}
	for _, s := range sinks {
		f.queues = append(f.queues, &queue{
			Named: s, cluster: cluster, options: options, metrics: options.Metrics,
			log: log.With("cluster", cluster, "sink", s.Name), wake: make(chan struct{}, 1),
		})
	}
	return f
}

// Put hands a sealed batch to every sink. It does not wait: a sink whose queue is full
// loses the oldest batch of it.
func (f *Fan) Put(b *metrics.Batch) {
	for _, q := range f.queues {
		q.put(b)
	}
}

// Tenure says whether we are to work: what the sink that decides it says, and yes if
// there is none.
func (f *Fan) Tenure() Tenure {
	for _, q := range f.queues {
		if judge, ok := q.Sink.(interface{ Tenure() Tenure }); ok {
			return judge.Tenure()
		}
	}
	return Tenure{Number: 1}
}

// Run works until ctx ends, gives the sinks a few seconds for what waits, and returns
// the first error that a sink ended with.
func (f *Fan) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	faults := make([]error, len(f.queues))
	var group sync.WaitGroup
	for i, q := range f.queues {
		group.Go(func() {
			if faults[i] = q.run(ctx); faults[i] != nil {
				cancel()
			}
		})
	}
	group.Wait()
	return errors.Join(faults...)
}

// queue is one sink with the batches that wait for it.
type queue struct {
	Named
	cluster string
	options Options
	metrics *Metrics
	log     *slog.Logger
	wake    chan struct{}

	mu      sync.Mutex
	waiting []*metrics.Batch
	lost    int       // batches since that was told last
	told    time.Time // when that was
}

func (q *queue) put(b *metrics.Batch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == q.options.Queue {
		q.dropped(q.waiting[0], "batches come faster than the sink takes them")
		q.waiting = append(q.waiting[:0:0], q.waiting[1:]...)
	}
	q.waiting = append(q.waiting, b)
	q.metrics.length(q.cluster, q.Name, len(q.waiting))
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) take() *metrics.Batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return nil
	}
	b := q.waiting[0]
	q.waiting = q.waiting[1:]
	q.metrics.length(q.cluster, q.Name, len(q.waiting))
	return b
}

// run lets the sink run, and outlives ctx by a little for what is not written yet.
func (q *queue) run(ctx context.Context) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- q.Run(running) }()
	writing, cancel := context.WithCancel(running)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, cancel) })()
	for {
		if b := q.take(); b != nil {
			q.write(writing, b)
			continue
		}
		if ctx.Err() != nil {
			stop()
			return <-ended
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
		case err := <-ended:
			if err != nil {
				return err
			}
			ended <- nil // it has nothing to do beside
			select {
			case <-q.wake:
			case <-ctx.Done():
			}
		}
	}
}

// write tries until b is written, or in vain for too long.
func (q *queue) write(ctx context.Context, b *metrics.Batch) {
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		began := time.Now()
		err := q.try(ctx, b)
		q.metrics.tried(q.cluster, q.Name, time.Since(began), err)
		switch {
		case err == nil:
			return
		case errors.Is(err, ErrStandby):
			return
		case errors.Is(err, ErrDrop), ctx.Err() != nil, time.Since(b.Time) > q.options.MaxAge:
			q.mu.Lock()
			q.dropped(b, err.Error())
			q.mu.Unlock()
			return
		}
		q.log.Debug("a batch could not be written, trying again", "batch", b.Time, "err", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func (q *queue) try(ctx context.Context, b *metrics.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, q.options.Timeout)
	defer cancel()
	return q.Write(ctx, b)
}

// dropped counts a loss, and tells of losses once a minute. The caller holds the lock.
func (q *queue) dropped(b *metrics.Batch, why string) {
	q.metrics.drop(q.cluster, q.Name)
	q.lost++
	if now := time.Now(); now.Sub(q.told) >= tellEvery {
		q.log.Warn("batches are lost to a sink", "batches", q.lost, "newest", b.Time, "why", why)
		q.lost, q.told = 0, now
	}
}
