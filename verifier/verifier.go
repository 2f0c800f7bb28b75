// Package verifier lists one resource of the API server now and then, so that the
// aggregator can compare what the stream brought with the truth. A round states
// every key, UID and version at one version R, and in full rounds a hash of every
// body; then it hands over, at exactly R, the bodies that the aggregator lacks.
// It compares nothing itself. docs/design/pipeline.md tells the protocol.
package verifier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Source is the API server. internal/kube implements it. Every method returns
// object.ErrForbidden, object.ErrNotFound or *object.RetryError where they apply,
// and object.ErrExpired where the server no longer keeps what is asked for.
type Source interface {
	// Resolve finds the resource that a user means by name.
	Resolve(ctx context.Context, name string) (object.Resource, error)
	// Identity returns the cluster's UID, "" if it may not be read, and the
	// fingerprint of what shapes the bodies of r.
	Identity(ctx context.Context, r object.Resource) (clusterUID, schema string, err error)
	// Metadata lists key, UID and version of everything at one version.
	Metadata(ctx context.Context, r object.Resource) (object.Version, []object.ListedItem, error)
	// Bodies is Metadata with the hashes of the bodies.
	Bodies(ctx context.Context, r object.Resource) (object.Version, []object.ListedItem, error)
	// At reads one object as it was at version.
	At(ctx context.Context, r object.Resource, key object.Key, at object.Version) (object.Record, error)
	// AllAt reads all objects as they were at version.
	AllAt(ctx context.Context, r object.Resource, at object.Version) iter.Seq2[object.Record, error]
}

// Listing is the verifier's end of a resource in Redis. internal/store implements it.
type Listing interface {
	// Acquire blocks until the work is ours alone. After object.ErrFenced it has to
	// be called again.
	Acquire(ctx context.Context) error
	// Beat keeps it ours and takes what others asked of us.
	Beat(ctx context.Context) ([]object.Ask, error)
	// Report says how we are. It needs no Acquire.
	Report(ctx context.Context, status object.Status) error
	// Release lets another instance work.
	Release(ctx context.Context) error
	// LogState reads where the streamer's log stands.
	LogState(ctx context.Context) (object.LogState, error)
	// Put replaces the statement before.
	Put(ctx context.Context, listed object.Listed) error
	// Wants returns the keys whose bodies the aggregator lacks, and whether it is
	// done with the statement.
	Wants(ctx context.Context, listedID string) (keys []object.Key, adopted bool, err error)
	// PutBodies hands bodies over; several calls add up.
	PutBodies(ctx context.Context, listedID string, records []object.Record) error
}

// Options are a Verifier's settings. The zero value is the default.
type Options struct {
	VerifyEvery time.Duration // from one round's begin to the next, ±10 %; 60 s if 0
	FullEvery   int           // every so many rounds bodies are compared too; 10 if 0
	Metrics     *Metrics      // nil: measured but not registered
}

// The times that the protocol fixes.
const (
	beatEvery    = 1500 * time.Millisecond // the lease lives 5 s
	reportEvery  = 5 * time.Second
	callTimeout  = 30 * time.Second // one short question to the API server
	listTimeout  = 10 * time.Minute // one complete list
	writeTimeout = 30 * time.Second // one question to Redis
	wantsEvery   = 200 * time.Millisecond
	serveFor     = 30 * time.Second // how long a round waits for its adoption, unless bodies are on their way
	restarts     = 5                // lists in one round, if R expires while bodies are read
)

// Verifier verifies one resource.
type Verifier struct {
	name        string
	source      Source
	openListing func(object.Resource) Listing
	options     Options
	log         *slog.Logger
	asked       chan object.Ask

	mu     sync.Mutex
	status object.Status
	moved  chan struct{}
}

// New makes a Verifier of the resource that the user calls name. openListing is
// called for the resource that discovery finds, and before that for what
// object.ParseResource makes of name, to have where to report.
func New(name string, source Source, openListing func(object.Resource) Listing, options Options, log *slog.Logger) *Verifier {
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	options.VerifyEvery = cmp.Or(options.VerifyEvery, time.Minute)
	options.FullEvery = cmp.Or(options.FullEvery, 10)
	return &Verifier{
		name: name, source: source, openListing: openListing, options: options,
		log: log.With("resource", name), asked: make(chan object.Ask, 1), moved: make(chan struct{}, 1),
	}
}

// Run verifies until ctx ends, and then returns nil. It returns an error only for a
// name that object.ParseResource refuses. A Verifier runs once.
func (v *Verifier) Run(ctx context.Context) error {
	asked, err := object.ParseResource(v.name)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		resource, ok := v.resolve(ctx, v.openListing(asked))
		if !ok {
			return nil
		}
		v.work(ctx, resource)
	}
	return nil
}

// resolve asks until the API server knows the resource; ok is false when ctx ended.
func (v *Verifier) resolve(ctx context.Context, listing Listing) (r object.Resource, ok bool) {
	defer v.reporting(ctx, listing)()
	var pause backoff
	for {
		v.say(object.StateStarting, "asking the API server for "+v.name)
		call, cancel := context.WithTimeout(ctx, callTimeout)
		r, err := v.source.Resolve(call, v.name)
		cancel()
		if err == nil {
			return r, true
		}
		if !v.fail(ctx, "cannot resolve the resource", err, &pause) {
			return object.Resource{}, false
		}
	}
}

