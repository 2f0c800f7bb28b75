// Package streamer follows one resource of the API server and writes what
// happens to it into that resource's log: every record in the order of arrival,
// and between them how far the stream has come.
//
// Streamer.Run resolves the resource, takes the log's lease (a tenure), and then
// opens one watch after another. Before each it decides whether the log can be
// continued or everything has to be read anew (decide). A watch has three parts:
// a reader that fills a bounded buffer, an appender that empties it into the log,
// and a prover that shows by a second watch that the first one is alive.
package streamer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Source is the API server. internal/kube implements it. Every method returns
// object.ErrForbidden, object.ErrNotFound or *object.RetryError where they apply.
type Source interface {
	// Resolve finds the resource that a user means by name.
	Resolve(ctx context.Context, name string) (object.Resource, error)
	// Identity returns the cluster's UID, "" if it may not be read, and the
	// fingerprint of what shapes the bodies of r.
	Identity(ctx context.Context, r object.Resource) (clusterUID, schema string, err error)
	// Probe returns the version at which a consistent list of r would be now.
	Probe(ctx context.Context, r object.Resource) (object.Version, error)
	// Count returns about how many objects r has.
	Count(ctx context.Context, r object.Resource) (int64, error)
	// Initial yields every object, InitialEnd, and then what happens after it. It
	// yields object.ErrUnsupported if the server cannot do that.
	Initial(ctx context.Context, r object.Resource) iter.Seq2[object.Event, error]
	// List yields every object and InitialEnd, and ends.
	List(ctx context.Context, r object.Resource) iter.Seq2[object.Event, error]
	// Watch yields what happens after version until the server ends it, at about
	// timeout (0: the source's own choice). It yields object.ErrExpired if the
	// server no longer keeps version.
	Watch(ctx context.Context, r object.Resource, after object.Version, timeout time.Duration) iter.Seq2[object.Event, error]
}

// Log is a resource's log in Redis. internal/store implements it.
type Log interface {
	// Acquire blocks until the log is ours alone to write, and reports
	// object.StateStandby meanwhile. After object.ErrFenced or object.ErrLost it
	// has to be called again.
	Acquire(ctx context.Context) (object.LogState, error)
	// Append writes items as one entry. After any error but object.ErrFenced and
	// object.ErrLost it may be called again with the same items, and with those only.
	Append(ctx context.Context, items []object.LogItem) error
	// Beat keeps the log ours and takes what others asked of us.
	Beat(ctx context.Context) ([]object.Ask, error)
	// Report says how we are. It needs no Acquire.
	Report(ctx context.Context, status object.Status) error
	// Release lets another instance write.
	Release(ctx context.Context) error
}

// Options are what New does not need. The zero value is the default.
type Options struct {
	Metrics       *Metrics // nil: measured but not registered
	BufferRecords int      // read and not yet appended, default 4096
	BufferBytes   int      // the same in bytes of bodies, default 16 MiB; one larger record still passes
	BatchRecords  int      // in one append, default 512
	BatchBytes    int      // in one append, default 1 MiB of bodies; one larger record still passes
}

// The times that the protocol fixes.
const (
	beatEvery     = 1500 * time.Millisecond // the lease lives 5 s
	reportEvery   = 5 * time.Second
	absentRetry   = 10 * time.Second
	goneRetry     = time.Second // from a watch's 404 to the next question to discovery
	forbidRetry   = 30 * time.Second
	callTimeout   = 30 * time.Second // one question to the API server
	writeTimeout  = 10 * time.Second // one question to Redis
	drainTimeout  = 3 * time.Second  // to append what is buffered when we stop
	longEnough    = 30 * time.Second // a watch that lived so long was no failure
	tooShort      = time.Second      // one that the server ends so soon, several times, is
	proveAfter    = time.Second      // how long the watch may take to prove itself
	proofTimeout  = 5 * time.Second  // of the second watch
	probeEvery    = 500 * time.Millisecond
	proofPatience = 5 * time.Second // for the first to bring what the second brought
)

// Streamer follows one resource.
type Streamer struct {
	name    string
	source  Source
	openLog func(object.Resource) Log
	options Options
	logger  *slog.Logger
	board   *board
	memory  memory
}

// New makes a Streamer of the resource that the user calls name. openLog is
// called for the resource that discovery finds, and before that for what
// object.ParseResource makes of name, to have where to report.
func New(name string, source Source, openLog func(object.Resource) Log, options Options, log *slog.Logger) *Streamer {
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	options.BufferRecords = cmp.Or(options.BufferRecords, 4096)
	options.BufferBytes = cmp.Or(options.BufferBytes, 16<<20)
	options.BatchRecords = cmp.Or(options.BatchRecords, 512)
	options.BatchBytes = cmp.Or(options.BatchBytes, 1<<20)
	log = log.With("resource", name)
	return &Streamer{
		name: name, source: source, openLog: openLog, options: options, logger: log,
		board: newBoard(log),
	}
}

// Run follows the resource until ctx ends, and then returns nil: it appends what
// it has read (3 s at most) and gives the log back. It returns an error only for
// a name that object.ParseResource refuses. A Streamer runs once.
func (s *Streamer) Run(ctx context.Context) error {
	asked, err := object.ParseResource(s.name)
	if err != nil {
		return err
	}
	reporting, stop := context.WithCancel(ctx)
	var reporter sync.WaitGroup
	reporter.Go(func() { s.board.run(reporting) })
	defer reporter.Wait()
	defer stop()

	for {
		s.board.report(s.openLog(asked))
		resource, err := s.resolve(ctx)
		if err != nil {
			return nil
		}
		s.follow(ctx, resource)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// resolve asks until the API server knows the resource. Its error is ctx's.
func (s *Streamer) resolve(ctx context.Context) (object.Resource, error) {
	s.board.set(watching, object.StateStarting, "asking the API server for "+s.name)
	var retry backoff
	for {
		resource, err := ask(ctx, func(ctx context.Context) (object.Resource, error) {
			return s.source.Resolve(ctx, s.name)
		})
		if err == nil {
			return resource, nil
		}
		if ctx.Err() != nil {
			return object.Resource{}, ctx.Err()
		}
		wait := retry.next(err)
		s.board.set(watching, stateOf(err), err.Error())
		s.logger.Warn("cannot resolve the resource", "err", err, "wait", wait)
		if err := sleep(ctx, wait); err != nil {
			return object.Resource{}, err
		}
	}
}

// follow holds one tenure after another until the resource is gone or ctx ends.
func (s *Streamer) follow(ctx context.Context, r object.Resource) {
	log := s.openLog(r)
	s.board.report(log)
	var retry backoff
	for {
		ended, err := s.hold(ctx, r, log)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, object.ErrNotFound):
			s.memory.want(reasonReturned)
			s.board.set(watching, object.StateAbsent, err.Error())
			// Discovery may know a resource for a while after it is gone.
			_ = sleep(ctx, goneRetry)
			return
		}
		if ended.appended {
			retry.reset()
		}
		wait := retry.next(err)
		s.logger.Warn("the log has to be taken over again", "err", err, "wait", wait)
		if sleep(ctx, wait) != nil {
			return
		}
	}
}

// ask asks one question with the deadline that every question has.
func ask[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("no answer within %v", callTimeout))
	defer cancel()
	return question(ctx)
}
