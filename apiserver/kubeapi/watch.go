package kubeapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/wire"
)

// watching is one watch.
type watching struct {
	*request
	api     *API
	cursor  *mirror.Cursor
	initial *mirror.Root // what it begins with; nil if it begins with changes
	frames  *framer
	version object.Version // everything up to here has been sent
}

// watch streams changes until the client goes, the watch's time is up, or what comes
// next cannot be told.
func (a *API) watch(q *request) error {
	ctx, cancel := context.WithTimeout(q.Request.Context(), q.watchTimeout())
	defer cancel()
	w := &watching{request: q, api: a}
	begun, err := w.begin(q.Request.Context()) // a wait for the version has bounds of its own
	if err != nil {
		return err
	}
	q.Header("Content-Type", w.frames.form.contentType(true))
	q.Status(http.StatusOK)
	q.Writer.WriteHeaderNow()
	if q.Request.Method == http.MethodHead {
		return nil
	}
	w.frames.start()
	defer w.frames.end()
	defer a.watches.add(cancel)()
	if begun != nil {
		w.frames.fail(begun)
		return nil
	}
	w.run(ctx)
	return nil
}

// begin finds where the watch starts. ended is what the client is told in the stream,
// as the API server does, if the place it names is not kept any more.
func (w *watching) begin(ctx context.Context) (ended *metav1.Status, err error) {
	o := w.options
	if w.mirror.Root() == nil {
		return nil, notSynced(w.mirror)
	}
	w.frames = newFramer(w.api.encoder(w.request, w.forms[0], w.mirror.Root()))
	if last := w.Request.Header.Get("Last-Event-ID"); last != "" && w.forms[0].media == mediaEvents {
		o.ResourceVersion, o.SendInitialEvents = last, nil // a browser goes on where it was cut off
	}
	var root *mirror.Root
	var doubt error
	version := object.Version(o.ResourceVersion)
	wantsInitial := o.SendInitialEvents != nil && *o.SendInitialEvents
	for try := 0; ; try++ {
		if wantsInitial || version == "" || version == "0" {
			if root, doubt, err = w.state(ctx, o.ResourceVersion); err != nil {
				return nil, err
			}
			w.version = root.Freshness.Streamed
		} else if w.version, err = parseVersion(o.ResourceVersion); err != nil {
			return nil, err
		}
		w.cursor, err = w.mirror.Changes(ctx, w.version)
		switch {
		case root != nil && try < 3 && (errors.Is(err, object.ErrExpired) || err == nil && w.mirror.Root().Lineage != root.Lineage):
			continue // another history has begun in this moment
		case errors.Is(err, object.ErrExpired):
			return w.tooOld(), nil
		case err != nil:
			return nil, w.unreached(err, o.ResourceVersion, w.mirror.Root())
		}
		break
	}
	if wantsInitial {
		w.initial = root
	}
	if root == nil {
		root = w.mirror.Root()
	}
	w.api.describe(w.Writer.Header(), w.mirror, root, doubt)
	return nil, nil
}

func (w *watching) tooOld() *metav1.Status {
	text := fmt.Sprintf("too old resource version: %s", w.version)
	if root := w.mirror.Root(); root != nil {
		text += fmt.Sprintf(" (%s)", root.Freshness.Streamed)
	}
	return &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired, Message: text}
}

// bookmarkEvery is how often a client is told how far the stream is, if it asked for
// that; so it also learns that the connection lives.
const bookmarkEvery = time.Minute

// run sends what happens.
func (w *watching) run(ctx context.Context) {
	end, _ := ctx.Deadline()
	if !w.sendInitial() {
		return
	}
	next := time.Now().Add(w.untilBookmark(end))
	for ctx.Err() == nil && w.frames.err == nil {
		if !w.cursor.Ready() {
			w.frames.flush()
		}
		batch, ended := w.await(ctx, next)
		switch {
		case ended == nil:
			w.send(batch.Events)
			w.version = w.version.Newest(batch.Freshness.Streamed)
			continue
		case errors.Is(ended, errBookmark):
			w.bookmark(false)
			next = time.Now().Add(w.untilBookmark(end))
		case errors.Is(ended, object.ErrExpired):
			w.frames.fail(w.tooOld())
			return
		default: // the client, the server or the resource is going
			return
		}
	}
}

