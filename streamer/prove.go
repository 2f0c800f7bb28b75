package streamer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// trail is what a watch has brought so far, as far as proofs need to know.
type trail struct {
	target  object.Version // X: there, the watch is current
	live    chan struct{}  // closed when no list is on its way any more
	current chan struct{}  // closed when the watch is current
	moved   chan struct{}  // something came; of use while a proof runs

	mu       sync.Mutex
	position object.Version
	isThere  bool                        // current is closed
	seen     map[object.Version]struct{} // since the proof began; nil if none runs
}

func newTrail(target object.Version) *trail {
	return &trail{
		target: target,
		live:   make(chan struct{}), current: make(chan struct{}), moved: make(chan struct{}, 1),
	}
}

// goLive notes from where the watch goes on live.
func (t *trail) goLive(position object.Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.position = position
	close(t.live)
}

// saw notes a live record. It says whether that made the watch current.
func (t *trail) saw(version object.Version) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen != nil {
		t.seen[version] = struct{}{}
	}
	return t.move(version)
}

// reach notes that everything up to version has come. It says whether that made
// the watch current.
func (t *trail) reach(version object.Version) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.move(version)
}

func (t *trail) move(version object.Version) bool {
	t.position = t.position.Newest(version)
	if t.seen != nil {
		select {
		case t.moved <- struct{}{}:
		default:
		}
	}
	if t.isThere || t.target.Newer(version) {
		return false
	}
	t.isThere = true
	close(t.current)
	return true
}

// at is how far the watch has come.
func (t *trail) at() object.Version {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.position
}

// isCurrent says whether the watch has ever been current.
func (t *trail) isCurrent() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.isThere
}

// mark begins a proof: from the position that it returns on, what comes is noted.
func (t *trail) mark() object.Version {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = make(map[object.Version]struct{})
	return t.position
}

// unmark ends a proof.
func (t *trail) unmark() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = nil
}

// compare returns how many of witnessed the watch has not brought, and how many up
// to the bookmark it has brought that are not in witnessed.
func (t *trail) compare(e evidence) (lacking, extra int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for version := range e.versions {
		if _, ok := t.seen[version]; !ok {
			lacking++
		}
	}
	for version := range t.seen {
		_, ok := e.versions[version]
		if !ok && version.Newer(e.from) && !version.Newer(e.bookmark) {
			extra++
		}
	}
	return lacking, extra
}

// evidence is what a second watch brought.
type evidence struct {
	from     object.Version
	versions map[object.Version]struct{} // of its events, up to the bookmark
	bookmark object.Version
	at       time.Time
}

// errVoid ends a proof that proves nothing, one way or the other.
var errVoid = errors.New("proves nothing")

// prove shows that the watch is current, soon after it began and whenever that is
// asked for. It ends with ctx, or with what shows that the watch cannot go on.
func (w *watch) prove(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-w.trail.live:
	}
	if err := w.proveStart(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.t.advance:
		}
		if err := w.proof(ctx); fatal(err) {
			return err
		}
	}
}

// proveStart looks again at what the plan was based on, and repeats proofs until
// the watch is current.
func (w *watch) proveStart(ctx context.Context) error {
	if sleep(ctx, proveAfter) != nil {
		return nil
	}
	if err := w.recheck(ctx); err != nil {
		return err
	}
	var retry backoff
	for ctx.Err() == nil && !w.trail.isCurrent() {
		err := w.proof(ctx)
		if fatal(err) {
			return err
		}
		if err == nil || ctx.Err() != nil || w.trail.isCurrent() {
			continue
		}
		message := fmt.Sprintf("resumed at %s, not proven current: %v", w.plan.after, err)
		w.t.s.board.set(watching, object.StateStarting, message)
		_ = sleep(ctx, retry.next(err))
	}
	return nil
}

// recheck finds out whether the cluster was replaced, or its etcd restored, after
// the plan was made and before the watch was open. The schema may alternate while
// servers are upgraded one by one, so that is left to the next plan.
func (w *watch) recheck(ctx context.Context) error {
	position := w.trail.at()
	now, err := w.t.survey(ctx)
	if err != nil {
		w.t.logger.Debug("cannot look again", "err", err)
		return nil
	}
	uid := w.plan.resync.ClusterUID
	if uid != "" && now.uid != "" && uid != now.uid || position.Newer(now.version) {
		return errChecked
	}
	return nil
}

