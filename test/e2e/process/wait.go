package process

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// FreePort returns a TCP port of 127.0.0.1 that nobody listens on at the moment.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// Final marks an error after which Poll does not try again.
func Final(err error) error { return finalError{err} }

// Poll tries every 100 ms until try returns nil, for at most within. The error
// tells what was awaited and what the last try said.
func Poll(ctx context.Context, within time.Duration, what string, try func(context.Context) error) error {
	timeout := time.NewTimer(within)
	defer timeout.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if final := (finalError{}); errors.As(err, &final) {
			return fmt.Errorf("wait for %s: %w", what, final.error)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last: %w)", what, context.Cause(ctx), err)
		case <-timeout.C:
			return fmt.Errorf("wait for %s, for %v: %w", what, within, err)
		case <-tick.C:
		}
	}
}

// Pause waits for d, or until ctx ends and then returns its cause.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
