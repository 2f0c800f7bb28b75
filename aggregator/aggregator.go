// Package aggregator merges one resource's log and what the verifier listed into
// the snapshot that readers see, with a feed of its changes.
//
// State is the merge, which does no I/O: Merge for the log, Compare and Adopt for
// a list. Aggregator is the loop around it: it takes the snapshot over (a tenure),
// loads the State from Redis and goes on from the checkpoint that was written with
// it. It reads ahead, merges what has come into a Batch and publishes that; between
// two batches it takes the verifier's round a step further.
//
// docs/design/pipeline.md tells the protocol.
package aggregator

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Snapshot is the aggregator's end of a resource in Redis. internal/store implements it.
type Snapshot interface {
	// Acquire blocks until the snapshot is ours alone to write, and reports
	// object.StateStandby meanwhile. After object.ErrFenced or object.ErrLost it
	// has to be called again.
	Acquire(ctx context.Context) (object.SnapshotState, error)
	// Beat keeps it ours.
	Beat(ctx context.Context) error
	// Report says how we are. It needs no Acquire.
	Report(ctx context.Context, status object.Status) error
	// Release lets another instance write.
	Release(ctx context.Context) error
	// Ask leaves a wish for the streamer or the verifier.
	Ask(ctx context.Context, ask object.Ask) error

	// Heads yields all live objects and all tombstones.
	Heads(ctx context.Context) iter.Seq2[object.Head, error]
	// Hashes yields every live object as Redis holds it, with its body's hash.
	Hashes(ctx context.Context) iter.Seq2[object.ListedItem, error]
	// ReadLog returns the entries after after, none after wait, and
	// object.ErrExpired if some between were trimmed.
	ReadLog(ctx context.Context, after object.LogID, wait time.Duration) ([]object.LogEntry, error)
	// LogState reads where the log stands.
	LogState(ctx context.Context) (object.LogState, error)
	// Listed returns the newest statement of the verifier if it is another than notID.
	Listed(ctx context.Context, notID string) (listed object.Listed, ok bool, err error)
	// Want asks the verifier for bodies at a statement's version; several calls add up.
	Want(ctx context.Context, listedID string, keys []object.Key) error
	// Bodies returns them once all have come.
	Bodies(ctx context.Context, listedID string) (bodies map[object.Key]object.Packed, complete bool, err error)
	// Publish writes one step. After any error but object.ErrFenced and
	// object.ErrLost it may be called again with the same step, which is written
	// once. The publication stays the caller's.
	Publish(ctx context.Context, publication object.Publication) (object.LogID, error)
}

// Options are an Aggregator's settings. The zero value is the default.
type Options struct {
	LateAfter time.Duration // a list is adopted after so long even if the stream has not reached it; 10 s if 0
	Metrics   *Metrics      // nil: measured but not registered
}

// The times that the protocol fixes.
const (
	beatEvery    = 1500 * time.Millisecond // the lease lives 5 s
	reportEvery  = 5 * time.Second
	lookEvery    = 200 * time.Millisecond // for statements and bodies
	askEvery     = 5 * time.Second        // for what has not been given yet
	advanceAfter = time.Second            // that a list waits for the stream before more is done for it
	readWait     = time.Second            // for log entries
	callTimeout  = 10 * time.Second       // one question to Redis
	scanTimeout  = 5 * time.Minute        // one walk over the whole snapshot
	drainTimeout = 3 * time.Second        // to publish what was merged when we are stopped
	fillChanges  = 1000                   // log entries are merged into one publication up to so many changes
)

// Aggregator aggregates one resource.
type Aggregator struct {
	resource object.Resource
	snapshot Snapshot
	options  Options
	log      *slog.Logger
	meter    *meter
	health   *health
}

// New makes an Aggregator of resource.
func New(resource object.Resource, snapshot Snapshot, options Options, log *slog.Logger) *Aggregator {
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	options.LateAfter = cmp.Or(options.LateAfter, defaultLateAfter)
	return &Aggregator{
		resource: resource, snapshot: snapshot, options: options,
		log: log.With("resource", resource.String()), meter: options.Metrics.of(resource.String()),
		health: &health{},
	}
}

// Run aggregates until ctx ends, and then returns nil: what was merged is
// published, if Redis takes it, and the snapshot given back. While Redis is away
// it waits: what it has merged and not published is merged again from the log.
func (a *Aggregator) Run(ctx context.Context) error {
	reporting, stop := context.WithCancel(ctx)
	var reporter sync.WaitGroup
	reporter.Go(func() { a.report(reporting) })
	defer reporter.Wait()
	defer stop()

	for again := (backoff{}); ctx.Err() == nil; {
		a.health.forget() // while another instance works, Acquire reports that
		begun := time.Now()
		err := a.hold(ctx)
		if ctx.Err() != nil {
			break
		}
		if time.Since(begun) > time.Minute {
			again.failures = 0
		}
		a.meter.restarted(err)
		a.health.note("hold the snapshot", err)
		a.log.Warn("beginning anew from what redis holds", "err", err)
		again.count(err)
		again.wait(ctx)
	}
	return nil
}

// hold takes the snapshot over and works on it until it is no longer ours, Redis
// fails for good, or ctx ends.
func (a *Aggregator) hold(ctx context.Context) error {
	state, err := a.snapshot.Acquire(ctx)
	if err != nil {
		return err
	}
	ctx, fence := context.WithCancelCause(ctx)
	writing, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(nil)
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(drainTimeout, func() { abandon(errStopped) })
	})()
	var beats sync.WaitGroup
	beats.Go(func() {
		if err := a.beat(ctx); err != nil {
			abandon(err)
			fence(err)
		}
	})
	t, err := a.begin(ctx, writing, state)
	if err == nil {
		err = t.run(ctx)
	}
	if cause := context.Cause(ctx); errors.Is(cause, object.ErrFenced) {
		err = cause
	}
	fence(nil)
	beats.Wait()
	if errors.Is(err, object.ErrFenced) {
		return err
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	return errors.Join(err, a.snapshot.Release(release))
}

// errStopped ends the writing when its time to drain is over.
var errStopped = errors.New("stopped before all was published")

// beat keeps the lease until ctx ends. Its error is object.ErrFenced.
func (a *Aggregator) beat(ctx context.Context) error {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := a.do(ctx, a.snapshot.Beat)
		if errors.Is(err, object.ErrFenced) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			a.log.Debug("cannot renew the lease", "err", err)
		}
	}
}

// do tells Redis something, with a deadline.
func (a *Aggregator) do(ctx context.Context, what func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return what(ctx)
}

// call asks Redis one question, with a deadline.
func call[T any](ctx context.Context, limit time.Duration, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return question(ctx)
}
