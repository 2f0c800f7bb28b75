package store

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var roles = []string{object.RoleStreamer, object.RoleVerifier, object.RoleAggregator}

const (
	standbyPoll   = 500 * time.Millisecond
	standbyReport = 5 * time.Second
)

// writer is what Log, Listing and Snapshot have in common: a lease on one role
// of one resource, and the fence behind it.
type writer struct {
	store    *Store
	resource object.Resource
	role     string
	keys     keys
	log      *slog.Logger

	tokenMu sync.Mutex
	token   string // our fence; "" while we hold no lease
	last    string // the newest one that we had: what is left of it is ours to take back
}

func (s *Store) writer(resource object.Resource, role string) *writer {
	return &writer{
		store:    s,
		resource: resource,
		role:     role,
		keys:     newKeys(s.options.Prefix, resource),
		log:      s.log.With("resource", resource.String(), "role", role),
	}
}

// Report writes the process's heartbeat. It needs no lease; the store fills in
// Instance, Role and At.
func (w *writer) Report(ctx context.Context, status object.Status) error {
	status.Role = w.role
	status.Instance = w.store.options.Instance
	status.At = time.Now().UTC()
	return w.store.report(ctx, w.resource, status)
}

// Release gives the lease back, if it is ours, so that a standby takes over at
// once. Later writes get object.ErrFenced.
func (w *writer) Release(ctx context.Context) error {
	token := w.setToken("")
	if token == "" {
		return nil
	}
	return w.store.call(ctx, "release", w.subject(), callTimeout, func(ctx context.Context) error {
		_, _, err := w.store.run(ctx, releaseScript, []string{w.keys.lease(w.role), w.keys.fence(w.role)}, token)
		return err
	})
}

func (w *writer) subject() string { return w.resource.String() + " " + w.role }

// fence returns the token that our writes carry. Without a lease it matches nothing.
func (w *writer) fence() string {
	w.tokenMu.Lock()
	defer w.tokenMu.Unlock()
	if w.token == "" {
		return "none"
	}
	return w.token
}

func (w *writer) lastToken() string {
	w.tokenMu.Lock()
	defer w.tokenMu.Unlock()
	return w.last
}

func (w *writer) setToken(token string) (old string) {
	w.tokenMu.Lock()
	defer w.tokenMu.Unlock()
	old, w.token = w.token, token
	if token != "" {
		w.last = token
	}
	return old
}

// acquire blocks until the lease is ours. What it returns from is an error of
// Redis or the end of ctx.
func (w *writer) acquire(ctx context.Context) error {
	token := randomID()
	w.setToken("")
	var reported time.Time
	for waiting := false; ; waiting = true {
		holder, left, err := w.tryAcquire(ctx, token)
		if err != nil {
			return err
		}
		if holder == "" {
			break
		}
		if !waiting {
			w.log.Info("standing by", "holder", holder)
		}
		if time.Since(reported) >= standbyReport {
			reported = time.Now()
			if err := w.Report(ctx, object.Status{State: object.StateStandby, Message: "the work is done by " + holder}); err != nil {
				return err
			}
		}
		if err := sleep(ctx, min(left+time.Millisecond, standbyPoll)); err != nil {
			return fmt.Errorf("acquire %s: %w", w.subject(), err)
		}
	}
	w.setToken(token)
	return w.store.bury(ctx)
}

// tryAcquire returns who holds the lease and for how long if it is not ours now.
func (w *writer) tryAcquire(ctx context.Context, token string) (holder string, left time.Duration, err error) {
	err = w.store.call(ctx, "acquire", w.subject(), callTimeout, func(ctx context.Context) error {
		status, rest, err := w.store.run(ctx, acquireScript,
			[]string{w.keys.lease(w.role), w.keys.fence(w.role)},
			token, w.store.options.Instance, w.store.options.LeaseTTL.Milliseconds(), w.lastToken())
		if err != nil || status == "ok" {
			return err
		}
		if len(rest) != 2 {
			return fmt.Errorf("the script answered %v", rest)
		}
		holder, _ = rest[0].(string)
		if holder == "" {
			holder = "unknown"
		}
		ms, _ := rest[1].(int64)
		left = time.Duration(max(ms, 1)) * time.Millisecond
		return nil
	})
	return holder, left, err
}

// beat renews the lease and takes those of the wishes that were left.
func (w *writer) beat(ctx context.Context, wishes ...object.Ask) (taken []object.Ask, err error) {
	args := []any{w.fence(), w.store.options.Instance, w.store.options.LeaseTTL.Milliseconds()}
	for _, ask := range wishes {
		args = append(args, string(ask))
	}
	err = w.store.call(ctx, "beat", w.subject(), callTimeout, func(ctx context.Context) error {
		_, rest, err := w.store.run(ctx, beatScript,
			[]string{w.keys.lease(w.role), w.keys.fence(w.role), w.keys.asks}, args...)
		for _, ask := range rest {
			text, _ := ask.(string)
			taken = append(taken, object.Ask(text))
		}
		return err
	})
	return taken, err
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
