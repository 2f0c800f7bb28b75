package aggregator

import (
	"context"
	"errors"
	"fmt"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// portion is what one read of the log brought. Its err is about what came before
// the entries: object.ErrExpired if there were others that were trimmed,
// object.ErrLost if Redis no longer holds what was read before. After any other
// error there is no portion: the reader tries again.
type portion struct {
	entries []object.LogEntry
	err     error
}

// reader reads the log ahead of those who merge it.
type reader struct {
	snapshot Snapshot
	after    object.LogID
	behind   bool // the log is longer, but the last read brought nothing
}

// run sends what comes until ctx ends.
func (r *reader) run(ctx context.Context, again *retry, portions chan<- portion) {
	for ctx.Err() == nil {
		next, err := r.next(ctx)
		if ctx.Err() != nil {
			return
		}
		again.done(err)
		again.wait(ctx)
		if next.err == nil && len(next.entries) == 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case portions <- next:
		}
	}
}

// next reads once. If Redis does not answer, the next read begins at the same place.
func (r *reader) next(ctx context.Context) (next portion, err error) {
	next.entries, err = call(ctx, callTimeout, func(ctx context.Context) ([]object.LogEntry, error) {
		return r.snapshot.ReadLog(ctx, r.after, readWait)
	})
	switch {
	case errors.Is(err, object.ErrExpired):
		next.err, err = r.skip(ctx, err)
	case err == nil && len(next.entries) == 0:
		next.err, err = r.idle(ctx)
	case err == nil:
		if first := next.entries[0]; first.Prev.Compare(r.after) < 0 {
			next.err = fmt.Errorf("%w: %s was read, entry %s follows %q", object.ErrLost, r.after, first.ID, first.Prev)
		}
		r.after, r.behind = next.entries[len(next.entries)-1].ID, false
	}
	return next, err
}

// skip goes to the log's end, because what comes next was trimmed. It returns why.
func (r *reader) skip(ctx context.Context, why error) (found, err error) {
	state, err := call(ctx, callTimeout, r.snapshot.LogState)
	if err != nil {
		return nil, err
	}
	r.after, r.behind = state.Tail, false
	return why, nil
}

// idle finds out, when nothing came, whether the log still has what was read: one
// that lost it may stay silent, or go on below.
func (r *reader) idle(ctx context.Context) (found, err error) {
	state, err := call(ctx, callTimeout, r.snapshot.LogState)
	if err != nil {
		return nil, err
	}
	order := state.Tail.Compare(r.after)
	switch {
	case order < 0:
		found = fmt.Errorf("%w: %s was read, the log ends at %q", object.ErrLost, r.after, state.Tail)
	case order > 0 && r.behind:
		found = fmt.Errorf("%w: nothing is left between %q and the log's end at %s", object.ErrExpired, r.after, state.Tail)
	default:
		r.behind = order > 0
		return nil, nil
	}
	r.after, r.behind = state.Tail, false
	return found, nil
}
