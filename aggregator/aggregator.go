// Package aggregator merges one resource's log and what the verifier listed into
// the snapshot that readers see, with a feed of its changes. The merge itself is
// State, which does no I/O; Aggregator is the loop around it.
//
// docs/design/pipeline.md tells the protocol.
package aggregator

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Snapshot is the aggregator's end of a resource in Redis. internal/store implements it.
type Snapshot interface {
	// Acquire blocks until the snapshot is ours alone to write. After
	// object.ErrFenced or object.ErrLost it has to be called again.
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
	// Want asks the verifier for bodies at a statement's version.
	Want(ctx context.Context, listedID string, keys []object.Key) error
	// Bodies returns them once all have come.
	Bodies(ctx context.Context, listedID string) (bodies map[object.Key]object.Packed, complete bool, err error)
	// Publish writes one step. After any error but object.ErrFenced and
	// object.ErrLost it may be called again with the same step.
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
	drainTimeout = 3 * time.Second
	fillChanges  = 1000 // log entries are merged into one publication up to so many changes
)

// Aggregator aggregates one resource.
type Aggregator struct {
	resource object.Resource
	snapshot Snapshot
	options  Options
	log      *slog.Logger
	meter    *meter

	mu     sync.Mutex
	status object.Status
}

// New makes an Aggregator of resource.
func New(resource object.Resource, snapshot Snapshot, options Options, log *slog.Logger) *Aggregator {
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	options.LateAfter = cmp.Or(options.LateAfter, 10*time.Second)
	return &Aggregator{
		resource: resource, snapshot: snapshot, options: options,
		log: log.With("resource", resource.String()), meter: options.Metrics.of(resource.String()),
	}
}

// Run aggregates until ctx ends, and then returns nil. While Redis is away it waits:
// what it has merged and not published is merged again from the log.
func (a *Aggregator) Run(ctx context.Context) error {
	reporting, stop := context.WithCancel(ctx)
	var reporter sync.WaitGroup
	reporter.Go(func() { a.report(reporting) })
	defer reporter.Wait()
	defer stop()

	for failures := 0; ctx.Err() == nil; {
		a.say("", "") // while another instance works, Acquire reports that
		begun := time.Now()
		err := a.hold(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if failures++; time.Since(begun) > time.Minute {
			failures = 1
		}
		wait := pause(failures)
		a.meter.restarted(err)
		a.say(object.StateFailing, err.Error())
		a.log.Warn("beginning anew from what redis holds", "err", err, "wait", wait)
		sleep(ctx, wait)
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
	var beats sync.WaitGroup
	beats.Go(func() {
		if err := a.beat(ctx); err != nil {
			fence(err)
		}
	})
	err = a.work(ctx, state)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, object.ErrLost) {
		err = cause
	}
	fence(nil)
	beats.Wait()
	if errors.Is(err, object.ErrFenced) || errors.Is(err, object.ErrLost) {
		return err
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	return errors.Join(err, a.snapshot.Release(release))
}

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
		_, err := call(ctx, callTimeout, func(ctx context.Context) (struct{}, error) { return struct{}{}, a.snapshot.Beat(ctx) })
		if errors.Is(err, object.ErrFenced) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			a.log.Debug("cannot renew the lease", "err", err)
		}
	}
}

// say sets the status that is reported; an empty state keeps silent.
func (a *Aggregator) say(state object.State, message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status = object.Status{Role: object.RoleAggregator, State: state, Message: message}
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
		a.mu.Lock()
		status := a.status
		a.mu.Unlock()
		status.At = time.Now().UTC()
		same := status.State == last.State && status.Message == last.Message
		if status.State == "" || same && status.At.Sub(last.At) < reportEvery {
			continue
		}
		last = status
		_, err := call(ctx, callTimeout, func(ctx context.Context) (struct{}, error) { return struct{}{}, a.snapshot.Report(ctx, status) })
		if err != nil && ctx.Err() == nil {
			a.log.Debug("cannot report the status", "err", err)
		}
	}
}

// call asks Redis one question with a deadline.
func call[T any](ctx context.Context, limit time.Duration, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return question(ctx)
}

// pause doubles from 0.2 s to 5 s, less up to half at random.
func pause(failures int) time.Duration {
	most := min(200*time.Millisecond<<min(failures-1, 5), 5*time.Second)
	return most - rand.N(most/2)
}

func sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
