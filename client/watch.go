package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// The types of events.
const (
	Added    = watch.Added
	Modified = watch.Modified
	Deleted  = watch.Deleted
	Bookmark = watch.Bookmark
)

const (
	watchPage    = 1000             // objects per page of the lists that a watch begins with
	longestPause = 10 * time.Second // between two tries to connect again
	healthyAfter = 10 * time.Second // a watch that lasted so long was one, even if nothing happened
)

// WatchOptions say what to follow. The zero value is everything, from now on.
type WatchOptions struct {
	LabelSelector string // as in [ListOptions]; an object that stops matching is Deleted, one that starts is Added
	FieldSelector string
	Where         string
	// ResourceVersion "" begins with all objects there are. Another, of a list or of
	// an earlier Event, begins with what came after it; the watch then ends with
	// IsResourceExpired once KRM no longer keeps that.
	ResourceVersion string
	// GiveUp ends the watch if nothing has come for that time; 0 never does. There is
	// a bookmark each minute, and silence is noticed after two: less makes no sense.
	GiveUp time.Duration
	// Interrupted, if it is not nil, is told why the watch is about to connect again,
	// for a log. It is called between two events.
	Interrupted func(err error)
}

// Event is one change.
type Event[T any] struct {
	Type watch.EventType // Added, Modified, Deleted or Bookmark
	// Object is the object after the change, or before it was deleted; the caller's
	// to keep. Bookmarks have none.
	Object *T
	// ResourceVersion is from where a later watch may go on if this and all events
	// before have been dealt with. It is "" within the lists that the watch begins
	// with, where Object's own version is no such place.
	ResourceVersion string
	// Synced comes with the Bookmark that follows each of these lists: everything
	// there was has now been told.
	Synced bool
	// Vanished comes with Deleted if only a new list showed that the object is gone:
	// of Object there is the namespace, the name, the UID and the version last seen.
	Vanished bool
}

// Watch tells what there is, and then every change, in order and once, as long as
// the loop goes on:
//
//	for event, err := range krm.Pods("").Watch(ctx, client.WatchOptions{}) {
//		if err != nil {
//			return err
//		}
//		switch event.Type { … }
//	}
//
// The events make a whole story for each object: Added, then Modified any number
// of times, then Deleted, whatever happens on the way. Broken connections, silent
// ones and busy servers are met by connecting again after the last event, with
// growing pauses. If KRM no longer keeps what came after it, everything is listed
// again: what has changed meanwhile is told as Added and Modified, what is gone as
// Deleted with Vanished, and what is unchanged not at all.
//
// The sequence ends only with the loop or with one error: the context's, or one
// that trying again would not mend, such as IsForbidden. While the loop's body
// works nothing is read; if it takes long KRM ends the connection and the watch
// goes on as described. A watch keeps about 200 bytes for each object.
func (r Resource[T, L]) Watch(ctx context.Context, opts WatchOptions) iter.Seq2[Event[T], error] {
	return func(yield func(Event[T], error) bool) {
		w := &watcher[T, L]{resource: r, opts: opts, version: opts.ResourceVersion, emit: func(event Event[T]) error {
			if !yield(event, nil) {
				return errLeft
			}
			return nil
		}}
		if w.version == "" {
			w.known = map[types.NamespacedName]held{}
		}
		if err := w.run(ctx); !errors.Is(err, errLeft) {
			yield(Event[T]{}, err)
		}
	}
}

// errLeft comes when the loop over a watch is left.
var errLeft = errors.New("the loop was left")

// watcher is the state of one Watch.
type watcher[T, L any] struct {
	resource Resource[T, L]
	opts     WatchOptions
	emit     func(Event[T]) error
	version  string // from where to go on; "" if a list has to come first
	// known is what the caller has been told of; nil if it began from a version, for
	// then the caller knows more than we do.
	known map[types.NamespacedName]held
	round int // counts the lists

	failures int       // tries since it last went well
	heard    time.Time // when KRM last told something
}

// held is what is remembered of an object.
type held struct {
	uid     types.UID
	version string
	round   int // the list that named it last
}

func (w *watcher[T, L]) run(ctx context.Context) error {
	if w.version == "0" {
		return fmt.Errorf(`watch %s: the ResourceVersion is "0": want "" to begin with all objects, or a list's`, w.resource.kind.Resource)
	}
	w.heard = time.Now()
	for {
		err := w.follow(ctx)
		switch {
		case errors.Is(err, errLeft):
			return err
		case ctx.Err() != nil:
			return interrupted(ctx, err)
		case isExpired(err) && w.known != nil:
			w.version = ""
		case !passes(err):
			return err
		}
		if err := w.pause(ctx, err); err != nil {
			return err
		}
	}
}

