package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

const (
	// reviewTimeout is how long one question may take, the wait for its turn included.
	reviewTimeout = 5 * time.Second
	// patience is how long those wait for it who have an older allow to hold to.
	patience = time.Second
	// awayFor is how long, after a question failed, they do not even ask.
	awayFor = 2 * time.Second
	// concurrent is how many questions of one kind may be under way.
	concurrent = 50
)

// errAway comes when a question could not be answered.
var errAway = errors.New("the API server cannot be asked")

// reviews asks questions of one kind and remembers what was allowed, never what
// was denied. A K is a question; what makes up its value is in the key, so that
// equal keys have equal answers. A V goes with the allow.
type reviews[K comparable, V any] struct {
	kind    string
	ttl     time.Duration // an allow is believed so long
	bound   time.Duration // and so long while there is no asking
	known   *otter.Cache[K, allow[V]]
	flights singleflight.Group
	turns   chan struct{}
	away    atomic.Int64 // when a question last failed, Unix ns; 0 if the last one did not
	metrics *metrics
	log     *slog.Logger
}

// allow is one answer.
type allow[V any] struct {
	value V
	at    time.Time // when the question was asked
	until time.Time // the allow ends by itself, zero if never
}

// verdict is what a review function makes of an answer.
type verdict[V any] struct {
	allowed bool
	value   V
	until   time.Time
	why     string // of a denial
}

func newReviews[K comparable, V any](kind string, config Config, most int, m *metrics, log *slog.Logger) *reviews[K, V] {
	return &reviews[K, V]{
		kind: kind, ttl: config.AllowTTL, bound: config.OutageBound,
		known: otter.Must(&otter.Options[K, allow[V]]{MaximumSize: most}), turns: make(chan struct{}, concurrent), metrics: m, log: log,
	}
}

// fresh returns what was allowed so short a time ago that it need not be asked.
func (r *reviews[K, V]) fresh(key K) (V, bool) {
	value, _, ok := r.within(key, r.ttl)
	if ok {
		r.metrics.hits.WithLabelValues(r.kind).Inc()
	}
	return value, ok
}

// holds returns what was allowed within the bound for outages, and how long ago.
func (r *reviews[K, V]) holds(key K) (V, time.Duration, bool) { return r.within(key, r.bound) }

func (r *reviews[K, V]) within(key K, most time.Duration) (value V, age time.Duration, ok bool) {
	known, ok := r.known.GetIfPresent(key)
	if !ok {
		return value, 0, false
	}
	now := time.Now()
	age = now.Sub(known.at)
	if age >= most || !known.until.IsZero() && !now.Before(known.until) {
		return value, age, false
	}
	return known.value, age, true
}

// ask has the API server answer key, together with all who ask the same now. name
// is the key as text. It fails with errAway if there is no answer, for the hasty
// already when it takes long, and with ctx's error.
func (r *reviews[K, V]) ask(ctx context.Context, key K, name string, hasty haste, review func(context.Context) (verdict[V], error)) (verdict[V], error) {
	if since := r.away.Load(); hasty && since != 0 && time.Since(time.Unix(0, since)) < awayFor {
		return verdict[V]{}, errAway
	}
	answered := r.flights.DoChan(name, func() (any, error) {
		// Whoever asked first may leave: the others still wait.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewTimeout)
		defer cancel()
		return r.once(ctx, key, review)
	})
	var tired <-chan time.Time
	if hasty {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		tired = timer.C
	}
	select {
	case answer := <-answered:
		if answer.Err != nil {
			return verdict[V]{}, answer.Err
		}
		return answer.Val.(verdict[V]), nil
	case <-tired:
		r.failed()
		return verdict[V]{}, errAway
	case <-ctx.Done():
		return verdict[V]{}, context.Cause(ctx)
	}
}

// haste says that the caller has an older allow to hold to.
type haste bool

// once asks one question and remembers its answer.
func (r *reviews[K, V]) once(ctx context.Context, key K, review func(context.Context) (verdict[V], error)) (any, error) {
	if value, _, ok := r.within(key, r.ttl); ok { // another flight landed in between
		return verdict[V]{allowed: true, value: value}, nil
	}
	began := time.Now()
	answer, err := r.inTurn(ctx, review)
	r.metrics.seconds.WithLabelValues(r.kind).Observe(time.Since(began).Seconds())
	if err != nil {
		r.failed()
		r.metrics.reviews.WithLabelValues(r.kind, "failed").Inc()
		r.log.Warn("API server gave no answer to who may read", "kind", r.kind, "took", time.Since(began), "err", err)
		return nil, errAway
	}
	r.away.Store(0)
	if !answer.allowed {
		r.known.Invalidate(key)
		r.metrics.reviews.WithLabelValues(r.kind, "denied").Inc()
		return answer, nil
	}
	r.metrics.reviews.WithLabelValues(r.kind, "allowed").Inc()
	r.known.Set(key, allow[V]{answer.value, began, answer.until})
	return answer, nil
}

func (r *reviews[K, V]) inTurn(ctx context.Context, review func(context.Context) (verdict[V], error)) (verdict[V], error) {
	select {
	case r.turns <- struct{}{}:
		defer func() { <-r.turns }()
		return review(ctx)
	case <-ctx.Done():
		return verdict[V]{}, fmt.Errorf("wait for one of %d questions under way to end: %w", concurrent, ctx.Err())
	}
}

func (r *reviews[K, V]) failed() { r.away.Store(time.Now().UnixNano()) }

// hold counts an allow that could not be reviewed.
func (r *reviews[K, V]) hold() { r.metrics.held.WithLabelValues(r.kind).Inc() }

// heldWarning is what answers say that rest on a review so old.
func heldWarning(age, bound time.Duration) string {
	return fmt.Sprintf("the API server cannot be asked now who may read this; what it allowed %v ago holds for %v more",
		age.Round(time.Second), (bound - age).Round(time.Second))
}
