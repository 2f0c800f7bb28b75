package verifier

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// errRedis marks what Redis did not do; all else is the API server's.
var errRedis = errors.New("redis")

// rounder makes the rounds of one lease.
type rounder struct {
	*Verifier
	resource object.Resource
	listing  Listing
	meter    *meter
	count    int // rounds that succeeded since the process began to hold the lease
}

// run makes a round at once, then one every VerifyEvery and whenever one is asked
// for, until ctx ends or the resource is gone.
func (r *rounder) run(ctx context.Context) error {
	var pause backoff
	ask := object.AskVerify
	for {
		begun := time.Now()
		err := r.round(ctx, ask == object.AskFull || (r.count+1)%r.options.FullEvery == 0)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, object.ErrFenced), errors.Is(err, object.ErrNotFound):
			return err
		case err != nil:
			r.meter.failed(err)
			if !r.fail(ctx, "round failed", err, &pause) {
				return nil
			}
			continue // the same again: what was asked for is still owed
		}
		pause.reset()
		r.count++
		r.say(object.StateFollowing, "")
		if ask, err = r.next(ctx, begun); err != nil {
			return nil
		}
	}
}

// next waits until the next round is due, and says of what kind. Its error is ctx's.
func (r *rounder) next(ctx context.Context, begun time.Time) (object.Ask, error) {
	every := r.options.VerifyEvery
	due := begun.Add(every - every/10 + mathrand.N(every/5+1))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case ask := <-r.asked:
		return ask, nil
	case <-timer.C:
		return object.AskVerify, nil
	}
}

// round lists, states and serves what is lacking. If the API server forgets R
// meanwhile it lists again.
func (r *rounder) round(ctx context.Context, full bool) error {
	defer r.meter.round(full)()
	for range restarts {
		listed, err := r.list(ctx, full)
		if errors.Is(err, object.ErrExpired) {
			r.log.Info("the list expired while it was read, listing again", "err", err)
			continue
		}
		if err != nil {
			return err
		}
		if err := r.put(ctx, listed); err != nil {
			return err
		}
		err = r.serve(ctx, listed)
		if !errors.Is(err, object.ErrExpired) {
			return err
		}
		r.log.Info("the list's version expired before its bodies were read, listing again", "version", listed.Version, "err", err)
	}
	return fmt.Errorf("list %v %d times, each too slow for the API server: %w", r.resource, restarts, object.ErrExpired)
}

