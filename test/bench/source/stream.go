package source

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/bench/frames"
)

// stream is one watch.
type stream struct {
	server   *Server
	out      io.Writer
	flush    func() error
	drives   bool   // it makes events happen while the source is unpaced
	position uint64 // the version of the last event sent
	columns  bool   // they were sent
	buffer   []byte
	broken   error // what the last write said
}

// initial sends every pod there is, and the bookmark that ends them.
func (t *stream) initial() {
	events, head := t.server.world.Now()
	for _, e := range events {
		e.Type = frames.Added
		t.frame(e)
		if len(t.buffer) >= flushBytes {
			t.send()
		}
		if t.broken != nil {
			return
		}
	}
	t.position = head
	t.bookmark(head, true)
}

// follow sends what happens, until ctx ends or the client goes away.
func (t *stream) follow(ctx context.Context) {
	t.broken = t.flush() // the headers, even if nothing happens
	var events []frames.Event
	bookmarks := time.NewTicker(bookmarkEvery)
	defer bookmarks.Stop()
	// As real servers do it, also for watches of a few seconds.
	deadline, _ := ctx.Deadline()
	last := time.NewTimer(time.Until(deadline) - 2*time.Second)
	defer last.Stop()
	for t.broken == nil {
		var (
			changed <-chan struct{}
			ok      bool
		)
		events, changed, ok = t.server.world.After(t.position, batch, events[:0])
		if !ok {
			t.expire()
			return
		}
		if len(events) > 0 {
			t.sendEvents(events)
			continue
		}
		if t.drives && ctx.Err() == nil && t.server.flooding() {
			t.server.world.Advance(batch)
			continue
		}
		t.send()
		select {
		case <-changed:
		case <-last.C:
			t.bookmark(t.position, false)
		case <-bookmarks.C:
			t.bookmark(t.position, false)
		case <-ctx.Done():
			return
		}
	}
}

// sendEvents puts frames into the buffer, and sends it if there is enough in it or
// if nothing more is coming at once.
func (t *stream) sendEvents(events []frames.Event) {
	for _, e := range events {
		t.frame(e)
	}
	last := events[len(events)-1]
	t.position = last.Version
	now := time.Now()
	if len(t.buffer) >= flushBytes || len(events) < batch {
		t.send()
	}
	if t.drives {
		t.report(events, now)
	}
}

// report offers some events to whoever measures, without waiting.
func (t *stream) report(events []frames.Event, at time.Time) {
	for _, e := range events {
		if e.Version%sampleEvery != 0 || e.Type == frames.Deleted {
			continue
		}
		select {
		case t.server.sent <- Sent{Event: e, At: at}:
		default:
		}
	}
}

func (t *stream) send() {
	if len(t.buffer) == 0 || t.broken != nil {
		return
	}
	_, t.broken = t.out.Write(t.buffer)
	t.buffer = t.buffer[:0]
	if t.broken == nil {
		t.broken = t.flush()
	}
}

// frame appends e's frame; the first one of a watch has the columns.
func (t *stream) frame(e frames.Event) {
	from := len(t.buffer)
	t.buffer = t.server.world.Set().Append(t.buffer, e)
	if !t.columns {
		t.columns = true
		t.buffer = append(t.buffer[:from], withColumns(t.buffer[from:])...)
	}
}

// bookmark sends a bookmark as a real server sends it in a Table.
func (t *stream) bookmark(version uint64, endsInitial bool) {
	annotations, columns := "", "null"
	if endsInitial {
		annotations = `,"annotations":{"k8s.io/initial-events-end":"true"}`
	}
	if !t.columns {
		t.columns, columns = true, columnDefinitions
	}
	t.buffer = fmt.Appendf(t.buffer, `{"type":"BOOKMARK","object":{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"%d"},"columnDefinitions":%s,`+
		`"rows":[{"cells":["","0/0","","0","\u003cunknown\u003e","\u003cnone\u003e","\u003cnone\u003e","\u003cnone\u003e","\u003cnone\u003e"],`+
		`"object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"%d"%s},"spec":{"containers":null},"status":{}}}]}}`+"\n",
		version, columns, version, annotations)
	t.send()
}

func (t *stream) expire() {
	t.server.count(&t.server.expired)
	t.buffer = append(t.buffer, `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}`+"\n"...)
	t.send()
}
