package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// What we ask the API server to answer with. The plain form behind the comma is
// for servers that know no other.
const (
	asTable        = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
	asMetadata     = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"
	asMetadataList = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
	asJSON         = "application/json"
)

// request is one question to the API server.
type request struct {
	verb     string // as RBAC calls it: get, list, watch
	resource string // for the metrics
	path     string
	query    url.Values
	accept   string
}

// answer is the body of a successful answer. Reading it fails with
// object.ErrSilent if no byte comes for Options.Silence; the time that the reader
// itself takes between two reads does not count. It must be closed.
type answer struct {
	body     io.ReadCloser
	cancel   context.CancelCauseFunc
	cause    func() error
	quiet    *time.Timer
	silence  time.Duration
	received prometheus.Counter
}

// ask sends q and waits for the header of the answer.
func (c *Client) ask(ctx context.Context, q request) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	target := c.base.JoinPath(q.path)
	target.RawQuery = q.query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("ask for %s: %w", q.path, err)
	}
	req.Header.Set("Accept", q.accept)
	req.Header.Set("Accept-Encoding", "identity") // over plain HTTP client-go does not listen to DisableCompression

	a := &answer{
		cancel:   cancel,
		cause:    func() error { return context.Cause(ctx) },
		silence:  c.opts.Silence,
		received: c.opts.Metrics.received.WithLabelValues(q.resource),
	}
	a.quiet = time.AfterFunc(a.silence, func() {
		cancel(fmt.Errorf("%w: no byte for %v", object.ErrSilent, a.silence))
	})
	began := time.Now()
	resp, err := c.http.Do(req)
	a.quiet.Stop()
	if err != nil {
		c.opts.Metrics.answered(q.resource, q.verb, 0, time.Since(began))
		err = a.explain(err)
		cancel(nil)
		if errors.Is(err, object.ErrSilent) {
			// Not even a header came: the connection is dead, and the next request
			// would go over it, too.
			c.connections.CloseAll()
		}
		return nil, err
	}
	c.opts.Metrics.answered(q.resource, q.verb, resp.StatusCode, time.Since(began))
	a.body = resp.Body
	if resp.StatusCode != http.StatusOK {
		defer a.close()
		resp.Body = io.NopCloser(a)
		return nil, refused(resp)
	}
	return a, nil
}

// Read is the body's Read under watch.
func (a *answer) Read(p []byte) (int, error) {
	a.quiet.Reset(a.silence)
	n, err := a.body.Read(p)
	a.quiet.Stop()
	a.received.Add(float64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		err = a.explain(err)
	}
	return n, err
}

// explain prefers the reason for which we ended a request to what the transport says of it.
func (a *answer) explain(err error) error {
	if cause := a.cause(); cause != nil {
		return cause
	}
	return err
}

// close ends the request, also one whose answer is still on its way.
func (a *answer) close() {
	a.quiet.Stop()
	a.cancel(context.Canceled)
	_ = a.body.Close() // what we did not read is of no use
}

// readAll appends all of from to buf, at most the given number of bytes.
func readAll(from io.Reader, buf []byte, most int) ([]byte, error) {
	for {
		if cap(buf)-len(buf) < bytes.MinRead {
			buf = slices.Grow(buf, max(64<<10, cap(buf)))
		}
		n, err := from.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return nil, fmt.Errorf("read the answer: %w", err)
		case len(buf) > most:
			return nil, fmt.Errorf("%w: over %d MiB", errPageTooLarge, most>>20)
		}
	}
}

// object reads the JSON object at path into to; resource is for the metrics.
func (c *Client) object(ctx context.Context, resource, path, accept string, to any) error {
	body, err := c.ask(ctx, request{verb: "get", resource: resource, path: path, accept: accept})
	if err != nil {
		return fmt.Errorf("get %s: %w", path, err)
	}
	defer body.close()
	text, err := readAll(body, nil, c.maxPage)
	if err != nil {
		return fmt.Errorf("get %s: %w", path, err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("parse %s: %w", path, err)
	}
	return nil
}
