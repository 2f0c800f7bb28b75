package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"
)

// ExportedSet is what was measured of a node, a pod or a container.
type ExportedSet struct {
	Metrics map[string][]ExportedValue `json:"metrics"` // by the metric's name; several of one that has labels of its own
	Labels  map[string]string          `json:"labels"`  // nodename, pod_name, container_name, …: what it is of
}

// ExportedValue is a value of a metric.
type ExportedValue struct {
	Start  time.Time         `json:"start"` // since when it was counted; End of what is no counter
	End    time.Time         `json:"end"`   // the end of the window in which it was measured
	Labels map[string]string `json:"labels,omitempty"`
	Value  json.Number       `json:"value"`
}

// Export yields all that was measured in the newest batch, of every node, pod and
// container, as it arrives; nothing if there is no batch yet. An error is the last that
// it yields. Until the first set it is repeated as other reading is; the context bounds
// the whole.
func (m Model) Export(ctx context.Context) iter.Seq2[ExportedSet, error] {
	return func(yield func(ExportedSet, error) bool) {
		if m.err != nil {
			yield(ExportedSet{}, m.err)
			return
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		message, response, err := m.openExport(ctx)
		if err != nil {
			yield(ExportedSet{}, err)
			return
		}
		defer func() { _ = response.Body.Close() }() // all that matters has been read
		body := bufio.NewReaderSize(&patient{from: response.Body, stop: cancel}, 256<<10)
		if err := readExport(body, func(set ExportedSet) bool { return yield(set, nil) }); err != nil {
			yield(ExportedSet{}, connectionError(message, fmt.Errorf("read the export: %w", err)))
		}
	}
}

// openExport asks for the export, again while that makes sense.
func (m Model) openExport(ctx context.Context) (*http.Request, *http.Response, error) {
	c := m.client
	asked := question{Request: Request{Path: m.prefix + "/api/v1/metric-export", Accept: mediaJSON}}
	for try := 0; ; try++ {
		message, err := c.message(ctx, http.MethodGet, asked)
		if err != nil {
			return nil, nil, err
		}
		endless := *c.http
		endless.Timeout = 0
		response, err := endless.Do(message)
		again := again{worthwhile: err != nil && mayPass(err)}
		switch {
		case err != nil:
			err = connectionError(message, err)
		case response.StatusCode != http.StatusOK:
			again.worthwhile, again.after = retryable(response.StatusCode), retryAfter(response.Header)
			err = refusal(message, response)
		default:
			err = checkMedia(message, response, nil, false)
		}
		if err == nil {
			return message, response, nil
		}
		if response != nil {
			_ = response.Body.Close() // it has been read as far as it matters
		}
		if !again.worthwhile || try >= c.retries || ctx.Err() != nil {
			return nil, nil, err
		}
		if !wait(ctx, try, again.after) {
			return nil, nil, interrupted(ctx, err)
		}
	}
}

// readExport reads an array of sets, or null, one by one, until take has enough.
func readExport(body io.Reader, take func(ExportedSet) bool) error {
	decoder := json.NewDecoder(body)
	switch first, err := decoder.Token(); {
	case err != nil:
		return whole(err)
	case first == nil:
		return nil
	case first != json.Delim('['):
		return fmt.Errorf("want an array, found %v", first)
	}
	for decoder.More() {
		var set ExportedSet
		if err := decoder.Decode(&set); err != nil {
			return whole(err)
		}
		if !take(set) {
			return nil
		}
	}
	_, err := decoder.Token()
	return whole(err)
}

// whole says of an end in the midst of an answer what it is.
func whole(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
