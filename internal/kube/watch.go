package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Watch yields what happens to r after the given version, oldest first, with
// bookmarks between. It ends without an error when the server ends the watch,
// which it does about every timeout (rounded up to seconds; 0 is
// Options.WatchTimeout). A server that has lost its etcd's newest history never
// answers a watch from a version that it does not know: see Probe.
//
// Errors end it: object.ErrExpired if the server no longer keeps what came after
// the version, object.ErrSilent, object.ErrNotFound, object.ErrForbidden,
// *object.RetryError, io.ErrUnexpectedEOF if the stream ends within an event,
// and the context's.
//
// The consumer may take its time: what the server sends meanwhile waits in the
// connection, and the server ends a watch that stays behind for too long.
func (c *Client) Watch(ctx context.Context, r object.Resource, after object.Version, timeout time.Duration) iter.Seq2[object.Event, error] {
	return func(yield func(object.Event, error) bool) {
		if timeout <= 0 {
			timeout = c.watchTimeout()
		}
		query := watchQuery(timeout)
		query.Set("resourceVersion", string(after))
		if err := c.follow(ctx, r, asTable, query, yield); err != nil {
			yield(object.Event{}, fmt.Errorf("watch %v: %w", r, grants(err, r)))
		}
	}
}

// Initial yields every object of r as Added, in any order and mixed with live
// events, then InitialEnd with the version at which this is complete, and goes on
// as Watch does, in the same connection.
//
// object.ErrUnsupported comes if the server does not know this way or, as some
// aggregated ones, ignores it: use List and then Watch.
func (c *Client) Initial(ctx context.Context, r object.Resource) iter.Seq2[object.Event, error] {
	return func(yield func(object.Event, error) bool) {
		if err := c.initial(ctx, r, asTable, "", c.watchTimeout(), yield); err != nil {
			yield(object.Event{}, fmt.Errorf("watch %v from its initial events: %w", r, grants(err, r)))
		}
	}
}

// Probe returns the version that r is at now: etcd's global revision, which also
// other resources' changes move. It costs one request; about 30 ms on servers
// with WatchList, a consistent list of one object on others.
func (c *Client) Probe(ctx context.Context, r object.Resource) (object.Version, error) {
	if until, ok := c.withoutWatchList.Load(r); !ok || time.Now().After(until.(time.Time)) {
		version, err := c.probeByWatch(ctx, r)
		if err == nil {
			return version, nil
		}
		if !errors.Is(err, object.ErrUnsupported) {
			return "", fmt.Errorf("probe %v: %w", r, grants(err, r))
		}
		c.withoutWatchList.Store(r, time.Now().Add(10*time.Minute))
	}
	version, err := c.probeByList(ctx, r)
	if err != nil {
		return "", fmt.Errorf("probe %v: %w", r, grants(err, r))
	}
	return version, nil
}

// probeByWatch asks for the initial events of what does not exist: their end
// carries the present version.
func (c *Client) probeByWatch(ctx context.Context, r object.Resource) (version object.Version, err error) {
	const patience = 10 * time.Second // it takes 30 ms; a server that ignores the question never answers
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("%w: no end of the initial events after %v", object.ErrUnsupported, patience))
	defer cancel()
	nothing := "krm.io/none=" + rand.Text()
	err = c.initial(ctx, r, asMetadata, nothing, patience, func(event object.Event, _ error) bool {
		if event.Type == object.InitialEnd {
			version = event.Version
		}
		return version == ""
	})
	return version, err
}

func watchQuery(timeout time.Duration) url.Values {
	seconds := (timeout + time.Second - 1) / time.Second
	return url.Values{
		"watch":               {"true"},
		"allowWatchBookmarks": {"true"},
		"timeoutSeconds":      {strconv.FormatInt(int64(seconds), 10)},
	}
}

// initial follows a watch that begins with initial events, and finds out when a
// server does not send them as such.
func (c *Client) initial(ctx context.Context, r object.Resource, accept, selector string, timeout time.Duration, yield func(object.Event, error) bool) error {
	query := watchQuery(timeout)
	query.Set("sendInitialEvents", "true")
	query.Set("resourceVersionMatch", "NotOlderThan")
	if selector != "" {
		query.Set("labelSelector", selector)
	}
	began := time.Now()
	complete, stopped := false, false
	var ordinary error
	err := c.follow(ctx, r, accept, query, func(event object.Event, err error) bool {
		switch {
		case event.Type == object.InitialEnd:
			complete = true
		case event.Type == object.Bookmark && !complete:
			// Servers hold bookmarks back until the initial events are sent.
			ordinary = fmt.Errorf("%w: a bookmark came before the end of the initial events", object.ErrUnsupported)
			return false
		}
		stopped = !yield(event, err)
		return !stopped
	})
	switch {
	case ordinary != nil:
		return ordinary
	case complete || stopped:
		return err
	case err == nil && time.Since(began) < timeout/2: // the server stopped
		return fmt.Errorf("the initial events are not complete: %w", io.ErrUnexpectedEOF)
	case err == nil: // at the asked time: it took the watch for an ordinary one
		return fmt.Errorf("%w: the watch ended before its initial events", object.ErrUnsupported)
	case unsupported(err), errors.Is(err, object.ErrSilent):
		return fmt.Errorf("%w: %w", object.ErrUnsupported, err)
	}
	return err
}

// follow yields the events of one watch until it ends, yield wants no more, or an
// error comes, which it returns.
func (c *Client) follow(ctx context.Context, r object.Resource, accept string, query url.Values, yield func(object.Event, error) bool) error {
	if accept == asTable {
		query.Set("includeObject", "Object")
	}
	body, err := c.ask(ctx, request{verb: "watch", resource: r.String(), path: r.Path(""), query: query, accept: accept})
	if err != nil {
		return err
	}
	defer body.close()
	counters := c.opts.Metrics.counters(r.String())
	events := newFrames(body)
	decoder := c.decoder(r)
	for {
		columns, event, err := nextEvent(events, decoder)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if columns != nil && !yield(object.Event{Type: object.Columns, Columns: columns}, nil) {
			return nil
		}
		counters[event.Type].Inc()
		if !yield(event, nil) {
			return nil
		}
	}
}

// nextEvent reads and decodes one event. io.EOF is the end between two events.
func nextEvent(f *frames, d *decoder) ([]object.Column, object.Event, error) {
	text, err := f.next()
	if err != nil {
		return nil, object.Event{}, err
	}
	n, columns, event, err := d.decode(text, f.at)
	for errors.Is(err, io.ErrUnexpectedEOF) { // it goes on behind the newline, as no API server writes it
		if text, err = f.more(len(text)); err != nil {
			return nil, object.Event{}, err
		}
		n, columns, event, err = d.decode(text, f.at)
	}
	if err != nil {
		return nil, object.Event{}, err
	}
	f.used(n)
	return columns, event, nil
}
