package streamer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// ending is how one watch, or the try to open one, came to its end.
type ending struct {
	err       error // nil: the server ended it in peace
	watched   bool  // there was a watch
	resumed   bool  // it was to go on from the log's position
	delivered bool  // a live event, a bookmark, a complete list, or the proof that there was nothing to bring
	lived     time.Duration
}

// pace decides how soon the next watch follows the one that ended.
type pace struct {
	retry backoff
	quick int // watches in a row that the server ended at once
}

// answeredFailures bounds the failures that count once the API server has answered
// what comes before a watch: at most 4 s to the next.
const answeredFailures = 3

// wait is the time to the next watch.
func (p *pace) wait(e ending) time.Duration {
	doubtful := errors.Is(e.err, errUnequal) || errors.Is(e.err, errRestored)
	if e.lived >= longEnough || e.delivered && !doubtful {
		p.retry.reset()
	}
	if e.watched && !doubtful { // the API server answered: it is not away any more
		p.retry.failures = min(p.retry.failures, answeredFailures)
	}
	switch {
	case errors.Is(e.err, errChecked), errors.Is(e.err, errAsked):
		return 0
	case errors.Is(e.err, object.ErrExpired) && (e.resumed || e.lived >= tooShort):
		return 0 // a complete list is the next thing
	case e.err != nil:
		return p.retry.next(e.err)
	}
	p.quick++
	if e.lived >= tooShort {
		p.quick = 0
	}
	if p.quick <= 2 {
		return 0
	}
	return p.retry.next(nil)
}

// follow opens one watch after another, until the log is no longer ours, the
// resource is gone, or ctx ends.
func (t *tenure) follow(ctx context.Context) error {
	var p pace
	for {
		e := t.once(ctx)
		if ctx.Err() != nil && !errors.Is(e.err, object.ErrLost) {
			e.err = context.Cause(ctx)
		}
		ours := !errors.Is(e.err, object.ErrFenced) && !errors.Is(e.err, object.ErrLost)
		if ctx.Err() != nil && ours {
			return e.err
		}
		t.learn(e.err)
		wait := p.wait(e)
		t.tell(e, wait)
		if !ours || errors.Is(e.err, object.ErrNotFound) {
			return e.err
		}
		if sleep(ctx, wait) != nil {
			return context.Cause(ctx)
		}
	}
}

// once decides how to go on and runs one watch to its end.
func (t *tenure) once(ctx context.Context) ending {
	began := time.Now()
	ctx, stop := t.interruptible(ctx)
	defer stop(nil)
	next, now, err := t.plan(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return ending{err: err, lived: time.Since(began)}
	}
	w := t.newWatch(next, now)
	err = w.run(ctx, stop)
	return ending{
		err: err, watched: true, resumed: next.reason == "",
		delivered: w.delivered || w.trail.isCurrent(), lived: time.Since(began),
	}
}

// survey asks the API server where it stands.
func (t *tenure) survey(ctx context.Context) (now cluster, err error) {
	now.uid, err = ask(ctx, func(ctx context.Context) (uid string, err error) {
		uid, now.schema, err = t.s.source.Identity(ctx, t.resource)
		return uid, err
	})
	if err != nil {
		return now, fmt.Errorf("identify the cluster: %w", err)
	}
	now.version, err = ask(ctx, func(ctx context.Context) (object.Version, error) {
		return t.s.source.Probe(ctx, t.resource)
	})
	if err != nil {
		return now, fmt.Errorf("probe the current version: %w", err)
	}
	return now, nil
}

// plan asks the API server where it stands and decides.
func (t *tenure) plan(ctx context.Context) (plan, cluster, error) {
	now, err := t.survey(ctx)
	if err != nil {
		return plan{}, now, err
	}
	state := t.acknowledged()
	known := t.s.memory.recall(state.Resync.Lineage)
	next := decide(state, now, known)
	t.promise(known.wishes)
	if next.reason != "" {
		next.resync.Expect = t.count(ctx)
		t.meter.resync(next.reason)
		t.logger.Log(ctx, gravity(next.reason), "reading everything anew", "reason", next.reason,
			"lineage", next.resync.Lineage, "was", state.Resync.Lineage, "rewrite", next.resync.Rewrite,
			"position", state.Position, "current", now.version, "expect", next.resync.Expect)
	}
	return next, now, nil
}

// count returns about how many objects there are, 0 if it cannot be known.
func (t *tenure) count(ctx context.Context) int64 {
	count, err := ask(ctx, func(ctx context.Context) (int64, error) { return t.s.source.Count(ctx, t.resource) })
	if err != nil {
		t.logger.Debug("cannot count the objects", "err", err)
		return 0
	}
	return count
}

// learn remembers what a watch's end says about the next.
func (t *tenure) learn(err error) {
	switch {
	case errors.Is(err, object.ErrExpired):
		t.s.memory.want(reasonExpired)
	case errors.Is(err, errUnequal):
		t.s.memory.want(reasonUnequal)
	case errors.Is(err, errRestored):
		t.s.memory.want(reasonRestored)
	case errors.Is(err, object.ErrLost):
		t.s.memory.lostWrites()
	}
}

// tell counts, logs and reports the end of a watch, or of a try to open one.
func (t *tenure) tell(e ending, wait time.Duration) {
	err, why := e.err, whyEnded(e.err)
	if e.watched {
		t.meter.reconnect(why)
		t.logger.Log(context.Background(), gravity(why), "watch ended", "reason", why,
			"position", t.acknowledged().Position, "err", err, "wait", wait)
	} else {
		t.logger.Warn("cannot open a watch", "reason", why, "err", err, "wait", wait)
	}
	switch {
	case err != nil && wait > 0:
		t.s.board.set(watching, stateOf(err), err.Error())
	case wait > 0:
		t.s.board.set(watching, object.StateUnreachable, "the API server ends every watch at once")
	}
}

// gravity is the level of a log line about why: normal life is Info.
func gravity(why reason) slog.Level {
	switch why {
	case reasonClosed, reasonFirst, reasonChecked, reasonAsked:
		return slog.LevelInfo
	}
	return slog.LevelWarn
}
