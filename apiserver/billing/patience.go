package billing

import (
	"context"
	"time"
)

// patience is how long the database may take for the next piece of an answer.
type patience struct {
	length time.Duration
	timer  *time.Timer
	stop   context.CancelCauseFunc
}

// within is ctx with an end after length, unless the patience is renewed before. end
// must be called.
func within(ctx context.Context, length time.Duration) (context.Context, *patience) {
	timed, stop := context.WithCancelCause(ctx)
	return timed, &patience{length: length, stop: stop, timer: time.AfterFunc(length, func() { stop(errTooSlow) })}
}

// pause keeps it from running out.
func (p *patience) pause() { p.timer.Stop() }

// resume renews it.
func (p *patience) resume() { p.timer.Reset(p.length) }

// end ends the context.
func (p *patience) end() { p.timer.Stop(); p.stop(nil) }

// causeOf is err, or why ctx ended.
func causeOf(ctx context.Context, err error) error {
	if err != nil && context.Cause(ctx) == errTooSlow { //nolint:errorlint // it is stored bare
		return errTooSlow
	}
	return err
}