var errBookmark = errors.New("time for a bookmark")

// await waits for what comes next, until a moment.
func (w *watching) await(ctx context.Context, until time.Time) (mirror.Batch, error) {
	if w.options.AllowWatchBookmarks {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, until, errBookmark)
		defer cancel()
	}
	batch, err := w.cursor.Next(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return batch, err
}

// untilBookmark is when the next bookmark is due: about every minute, and shortly
// before the watch ends, so that the client goes on from there.
func (w *watching) untilBookmark(end time.Time) time.Duration {
	regular := bookmarkEvery*3/4 + rand.N(bookmarkEvery/4)
	if last := time.Until(end) - 2*time.Second; last > 0 {
		return min(regular, last)
	}
	return regular
}

// sendInitial sends the present objects as if they had just been added, if the client
// asked for them.
func (w *watching) sendInitial() bool {
	if w.initial == nil {
		w.frames.settled = true
		return true
	}
	for o := range w.initial.All(w.namespace) {
		if w.frames.err != nil {
			return false
		}
		if w.filter.matches(o) {
			w.frames.event(watch.Added, o)
		}
	}
	w.initial = nil
	w.frames.settled = true
	if w.options.AllowWatchBookmarks {
		w.bookmark(true)
	}
	return w.frames.err == nil
}

func (w *watching) bookmark(initialEventsEnd bool) {
	w.frames.bookmark(wire.Bookmark{Version: string(w.version), InitialEventsEnd: initialEventsEnd})
	w.frames.flush()
}

// send sends what the events are for this client: objects that begin or cease to match
// come and go for it.
func (w *watching) send(events []mirror.Event) {
	for what, o := range w.visible(events) {
		w.frames.event(what, o)
	}
}

func (w *watching) visible(events []mirror.Event) iter.Seq2[watch.EventType, *mirror.Object] {
	return func(yield func(watch.EventType, *mirror.Object) bool) {
		for i := range events {
			event := &events[i]
			before := event.Before != nil && w.filter.matches(event.Before)
			now := event.Type != object.Deleted && w.filter.matches(event.Object)
			what, o := watch.Modified, event.Object
			switch {
			case !before && !now:
				continue
			case !before:
				what = watch.Added
			case !now:
				what = watch.Deleted
				if event.Type != object.Deleted {
					o = w.api.gone(event)
				}
			}
			if !yield(what, o) {
				return
			}
		}
	}
}

// gone is what a client is told of an object that has ceased to match: its last state
// that did, at the version of the change.
func (a *API) gone(event *mirror.Event) *mirror.Object {
	value, err := a.forms.of(made{form: "gone", version: event.Version, of: event.Before.Sum}, func() (any, int, error) {
		body, err := wire.PatchVersion(event.Before.Body, string(event.Version))
		if err != nil {
			return nil, 0, err
		}
		o, err := event.Before.Restated(event.Version, body)
		return o, len(body), err
	})
	if err != nil { // the mirror has read the body before
		panic("BUG: " + err.Error())
	}
	return value.(*mirror.Object)
}

// watches are those that run.
type watches struct {
	mu     sync.Mutex
	ends   map[*context.CancelFunc]struct{}
	closed bool
}

// add takes note of a watch; the returned function forgets it.
func (w *watches) add(end context.CancelFunc) (forget func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		end()
	}
	if w.ends == nil {
		w.ends = map[*context.CancelFunc]struct{}{}
	}
	w.ends[&end] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.ends, &end)
	}
}

func (w *watches) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ends)
}

// EndWatches ends all watches, also those that begin later, as their time being up
// does: the server is going, and clients go on elsewhere.
func (a *API) EndWatches() {
	a.watches.mu.Lock()
	defer a.watches.mu.Unlock()
	a.watches.closed = true
	for end := range a.watches.ends {
		(*end)()
	}
}
