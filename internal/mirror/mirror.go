package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Feed is one resource's snapshot and feed in Redis. internal/store implements it.
type Feed interface {
	// State returns the snapshot's state, object.ErrNotSynced if there is none.
	State(ctx context.Context) (object.SnapshotState, error)
	// Scan yields the whole snapshot as it changes meanwhile; a key may come twice.
	// One that cannot be opened comes with object.ErrUnreadable, and others follow.
	Scan(ctx context.Context) iter.Seq2[object.Record, error]
	// Read returns the entries after that ID, oldest first; none after wait.
	Read(ctx context.Context, after object.LogID, wait time.Duration) ([]object.FeedEntry, error)
	// Tail returns the ID of the feed's last entry, "" if there is none.
	Tail(ctx context.Context) (object.LogID, error)
	// Unpack opens what a feed entry carries, or fails with object.ErrUnreadable. The
	// caller owns the result.
	Unpack(ctx context.Context, packed object.Packed) (object.Record, error)
}

// Options are a mirror's settings; the zero value is the default.
type Options struct {
	Metrics *Metrics
	// OnUnreadable is called when objects of a resource had to be left out, because
	// what Redis holds of them cannot be opened: a full verification repairs that.
	OnUnreadable func(ctx context.Context, resource object.Resource)
	// OnBehind is called when a reader waits for a version that the mirror has not
	// reached: the streamer can be asked to move a quiet resource's position on.
	OnBehind func(ctx context.Context, resource object.Resource)
	// HistoryFor and HistoryBytes bound what is kept of the past, so that watches can
	// go on from there and pages show one state: 5 min, and a quarter of what the
	// objects take but at least 16 MiB, if 0.
	HistoryFor   time.Duration
	HistoryBytes int64
	// Wait is how long one read of the feed waits for news; then the mirror asks
	// whether Redis still knows what it knew. 5 s if 0.
	Wait time.Duration
	// Poll is how often Redis is asked while there is no complete snapshot. 250 ms if 0.
	Poll time.Duration
	// MaxBackoff bounds the pause after failures of Redis. 5 s if 0.
	MaxBackoff time.Duration
	// Every is how often a Set asks which resources there are. 2 s if 0.
	Every time.Duration
	// ForgetAfter is how long a Set keeps a resource that is no longer registered:
	// a Redis that lost everything must not look like a wish to forget. 30 s if 0.
	ForgetAfter time.Duration
}

func (o Options) withDefaults() Options {
	orElse := func(d *time.Duration, otherwise time.Duration) {
		if *d == 0 {
			*d = otherwise
		}
	}
	orElse(&o.Wait, 5*time.Second)
	orElse(&o.Poll, 250*time.Millisecond)
	orElse(&o.MaxBackoff, 5*time.Second)
	orElse(&o.Every, 2*time.Second)
	orElse(&o.ForgetAfter, 30*time.Second)
	orElse(&o.HistoryFor, 5*time.Minute)
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.OnUnreadable == nil {
		o.OnUnreadable = func(context.Context, object.Resource) {}
	}
	if o.OnBehind == nil {
		o.OnBehind = func(context.Context, object.Resource) {}
	}
	return o
}

// Mirror keeps one resource's snapshot in memory. Its methods may be called from
// any goroutine.
type Mirror struct {
	resource object.Resource
	feed     Feed
	options  Options
	metrics  *resourceMetrics
	log      *slog.Logger

	shown   atomic.Pointer[shown]
	status  atomic.Pointer[Status]
	history history
	kept    kept
	tails   tails
	nudged  atomic.Int64 // when the stream was last asked to move on, Unix ns

	// The rest is Run's own.
	loads  int                       // how many loads were begun
	counts time.Time                 // when a wrong number of objects last caused a reload
	seen   map[string]object.Version // by lineage: the newest version that readers' roots know of

	onPublish func(*Root) // for tests; nil otherwise
}

// New returns a mirror of resource that holds nothing until Run.
func New(resource object.Resource, feed Feed, options Options, log *slog.Logger) *Mirror {
	options = options.withDefaults()
	m := &Mirror{
		resource: resource, feed: feed, options: options,
		seen: map[string]object.Version{}, metrics: options.Metrics.of(resource), log: log.With("resource", resource.String()),
	}
	m.status.Store(&Status{Phase: PhaseWaiting})
	m.shown.Store(&shown{changed: make(chan struct{})})
	m.tails.turn = make(chan struct{}, 1)
	return m
}

// Resource is what the mirror holds.
func (m *Mirror) Resource() object.Resource { return m.resource }

// State asks Redis for the snapshot's state: its drift counters and progress are
// newer there than any Root. It fails as Feed.State does.
func (m *Mirror) State(ctx context.Context) (object.SnapshotState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	state, err := m.feed.State(ctx)
	if err != nil {
		return state, fmt.Errorf("read state of %v: %w", m.resource, err)
	}
	return state, nil
}

const callTimeout = 5 * time.Second

