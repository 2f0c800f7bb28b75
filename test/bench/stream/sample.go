package main

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// stallAbove is the delay above which consecutive samples make a stall.
const stallAbove = 100 * time.Millisecond

// sample is how long one event took until the mirror showed it.
type sample struct {
	sent time.Time
	took time.Duration
}

// sample follows every tenth event until ctx ends, each by itself: while the mirror
// stands still, all that come meanwhile count.
func (l *lab) sample(ctx context.Context) (taken []sample) {
	for len(l.source.Sent()) > 0 { // from before
		<-l.source.Sent()
	}
	var (
		mu       sync.Mutex
		watchers sync.WaitGroup
	)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case sent := <-l.source.Sent():
			watchers.Go(func() {
				took, ok := l.visible(context.WithoutCancel(ctx), sent)
				mu.Lock()
				defer mu.Unlock()
				if ok {
					taken = append(taken, sample{sent.At, took})
				}
			})
		}
	}
	watchers.Wait()
	return taken
}

// delaysOf returns the delays in ascending order.
func delaysOf(taken []sample) (delays []time.Duration) {
	for _, s := range taken {
		delays = append(delays, s.took)
	}
	slices.Sort(delays)
	return delays
}

// stalls returns the first, and so longest, sample of each time in which the mirror
// stood still.
func stalls(taken []sample) (found []sample) {
	taken = slices.SortedFunc(slices.Values(taken), func(a, b sample) int { return a.sent.Compare(b.sent) })
	var until time.Time
	for _, s := range taken {
		if s.took < stallAbove || s.sent.Before(until) {
			continue
		}
		found = append(found, s)
		until = s.sent.Add(s.took)
	}
	return found
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile expects sorted delays.
func quantile(delays []time.Duration, q float64) time.Duration {
	if len(delays) == 0 {
		return 0
	}
	return delays[max(0, int(math.Ceil(q*float64(len(delays))))-1)]
}