// work holds the lease and makes rounds, until the resource is gone or ctx ends.
func (v *Verifier) work(ctx context.Context, r object.Resource) {
	listing := v.openListing(r)
	defer v.reporting(ctx, listing)()
	var pause backoff
	for ctx.Err() == nil {
		v.say("", "") // while another instance works, Acquire reports that
		err := listing.Acquire(ctx)
		if err == nil {
			err = v.hold(ctx, r, listing)
		}
		if errors.Is(err, object.ErrNotFound) {
			// The resource is gone, or there is none under that name any more.
			v.fail(ctx, "the resource is gone", err, &pause)
			return
		}
		if err != nil && !v.fail(ctx, "cannot work for now", err, &pause) {
			return
		}
	}
}

// hold makes rounds while the lease is ours.
func (v *Verifier) hold(ctx context.Context, r object.Resource, listing Listing) error {
	rounds, fence := context.WithCancelCause(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { fence(v.beat(rounds, listing)) })
	err := (&rounder{Verifier: v, resource: r, listing: listing, meter: v.options.Metrics.of(r.String())}).run(rounds)
	if cause := context.Cause(rounds); ctx.Err() == nil && cause != nil {
		err = cause
	}
	fence(nil)
	beats.Wait()
	if !errors.Is(err, object.ErrFenced) {
		v.release(ctx, listing)
	}
	return err
}

func (v *Verifier) release(ctx context.Context, listing Listing) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if err := listing.Release(ctx); err != nil {
		v.log.Warn("cannot give the lease back", "err", err)
	}
}

// beat keeps the lease until ctx ends, and returns object.ErrFenced if it is lost.
func (v *Verifier) beat(ctx context.Context, listing Listing) error {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		call, cancel := context.WithTimeout(ctx, writeTimeout)
		asks, err := listing.Beat(call)
		cancel()
		if errors.Is(err, object.ErrFenced) {
			return fmt.Errorf("renew the lease: %w", err)
		}
		if err != nil && !failed && ctx.Err() == nil {
			v.log.Warn("cannot renew the lease", "err", err)
		}
		failed = err != nil
		for _, ask := range asks {
			v.heed(ask)
		}
	}
}

// heed notes a wish; full outweighs an ordinary one that waits.
func (v *Verifier) heed(ask object.Ask) {
	select {
	case v.asked <- ask:
		return
	default:
	}
	if ask != object.AskFull {
		return
	}
	select {
	case <-v.asked:
	default:
	}
	select {
	case v.asked <- ask:
	default:
	}
}

// fail logs and reports err, and waits as it demands; false when ctx ended.
func (v *Verifier) fail(ctx context.Context, message string, err error, pause *backoff) bool {
	if ctx.Err() != nil {
		return false
	}
	wait := pause.next(err)
	v.say(stateOf(err), err.Error())
	v.log.Warn("waiting before the next try", "because", message, "err", err, "wait", wait)
	return sleep(ctx, wait)
}

// say sets the status; an empty state keeps silent.
func (v *Verifier) say(state object.State, message string) {
	v.mu.Lock()
	v.status = object.Status{Role: object.RoleVerifier, State: state, Message: message}
	v.mu.Unlock()
	select {
	case v.moved <- struct{}{}:
	default:
	}
}

// reporting reports the status at every change and every 5 s, until the function
// that it returns is called.
func (v *Verifier) reporting(ctx context.Context, listing Listing) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var reporter sync.WaitGroup
	reporter.Go(func() {
		ticker := time.NewTicker(reportEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-v.moved:
			case <-ticker.C:
			}
			v.report(ctx, listing)
		}
	})
	return func() {
		cancel()
		reporter.Wait()
	}
}

func (v *Verifier) report(ctx context.Context, listing Listing) {
	v.mu.Lock()
	status := v.status
	v.mu.Unlock()
	if status.State == "" {
		return
	}
	status.At = time.Now().UTC()
	call, cancel := context.WithTimeout(ctx, reportEvery)
	defer cancel()
	if err := listing.Report(call, status); err != nil && ctx.Err() == nil {
		v.log.Debug("cannot report the status", "err", err)
	}
}

// stateOf is the state to report when err stops us.
func stateOf(err error) object.State {
	var retry *object.RetryError
	switch {
	case errors.Is(err, object.ErrNotFound):
		return object.StateAbsent
	case errors.Is(err, object.ErrForbidden):
		return object.StateForbidden
	case errors.Is(err, errRedis):
		return object.StateFailing
	case errors.As(err, &retry), !errors.Is(err, object.ErrExpired):
		return object.StateUnreachable
	}
	return object.StateFailing
}

// backoff says how long to wait after one failure more.
type backoff struct{ failures int }

// next doubles from 0.5 s to 30 s, less up to half at random; what the server asked
// for is the least. What is absent or forbidden is asked for at a steady pace.
func (b *backoff) next(err error) time.Duration {
	switch {
	case errors.Is(err, object.ErrNotFound):
		return 10 * time.Second
	case errors.Is(err, object.ErrForbidden):
		return 30 * time.Second
	}
	most := min(500*time.Millisecond<<min(b.failures, 6), 30*time.Second)
	b.failures++
	wait := most - rand.N(most/2)
	var retry *object.RetryError
	if errors.As(err, &retry) {
		wait = max(wait, retry.After)
	}
	return wait
}

func (b *backoff) reset() { b.failures = 0 }

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
