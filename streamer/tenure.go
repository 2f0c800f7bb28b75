package streamer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// tenure is the time in which the log is ours: from one Acquire to the next.
type tenure struct {
	s        *Streamer
	resource object.Resource
	log      Log
	logger   *slog.Logger
	meter    *meter
	writing  context.Context // outlives the reading by the time to drain
	advance  chan struct{}   // somebody needs a newer position
	columns  []object.Column // in the log, since the last resync began; the reader's

	mu       sync.Mutex
	state    object.LogState // what Redis acknowledged
	begun    time.Time       // when the last resync began, in this tenure
	wishes   int             // that the plan in force has heeded
	appended bool            // something was, in this tenure
	stop     context.CancelCauseFunc
}

// outcome is what a tenure came to.
type outcome struct {
	appended bool // it wrote something
}

// errStopped ends the writing when its time to drain is over.
var errStopped = errors.New("stopped before all was appended")

// hold takes the log over and follows the resource until the log is no longer
// ours, the resource is gone, or ctx ends.
func (s *Streamer) hold(ctx context.Context, r object.Resource, log Log) (outcome, error) {
	state, err := s.acquire(ctx, log)
	if err != nil {
		return outcome{}, err
	}
	s.memory.took(state.Resync.Lineage)
	reading, fence := context.WithCancelCause(ctx)
	writing, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(nil)
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(drainTimeout, func() { abandon(errStopped) })
	})()
	t := &tenure{
		s: s, resource: r, log: log, logger: s.logger, meter: s.options.Metrics.of(r.String()),
		writing: writing, advance: make(chan struct{}, 1), state: state,
	}
	t.logger.Info("took over the log", "position", state.Position, "lineage", state.Resync.Lineage, "tail", state.Tail)

	var beats sync.WaitGroup
	beats.Go(func() {
		if err := t.beat(reading); err != nil {
			fence(err)
			abandon(err)
		}
	})
	err = t.follow(reading)
	fence(errEnded)
	beats.Wait()
	t.release(ctx, err)
	return outcome{appended: t.appended}, err
}

// acquire takes the log over, however long it takes. While another instance has
// it, the log reports that, and we keep silent. Its error is ctx's.
func (s *Streamer) acquire(ctx context.Context, log Log) (object.LogState, error) {
	s.board.set(watching, "", "")
	s.board.set(beating, "", "")
	var retry backoff
	for {
		s.board.set(writing, "", "")
		state, err := log.Acquire(ctx)
		if err == nil {
			s.board.set(watching, object.StateStarting, "took over the log")
			return state, nil
		}
		if ctx.Err() != nil {
			return object.LogState{}, ctx.Err()
		}
		wait := min(retry.next(nil), redisPatience)
		s.board.set(writing, object.StateFailing, fmt.Sprintf("take over the log: %v", err))
		s.logger.Warn("cannot take over the log", "err", err, "wait", wait)
		if err := sleep(ctx, wait); err != nil {
			return object.LogState{}, err
		}
	}
}

// release gives the log back, unless another instance has it already. After a
// loss we may be stopped before we take it over again, so it is given back then too.
func (t *tenure) release(ctx context.Context, why error) {
	if errors.Is(why, object.ErrFenced) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := t.log.Release(ctx); err != nil && !errors.Is(err, object.ErrFenced) {
		t.logger.Warn("cannot release the log", "err", err)
	}
}

// beat keeps the log ours until ctx ends. Its error is
// object.ErrFenced or object.ErrLost.
func (t *tenure) beat(ctx context.Context) error {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		asks, err := t.beatOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, object.ErrFenced), errors.Is(err, object.ErrLost):
			return err
		case err != nil:
			t.s.board.set(beating, object.StateFailing, fmt.Sprintf("renew the lease: %v", err))
			continue
		}
		t.s.board.set(beating, "", "")
		slices.Sort(asks)
		for _, asked := range slices.Compact(asks) {
			t.heed(asked)
		}
	}
}

func (t *tenure) beatOnce(ctx context.Context) ([]object.Ask, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return t.log.Beat(ctx)
}

// heed does what another process asked for.
func (t *tenure) heed(asked object.Ask) {
	switch asked {
	case object.AskAdvance:
		select {
		case t.advance <- struct{}{}:
		default:
		}
	case object.AskCheck:
		t.interrupt(errChecked)
	case object.AskResync:
		if t.justBegun() {
			return // what was asked for is on its way; who still needs it asks again
		}
		t.s.memory.want(reasonAsked)
		t.interrupt(errAsked)
	}
}

// justBegun says whether a complete list runs that is younger than an ask may
// have been on its way.
func (t *tenure) justBegun() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.Resyncing && !t.begun.IsZero() && time.Since(t.begun) < 2*beatEvery
}

// interrupt ends the watch that runs, if one does.
func (t *tenure) interrupt(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stop != nil {
		t.stop(cause)
	}
}

// interruptible makes interrupt reach ctx.
func (t *tenure) interruptible(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stop = stop
	return ctx, stop
}

// acknowledged returns the log as Redis has it.
func (t *tenure) acknowledged() object.LogState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}