// follow lists if that is needed, and watches until the connection ends.
func (w *watcher[T, L]) follow(ctx context.Context) error {
	if w.version == "" {
		if err := w.list(ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	err := w.stream(ctx)
	if err == nil && time.Since(began) > healthyAfter {
		w.failures, w.heard = 0, time.Now()
	}
	return err
}

// list tells how what there is differs from what the caller knows.
//
// It is a list and no watch with sendInitialEvents, because pages are decoded by
// several goroutines, show one state, and every server has them.
func (w *watcher[T, L]) list(ctx context.Context) error {
	w.round++
	opts := ListOptions{LabelSelector: w.opts.LabelSelector, FieldSelector: w.opts.FieldSelector, Where: w.opts.Where, Limit: watchPage}
	version := ""
	for page, err := range w.resource.Pages(ctx, opts) {
		if err != nil {
			return err
		}
		items, err := itemsOf[T](page.List)
		if err != nil {
			return err
		}
		version = listMeta(page.List).GetResourceVersion()
		for _, item := range *items { // a copy each, see All
			if err := w.put(&item, ""); err != nil {
				return err
			}
		}
	}
	if err := w.vanish(); err != nil {
		return err
	}
	if version == "" {
		return fmt.Errorf("watch %s: the list has no resourceVersion (is this KRM's address?)", w.resource.kind.Resource)
	}
	// The failures count on: were each watch refused as expired, there would be lists without a pause.
	w.version, w.heard = version, time.Now()
	return w.emit(Event[T]{Type: Bookmark, ResourceVersion: version, Synced: true})
}

// put tells of an object's state, if it is news.
func (w *watcher[T, L]) put(object *T, version string) error {
	of := objectMeta(object)
	key := types.NamespacedName{Namespace: of.GetNamespace(), Name: of.GetName()}
	before, found := w.known[key]
	w.known[key] = held{of.GetUID(), of.GetResourceVersion(), w.round}
	switch {
	case !found:
		return w.emit(Event[T]{Type: Added, Object: object, ResourceVersion: version})
	case before.uid != of.GetUID():
		if err := w.emit(gone[T](key, before)); err != nil {
			return err
		}
		return w.emit(Event[T]{Type: Added, Object: object, ResourceVersion: version})
	case before.version != of.GetResourceVersion():
		return w.emit(Event[T]{Type: Modified, Object: object, ResourceVersion: version})
	}
	return nil
}

// vanish tells of what the last list did not name, ordered as lists are.
func (w *watcher[T, L]) vanish() error {
	var keys []types.NamespacedName
	for key, known := range w.known {
		if known.round != w.round {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		before := w.known[key]
		delete(w.known, key)
		if err := w.emit(gone[T](key, before)); err != nil {
			return err
		}
	}
	return nil
}

// gone is the event for an object whose end was not seen.
func gone[T any](key types.NamespacedName, last held) Event[T] {
	object := new(T)
	of := objectMeta(object)
	of.SetNamespace(key.Namespace)
	of.SetName(key.Name)
	of.SetUID(last.uid)
	of.SetResourceVersion(last.version)
	return Event[T]{Type: Deleted, Object: object, Vanished: true}
}

// drop tells of an object's end.
func (w *watcher[T, L]) drop(object *T, version string) error {
	of := objectMeta(object)
	key := types.NamespacedName{Namespace: of.GetNamespace(), Name: of.GetName()}
	if before, found := w.known[key]; !found || before.uid != of.GetUID() {
		return nil // it has been told
	}
	delete(w.known, key)
	return w.emit(Event[T]{Type: Deleted, Object: object, ResourceVersion: version})
}

// pause waits before the next try. It returns an error if there is to be none.
func (w *watcher[T, L]) pause(ctx context.Context, cause error) error {
	pause := backoff(w.failures, longestPause)
	if seconds, asked := apierrors.SuggestsClientDelay(cause); asked {
		pause = max(pause, min(time.Duration(seconds)*time.Second, longestAskFor))
	}
	w.failures++
	if w.opts.GiveUp > 0 && cause != nil && time.Since(w.heard)+pause > w.opts.GiveUp {
		return cause
	}
	if cause != nil && w.opts.Interrupted != nil {
		w.opts.Interrupted(cause)
	}
	if !sleep(ctx, pause) {
		return interrupted(ctx, cause)
	}
	return nil
}

func isExpired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// passes says whether a watch that ended with err may go well the next time.
func passes(err error) bool {
	var connection *ConnectionError
	if err == nil || errors.As(err, &connection) {
		return mayPass(err)
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := int(status.Status().Code)
	return retryable(code) || code == http.StatusInternalServerError
}