// fatal says whether a proof's error ends the watch.
func fatal(err error) bool {
	return errors.Is(err, errUnequal) || errors.Is(err, errRestored) || errors.Is(err, object.ErrExpired)
}

// proof opens a second watch from where the first one is, and moves the position
// to its bookmark if the first one has brought the same.
func (w *watch) proof(ctx context.Context) error {
	stalled := w.buffer.stalled()
	from := w.trail.mark()
	defer w.trail.unmark()
	e, err := w.evidence(ctx, from)
	if err == nil {
		err = w.confront(ctx, e)
	}
	if errors.Is(err, errUnequal) && w.buffer.stalled() != stalled {
		err = fmt.Errorf("the log could not take what came: %w", errVoid)
	}
	if ctx.Err() != nil {
		return nil
	}
	w.t.meter.proof(err)
	if err != nil {
		w.t.logger.Info("proof failed", "from", from, "bookmark", e.bookmark, "err", err)
		return err
	}
	if err := w.buffer.push(ctx, entry{claim: e.bookmark, at: e.at}); err != nil {
		return nil // ctx ended
	}
	w.reached(w.trail.reach(e.bookmark))
	return nil
}

// evidence asks where the API server is, and has a second watch bring what lies
// between from and there. The question is needed for the answer, too: of a quiet
// resource the API server's cache learns that etcd has moved on only by being asked,
// and sends a bookmark only above the version from which a watch began.
func (w *watch) evidence(ctx context.Context, from object.Version) (evidence, error) {
	now, err := w.movedOn(ctx, from)
	switch {
	case err != nil:
		return evidence{from: from}, err
	case from.Newer(now):
		return evidence{from: from}, fmt.Errorf("now at %s, was at %s: %w", now, from, errRestored)
	case now == from: // nothing has happened since, anywhere
		return evidence{from: from, bookmark: now, at: time.Now().UTC()}, nil
	}
	return w.witness(ctx, from, now)
}

// movedOn probes until the version is above from, for some seconds at most.
func (w *watch) movedOn(ctx context.Context, from object.Version) (object.Version, error) {
	for deadline := time.Now().Add(proofTimeout); ; {
		now, err := ask(ctx, func(ctx context.Context) (object.Version, error) {
			return w.t.s.source.Probe(ctx, w.t.resource)
		})
		if err != nil {
			return "", fmt.Errorf("probe the current version: %w", err)
		}
		if now != from || time.Now().After(deadline) {
			return now, nil
		}
		if err := sleep(ctx, probeEvery); err != nil {
			return "", err
		}
	}
}

// witness collects what a second watch brings, up to a bookmark at or above until,
// or else to its end. The last event says as much as a bookmark there.
func (w *watch) witness(ctx context.Context, from, until object.Version) (evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*proofTimeout)
	defer cancel()
	e := evidence{from: from, versions: make(map[object.Version]struct{})}
	for event, err := range w.t.s.source.Watch(ctx, w.t.resource, from, proofTimeout) {
		switch {
		case err != nil:
			return e, fmt.Errorf("second watch: %w", err)
		case event.Type == object.Bookmark:
			e.reach(event.Version)
			if !until.Newest(w.trail.target).Newer(event.Version) {
				return e, nil
			}
		case event.Type <= object.Deleted && event.Record.Version.Newer(from):
			e.versions[event.Record.Version] = struct{}{}
			e.reach(event.Record.Version)
		}
	}
	if e.bookmark == "" {
		return e, fmt.Errorf("second watch ended without a bookmark: %w", errVoid)
	}
	return e, nil
}

func (e *evidence) reach(version object.Version) {
	e.bookmark, e.at = e.bookmark.Newest(version), time.Now().UTC()
}

// confront waits until the first watch has brought what the second one did.
func (w *watch) confront(ctx context.Context, e evidence) error {
	patience := time.NewTimer(proofPatience)
	defer patience.Stop()
	for {
		lacking, extra := w.trail.compare(e)
		switch {
		case lacking == 0 && extra > 0:
			return fmt.Errorf("second watch lacks %d of the first one's events: %w", extra, errVoid)
		case lacking == 0:
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.trail.moved:
		case <-patience.C:
			return fmt.Errorf("%d of %d events from %s to %s: %w", lacking, len(e.versions), e.from, e.bookmark, errUnequal)
		}
	}
}
