package streamer

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const (
	backoffLeast = 500 * time.Millisecond
	backoffMost  = 30 * time.Second
)

// backoff says how long to wait after one failure more. Its zero value has seen none.
type backoff struct {
	failures int
}

func (b *backoff) reset() { b.failures = 0 }

// next doubles from 0.5 s to 30 s and takes off up to half at random, so that
// streamers that failed together do not come back together. What the server
// asked for (object.RetryError) is the least. A resource that is absent or
// forbidden is asked for at a steady pace: it may appear at any time.
func (b *backoff) next(err error) time.Duration {
	switch {
	case errors.Is(err, object.ErrNotFound):
		return absentRetry
	case errors.Is(err, object.ErrForbidden):
		return forbidRetry
	}
	most := backoffMost
	if b.failures < 6 { // 0.5 s << 6 is above 30 s
		most = backoffLeast << b.failures
	}
	b.failures++
	wait := max(backoffLeast, most-rand.N(most/2))
	var retry *object.RetryError
	if errors.As(err, &retry) {
		wait = max(wait, retry.After)
	}
	return wait
}

// sleep waits, and returns ctx's error if ctx ends first.
func sleep(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