// Run keeps the mirror up to date until ctx ends, and then returns nil. While
// Redis is away or the snapshot is read again the last Root stays.
func (m *Mirror) Run(ctx context.Context) error {
	defer m.options.Metrics.add(m)()
	defer func() { m.history.close(fmt.Errorf("%v is no longer served: %w", m.resource, object.ErrNotFound)) }()
	why := reloadStart
	for ctx.Err() == nil {
		m.metrics.reloads.WithLabelValues(m.resource.String(), string(why)).Inc()
		if why != reloadStart {
			m.log.Warn("mirror begins anew", "reason", string(why))
		}
		m.setStatus(func(s *Status) { s.Phase, s.Reason = PhaseWaiting, string(why) })
		draft, target := m.load(ctx)
		if ctx.Err() != nil {
			break
		}
		why = m.follow(ctx, draft, target)
	}
	return nil
}

// load reads the whole snapshot and returns it with the feed's tail after that: it
// is a state of the snapshot once the feed has been followed so far. It fails only
// with ctx.
func (m *Mirror) load(ctx context.Context) (*draft, object.LogID) {
	wait := m.backoff()
	for tries := 1; ctx.Err() == nil; tries++ {
		m.loads++
		d, target, ahead, err := m.tryLoad(ctx)
		if err == nil && ahead && tries%4 != 0 {
			err = object.ErrNotSynced
		}
		if err == nil {
			m.connected()
			return d, target
		}
		if errors.Is(err, object.ErrNotSynced) {
			m.connected()
			wait = m.backoff()
			sleep(ctx, m.options.Poll)
			continue
		}
		m.cutOff(ctx, err)
		sleep(ctx, wait())
	}
	return nil, ""
}

// tryLoad reads the snapshot once. ahead says that it holds more than Redis says
// it does, as when Redis lost what it had acknowledged in the middle of the scan;
// the next scan sees one state. The stream's position may also lag a little behind
// its objects, so this is not waited out for ever.
func (m *Mirror) tryLoad(ctx context.Context) (d *draft, target object.LogID, ahead bool, err error) {
	before, err := m.syncedState(ctx)
	if err != nil {
		return nil, "", false, err
	}
	d = newDraft(before, m.loads)
	if err := m.scan(ctx, d, before.Objects); err != nil {
		return nil, "", false, fmt.Errorf("scan snapshot of %v: %w", m.resource, err)
	}
	after, err := m.syncedState(ctx)
	if err != nil {
		return nil, "", false, err
	}
	if after.Lineage != before.Lineage || compareID(after.Tail, before.Tail) < 0 {
		return nil, "", false, fmt.Errorf("snapshot of %v was replaced while it was read: %w", m.resource, object.ErrNotSynced)
	}
	return d, after.Tail, d.newest.Newer(reached(after.Freshness)), nil
}

// syncedState fails with ErrNotSynced while Redis has no complete snapshot.
func (m *Mirror) syncedState(ctx context.Context) (object.SnapshotState, error) {
	state, err := m.State(ctx)
	if err != nil {
		return state, err
	}
	if !state.Synced {
		m.setStatus(func(s *Status) { s.Phase, s.Loaded, s.Expect = PhaseWaiting, state.Received, state.Expect })
		return state, object.ErrNotSynced
	}
	return state, nil
}

func (m *Mirror) scan(ctx context.Context, d *draft, expect int64) error {
	count, broken := int64(0), 0
	for record, err := range m.feed.Scan(ctx) {
		var o *Object
		if err == nil {
			o, err = m.open(record)
		}
		switch {
		case errors.Is(err, object.ErrUnreadable):
			m.leaveOut(record.Key, err)
			broken++
			continue
		case err != nil:
			return err
		}
		d.set(o)
		if count++; count%512 == 1 {
			m.setStatus(func(s *Status) { s.Phase, s.Loaded, s.Expect = PhaseLoading, count, expect })
		}
	}
	if broken > 0 {
		m.options.OnUnreadable(ctx, m.resource)
	}
	return ctx.Err()
}

// open makes an Object of a record.
func (m *Mirror) open(record object.Record) (*Object, error) {
	o, err := newObject(record, m.isPods())
	if err != nil {
		return nil, fmt.Errorf("read %v: %w: %w", record.Key, object.ErrUnreadable, err)
	}
	return o, nil
}

// leaveOut counts and logs an object that cannot be served: one broken object must
// not keep all others from being served.
func (m *Mirror) leaveOut(key object.Key, err error) {
	m.metrics.broken.Inc()
	m.log.Error("an object is left out, for it cannot be read: asking for a full verification", "key", key.String(), "err", err)
}

func (m *Mirror) isPods() bool { return m.resource.Group == "" && m.resource.Name == "pods" }

// backoff returns a function of pauses that double, with jitter, up to MaxBackoff.
func (m *Mirror) backoff() func() time.Duration {
	pause := 100 * time.Millisecond
	return func() time.Duration {
		now := pause/2 + rand.N(pause)
		pause = min(2*pause, m.options.MaxBackoff)
		return min(now, m.options.MaxBackoff)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
