package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Phase is what a mirror does at the moment.
type Phase string

// The phases of a mirror.
const (
	PhaseWaiting    Phase = "waiting"     // there is no complete snapshot in Redis (yet)
	PhaseLoading    Phase = "loading"     // the snapshot is being read
	PhaseCatchingUp Phase = "catching up" // the feed is followed to where it may be served
	PhaseFollowing  Phase = "following"   // all is well
)

// Status says how a mirror stands. Loaded and Expect tell of the phases waiting
// (what the aggregator has received) and loading (what the mirror has read).
type Status struct {
	Phase    Phase
	Reason   string    // why the snapshot is read (again): start, trimmed, lost, empty, count
	Loaded   int64     // objects so far
	Expect   int64     // about how many there will be, 0 if unknown
	SyncedAt time.Time // when the first Root was there; zero before
	Err      error     // why Redis cannot be read at the moment; nil if it can
	ErrSince time.Time // since when
}

// Progress is a phrase for people: "syncing 1200 of about 5000".
func (s Status) Progress() string {
	switch {
	case s.Phase == PhaseFollowing:
		return ""
	case s.Phase == PhaseCatchingUp:
		return "syncing: catching up with the feed"
	case s.Expect > 0:
		return fmt.Sprintf("syncing %d of about %d", s.Loaded, s.Expect)
	case s.Loaded > 0:
		return fmt.Sprintf("syncing %d", s.Loaded)
	}
	return "waiting for the first complete snapshot"
}

// Status returns how the mirror stands.
func (m *Mirror) Status() Status { return *m.status.Load() }

// Err says why the mirror is cut off from Redis; nil if it is not. The last Root
// is served on meanwhile, and grows older.
func (m *Mirror) Err() error { return m.status.Load().Err }

// setStatus changes the status. Only Run's goroutine calls it.
func (m *Mirror) setStatus(change func(*Status)) {
	next := *m.status.Load()
	change(&next)
	m.status.Store(&next)
}

// cutOff notes that Redis cannot be read; it logs only the first of many faults.
func (m *Mirror) cutOff(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("redis does not answer: %w", err)
	}
	if m.Err() == nil {
		m.log.Warn("mirror is cut off", "err", err)
	}
	m.setStatus(func(s *Status) {
		if s.Err == nil {
			s.ErrSince = time.Now()
		}
		s.Err = err
	})
}

func (m *Mirror) connected() {
	s := m.status.Load()
	if s.Err == nil {
		return
	}
	m.log.Info("mirror is connected again", "after", time.Since(s.ErrSince).Round(time.Millisecond))
	m.setStatus(func(s *Status) { s.Err, s.ErrSince = nil, time.Time{} })
}

// following notes the first root of a load.
func (m *Mirror) following(root *Root) {
	m.log.Info("mirror follows", "objects", root.Len(), "version", string(root.Freshness.Streamed), "bytes", root.Bytes)
	m.setStatus(func(s *Status) {
		s.Phase, s.Loaded, s.Expect = PhaseFollowing, 0, 0
		if s.SyncedAt.IsZero() {
			s.SyncedAt = time.Now()
		}
	})
}
