package aggregator

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// health gathers how the parts of the aggregator are.
type health struct {
	mu      sync.Mutex
	state   object.State
	message string
	broken  map[string]error // by what was tried
}

// forget makes h silent.
func (h *health) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state, h.message, h.broken = "", "", map[string]error{}
}

// set says what goes on unless something is broken.
func (h *health) set(state object.State, message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state, h.message = state, message
}

// note says that op failed with err, or that it works (nil).
func (h *health) note(op string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		delete(h.broken, op)
	} else {
		h.broken[op] = err
	}
}

// status is what to report; without a state, nothing.
func (h *health) status() object.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	status := object.Status{Role: object.RoleAggregator, State: h.state, Message: h.message, At: time.Now().UTC()}
	first := ""
	for op, err := range h.broken {
		if first == "" || op < first {
			first = op
			status.State, status.Message = object.StateFailing, fmt.Sprintf("%s: %v", op, err)
		}
	}
	return status
}

// report reports the status every 5 s, and at once when it is another, until ctx ends.
func (a *Aggregator) report(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	var last object.Status
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		status := a.health.status()
		same := status.State == last.State && status.Message == last.Message
		if status.State == "" || same && status.At.Sub(last.At) < reportEvery {
			continue
		}
		last = status
		err := a.do(ctx, func(ctx context.Context) error { return a.snapshot.Report(ctx, status) })
		if err != nil && ctx.Err() == nil {
			a.log.Debug("cannot report the status", "err", err)
		}
	}
}

// retry paces one thing that is tried until it works. It belongs to one goroutine.
type retry struct {
	backoff
	a     *Aggregator
	op    string
	since time.Time // when it failed first
}

// done notes how a try ended: nil that it worked. It logs a series of failures once.
func (r *retry) done(err error) {
	r.a.health.note(r.op, err)
	switch {
	case err != nil && r.failures == 0:
		r.since = time.Now()
		r.a.log.Warn("does not work, trying again", "op", r.op, "err", err)
	case err == nil && r.failures > 0:
		r.a.log.Info("works again", "op", r.op, "took", time.Since(r.since))
	}
	r.count(err)
}

// backoff counts failures in a row.
type backoff struct{ failures int }

func (b *backoff) count(err error) {
	if b.failures++; err == nil {
		b.failures = 0
	}
}

// wait waits if the last try failed: 0.2 s, doubled to 5 s, less up to half at
// random. It ends early with ctx.
func (b *backoff) wait(ctx context.Context) {
	if b.failures == 0 {
		return
	}
	most := min(200*time.Millisecond<<min(b.failures-1, 5), 5*time.Second)
	timer := time.NewTimer(most - rand.N(most/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
