package influx

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// mostPatience is less than the shortest time between batches, so that a server that
// stands still costs no batch.
const mostPatience = 3 * time.Second

// send sends pieces; those that cannot be sent, or not soon, go to the queue. If
// something waits there already, all do.
func (s *Store) send(ctx context.Context, all []piece) error {
	if s.queue != nil && !s.queue.empty() {
		return s.queue.put(all)
	}
	var mu sync.Mutex
	var left []piece
	var fault error
	g := errgroup.Group{}
	g.SetLimit(s.options.Concurrency)
	for _, one := range all {
		g.Go(func() error {
			mu.Lock()
			away := fault != nil
			mu.Unlock()
			var err error
			if !away {
				err = s.sendSoon(ctx, one)
			}
			if away || err != nil {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, one)
				fault = errors.Join(fault, err)
			}
			return nil
		})
	}
	_ = g.Wait() // the pieces' errors are in fault
	if len(left) == 0 {
		return nil
	}
	s.options.Metrics.Retries.Inc()
	if s.queue == nil {
		return fault
	}
	if unsaid, ok := s.calm.speak("queue"); ok {
		s.log.Warn("points wait on disk for InfluxDB", "pieces", len(left), "unsaid", unsaid, "err", fault)
	}
	return s.queue.put(left)
}

// sendSoon is sendPiece with patience, if there is a queue.
func (s *Store) sendSoon(ctx context.Context, one piece) error {
	if s.queue != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cmp.Or(s.options.patience, mostPatience))
		defer cancel()
	}
	return s.sendPiece(ctx, one)
}

// sendPiece sends one piece. What the server will never take is counted, and no error.
func (s *Store) sendPiece(ctx context.Context, one piece) error {
	if wait := s.asked(); wait > 0 {
		return fmt.Errorf("%w: InfluxDB asked to be left alone for another %v", metricdb.ErrUnavailable, wait.Round(time.Second))
	}
	if err := s.make(ctx); err != nil {
		return s.failed(err)
	}
	tries := mostTries
	refused, why, err := s.deliver(ctx, one, &tries)
	if err != nil {
		return s.failed(err)
	}
	s.full.server(false)
	s.options.Metrics.Samples.Add(float64(one.samples - refused))
	if refused > 0 {
		s.options.Metrics.Drop("refused", refused)
		if unsaid, ok := s.calm.speak("refused"); ok {
			s.log.Error("InfluxDB refuses points for ever: they are lost", "points", refused, "unsaid", unsaid, "err", why)
		}
	}
	return nil
}

// failed takes notice of what an error says about the server.
func (s *Store) failed(err error) error {
	s.full.server(errors.Is(err, metricdb.ErrFull))
	return err
}

// asked is how much longer the server wants us to write nothing.
func (s *Store) asked() time.Duration {
	return max(0, time.Until(time.Unix(0, s.notBefore.Load())))
}

// mostTries is how many requests are made at most to find the points of a piece that
// the server refuses.
const mostTries = 64

// deliver writes a piece. Where the server refuses all of it for some of its points, or
// because it is too large, its halves are written, until tries are used up.
func (s *Store) deliver(ctx context.Context, one piece, tries *int) (refused int, why, err error) {
	*tries--
	err = s.post(ctx, one)
	var said *refusal
	switch {
	case err == nil:
		return 0, nil, nil
	case !errors.As(err, &said) || !said.forever():
		return 0, nil, err
	}
	if n, ok := said.dropped(one.samples); ok {
		return n, said, nil
	}
	first, second, ok := one.halves()
	if !ok {
		return one.samples, said, nil
	}
	for _, half := range []piece{first, second} {
		if *tries <= 0 {
			refused, why = refused+half.samples, said
			continue
		}
		n, reason, err := s.deliver(ctx, half, tries)
		if err != nil {
			return 0, nil, err // all of it is written again: that changes nothing
		}
		refused += n
		if reason != nil {
			why = reason
		}
	}
	return refused, why, nil
}

// post writes a piece once; twice if the database has to be made anew.
func (s *Store) post(ctx context.Context, one piece) error {
	write := func() error {
		return said("write points", s.write[one.policy].WriteRecord(ctx, string(bytes.TrimSuffix(one.lines, []byte("\n")))))
	}
	err := write()
	var missing *refusal
	if !errors.As(err, &missing) || !missing.missing() {
		return err
	}
	s.making.Lock()
	s.made = false
	s.making.Unlock()
	if err := s.make(ctx); err != nil {
		return err
	}
	return write()
}

// halves cuts a piece in two; not ok if it has one line.
func (p piece) halves() (first, second piece, ok bool) {
	lines := bytes.SplitAfter(bytes.TrimSuffix(p.lines, []byte("\n")), []byte("\n"))
	if len(lines) < 2 {
		return p, p, false
	}
	half := len(lines) / 2
	first = piece{policy: p.policy, lines: bytes.Join(lines[:half], nil), samples: half}
	second = piece{policy: p.policy, lines: bytes.Join(lines[half:], nil), samples: p.samples - half}
	return first, second, true
}

// forever says that the same points will be refused again.
func (r *refusal) forever() bool {
	switch r.status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return true
	}
	return false
}