// list reads the truth. It waits for a log: without one there is nothing to verify.
func (r *rounder) list(ctx context.Context, full bool) (object.Listed, error) {
	state, err := r.awaitLog(ctx)
	if err != nil {
		return object.Listed{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	uid, schema, err := r.source.Identity(ctx, r.resource)
	if err != nil {
		return object.Listed{}, fmt.Errorf("identify the cluster: %w", err)
	}
	if logged := state.Resync.Schema; full && schema != "" && logged != "" && schema != logged {
		r.log.Warn("bodies are not compared this time: the log's are shaped otherwise, until the streamer lists anew",
			"log", logged, "server", schema)
		full = false
	}
	listed := object.Listed{
		ID: rand.Text(), At: time.Now().UTC(), Full: full,
		After: state.Position, Lineage: state.Resync.Lineage, ClusterUID: uid,
	}
	read := r.source.Metadata
	if full {
		read = r.source.Bodies
	}
	listed.Version, listed.Items, err = read(ctx, r.resource)
	if err != nil {
		return object.Listed{}, err
	}
	r.meter.listed(len(listed.Items))
	r.log.Debug("listed", "version", listed.Version, "objects", len(listed.Items), "full", full, "took", time.Since(listed.At))
	return listed, nil
}

// awaitLog returns the log's state once there is one.
func (r *rounder) awaitLog(ctx context.Context) (object.LogState, error) {
	for {
		state, err := redis(ctx, r.listing.LogState)
		if err != nil {
			return state, fmt.Errorf("read the log's state: %w", err)
		}
		if state.Resync.Lineage != "" {
			if r.count == 0 {
				r.say(object.StateStarting, "listing for the first time")
			}
			return state, nil
		}
		r.say(object.StateStarting, "waiting for the streamer: there is no log yet")
		if !sleep(ctx, time.Second) {
			return state, ctx.Err()
		}
	}
}

// redis asks Redis one question with the deadline that every question has.
func redis[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	answer, err := question(ctx)
	if err != nil {
		return answer, errors.Join(errRedis, err)
	}
	return answer, nil
}

func (r *rounder) put(ctx context.Context, listed object.Listed) error {
	_, err := redis(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, r.listing.Put(ctx, listed) })
	if err != nil {
		return fmt.Errorf("state the list: %w", err)
	}
	return nil
}

// wants is what the aggregator says of a statement.
type wants struct {
	keys    []object.Key
	adopted bool
}

// serve hands over what the aggregator wants until it is done with listed, or has
// wanted nothing for a while: then the next round will do.
func (r *rounder) serve(ctx context.Context, listed object.Listed) error {
	for idle := time.Now(); time.Since(idle) < serveFor; {
		now, err := redis(ctx, func(ctx context.Context) (w wants, err error) {
			w.keys, w.adopted, err = r.listing.Wants(ctx, listed.ID)
			return w, err
		})
		switch {
		case err != nil:
			return fmt.Errorf("read what is wanted: %w", err)
		case now.adopted:
			return nil
		case len(now.keys) > 0:
			if err := r.deliver(ctx, listed, now.keys); err != nil {
				return err
			}
			idle = time.Now()
		}
		if !sleep(ctx, wantsEvery) {
			return ctx.Err()
		}
	}
	r.log.Warn("the aggregator has not adopted the list", "version", listed.Version, "waited", serveFor)
	return nil
}

// The bounds of one delivery.
const (
	fewBodies   = 50 // up to so many are read one by one, and more by one list
	atOnce      = 8
	partRecords = 256
)

// deliver reads the bodies of keys at the list's version and hands them over.
func (r *rounder) deliver(ctx context.Context, listed object.Listed, keys []object.Key) error {
	read := r.readEach
	if len(keys) > fewBodies {
		read = r.readAll
	}
	records, err := read(ctx, listed.Version, keys)
	if err != nil {
		return err
	}
	for len(records) > 0 {
		part := records[:min(partRecords, len(records))]
		records = records[len(part):]
		_, err := redis(ctx, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, r.listing.PutBodies(ctx, listed.ID, part)
		})
		if err != nil {
			return fmt.Errorf("hand over %d bodies: %w", len(part), err)
		}
		r.meter.bodies(len(part))
	}
	return nil
}

func (r *rounder) readEach(ctx context.Context, at object.Version, keys []object.Key) ([]object.Record, error) {
	records := make([]object.Record, len(keys))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, key := range keys {
		group.Go(func() (err error) {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			if records[i], err = r.source.At(ctx, r.resource, key, at); err != nil {
				return vanished(fmt.Errorf("read %v at %s: %w", key, at, err))
			}
			return nil
		})
	}
	return records, group.Wait()
}

// vanished turns "not there at R", which a consistent list rules out, into a
// reason to list again; that the resource is gone shows there.
func vanished(err error) error {
	if errors.Is(err, object.ErrNotFound) {
		return fmt.Errorf("%v: %w", err, object.ErrExpired) //nolint:errorlint // it must no longer count as ErrNotFound
	}
	return err
}

func (r *rounder) readAll(ctx context.Context, at object.Version, keys []object.Key) ([]object.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	wanted := make(map[object.Key]bool, len(keys))
	for _, key := range keys {
		wanted[key] = true
	}
	records := make([]object.Record, 0, len(keys))
	for record, err := range r.source.AllAt(ctx, r.resource, at) {
		if err != nil {
			return nil, vanished(fmt.Errorf("list %v at %s: %w", r.resource, at, err))
		}
		if wanted[record.Key] {
			records = append(records, record)
		}
	}
	if len(records) < len(keys) {
		return nil, fmt.Errorf("list %v at %s has %d of %d bodies: %w", r.resource, at, len(records), len(keys), object.ErrExpired)
	}
	return records, nil
}
