package client

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// silentAfter is how long a watch may bring nothing at all: KRM sends a bookmark
	// each minute.
	silentAfter = 2 * time.Minute
	// A watch asks the server to end it after a time between shortestWatch and twice
	// that, so that clients spread anew over the servers there are.
	shortestWatch = 5 * time.Minute
)

var errSilent = fmt.Errorf("nothing came for %v: %w", silentAfter, context.DeadlineExceeded)

// stream watches from w.version until the connection ends. It returns nil if the
// server ended it in good order.
func (w *watcher[T, L]) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timeout := w.resource.client.timeout
	limit := time.AfterFunc(timeout, func() { cancel(fmt.Errorf("no answer within %v: %w", timeout, context.DeadlineExceeded)) })
	defer limit.Stop()

	message, response, err := w.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it has ended, or is to end
	limit.Stop()
	frames := &frameReader{
		from:   bufio.NewReaderSize(&patient{from: response.Body, stop: cancel}, 32<<10),
		binary: isMedia(response.Header, mediaProtobuf),
	}
	for {
		next, err := frames.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errFrame):
			return fmt.Errorf("watch %s: %w", place(message.URL), err)
		case err != nil:
			return connectionError(message, fmt.Errorf("read the watch: %w", err))
		}
		if err := w.take(next); err != nil {
			return err
		}
	}
}

// connect opens a watch.
func (w *watcher[T, L]) connect(ctx context.Context) (*http.Request, *http.Response, error) {
	asked, err := w.resource.listQuestion(ListOptions{
		LabelSelector: w.opts.LabelSelector, FieldSelector: w.opts.FieldSelector, Where: w.opts.Where, ResourceVersion: w.version,
	})
	if err != nil {
		return nil, nil, err
	}
	asked.Accept = w.resource.form.accept("")
	asked.Query.Set("watch", "true")
	asked.Query.Set("allowWatchBookmarks", "true")
	asked.Query.Set("timeoutSeconds", strconv.Itoa(int((shortestWatch + rand.N(shortestWatch)).Seconds())))
	c := w.resource.client
	message, err := c.message(ctx, http.MethodGet, asked)
	if err != nil {
		return nil, nil, err
	}
	message.Header.Set("Accept-Encoding", string(Identity)) // an event is not to wait for a block of gzip to fill
	endless := *c.http
	endless.Timeout = 0
	response, err := endless.Do(message)
	if err != nil {
		return nil, nil, connectionError(message, err)
	}
	if response.StatusCode != http.StatusOK {
		err = refusal(message, response)
	} else {
		err = checkMedia(message, response, nil, asked.binary)
	}
	if err != nil {
		_ = response.Body.Close() // it has been read as far as it matters
		return nil, nil, err
	}
	return message, response, nil
}

// patient reads what comes, but waits for it no longer than silentAfter. The time
// between two reads, when the caller works, does not count.
type patient struct {
	from io.Reader
	stop context.CancelCauseFunc
}

func (p *patient) Read(into []byte) (int, error) {
	limit := time.AfterFunc(silentAfter, func() { p.stop(errSilent) })
	defer limit.Stop()
	return p.from.Read(into)
}

// take deals with one frame.
func (w *watcher[T, L]) take(next frame) error {
	kind := watch.EventType(next.kind)
	if kind == watch.Error {
		status, ok := decodeStatus(next.object)
		if !ok {
			return fmt.Errorf("watch %s: an error that is no Status: %s", w.resource.kind.Resource, excerpt(next.object.body))
		}
		return &apierrors.StatusError{ErrStatus: status}
	}
	object := new(T)
	if err := next.object.into(object, w.resource.wantObject()); err != nil {
		return fmt.Errorf("watch %s: %w", w.resource.kind.Resource, err)
	}
	version := objectMeta(object).GetResourceVersion()
	if version == "" {
		return fmt.Errorf("watch %s: an event has no resourceVersion", w.resource.kind.Resource)
	}
	w.version, w.failures, w.heard = version, 0, time.Now()
	switch {
	case kind == Bookmark:
		return w.emit(Event[T]{Type: Bookmark, ResourceVersion: version})
	case kind != Added && kind != Modified && kind != Deleted:
		return fmt.Errorf("watch %s: an event of type %q, want ADDED, MODIFIED, DELETED, BOOKMARK or ERROR", w.resource.kind.Resource, excerpt([]byte(next.kind)))
	case w.known == nil:
		return w.emit(Event[T]{Type: kind, Object: object, ResourceVersion: version})
	case kind == Deleted:
		return w.drop(object, version)
	}
	return w.put(object, version)
}
