package kubeapi

import (
	"errors"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/wire"
)

// framer writes the frames of one watch. What is costly to encode is encoded once
// for all watches. After a failed write nothing more is written.
type framer struct {
	*encoder
	buffer  []byte
	columns []byte // of a Table: they come with the first frame only
	begun   time.Time
	written int
	settled bool // the initial events are out: now a client may take its time between two changes
	err     error
}

func newFramer(e *encoder) *framer {
	return &framer{encoder: e, columns: columnsOf(e.root), begun: time.Now()}
}

// flushAt is how many bytes of frames are written at once.
const flushAt = 64 << 10

// event writes a frame.
func (f *framer) event(what watch.EventType, o *mirror.Object) {
	if f.form.media == mediaProtobuf {
		message, err := f.message(o)
		if err != nil {
			f.giveUp(o, err)
			return
		}
		f.buffer = wire.AppendFrameHeadProtobuf(f.buffer, what, f.codec.ObjectLength(len(message)))
		f.buffer = f.codec.AppendObject(f.buffer, message)
		f.flushIfFull()
		return
	}
	var t text
	var err error
	if f.form.shape == shapeTable {
		err = f.table(&t, wire.ListMeta{Version: string(o.Version)}, f.columns, o)
		f.columns = nil
	} else {
		err = f.one(&t, o)
	}
	if err != nil {
		f.giveUp(o, err)
		return
	}
	f.json(what, string(o.Version), t)
}

// json writes a frame in JSON, or as a server-sent event.
func (f *framer) json(what watch.EventType, version string, t text) {
	if f.form.media == mediaEvents {
		f.buffer = append(append(append(f.buffer, "event: "...), what...), '\n')
		if f.settled && version != "" { // initial events are in no order that one could go on from
			f.buffer = append(append(append(f.buffer, "id: "...), version...), '\n')
		}
		f.buffer = append(f.buffer, "data: "...)
	}
	f.buffer = wire.AppendFrameHeadJSON(f.buffer, what)
	for _, part := range t.parts {
		f.buffer = append(f.buffer, part...)
	}
	f.buffer = append(f.buffer, wire.FrameTailJSON...)
	if f.form.media == mediaEvents {
		f.buffer = append(f.buffer, '\n')
	}
	f.flushIfFull()
}

// bookmark writes a BOOKMARK frame.
func (f *framer) bookmark(b wire.Bookmark) {
	switch {
	case f.form.media == mediaProtobuf:
		f.buffer = f.codec.AppendBookmarkProtobuf(f.buffer, b)
	case f.form.shape == shapeTable:
		codec := f.kind.metadata
		if f.include == metav1.IncludeObject {
			codec = f.kind.whole
		}
		f.buffer = codec.AppendBookmarkTable(f.buffer, b, f.columns)
		f.columns = nil
	default:
		var t text
		t.addBytes(f.codec.BookmarkObject(b))
		f.json(watch.Bookmark, b.Version, t)
	}
	f.flushIfFull()
}

// fail writes an ERROR frame, the last one of a watch.
func (f *framer) fail(status *metav1.Status) {
	if f.form.media == mediaProtobuf {
		f.buffer = wire.AppendErrorProtobuf(f.buffer, *status)
	} else {
		var t text
		t.addBytes(wire.StatusJSON(*status))
		f.json(watch.Error, "", t)
	}
	f.flush()
}

// giveUp ends the watch, because o cannot be written in the form that the client was
// promised. The next watch will be promised another one.
func (f *framer) giveUp(o *mirror.Object, err error) {
	f.api.log.Warn("watch ended: an object cannot be written", "resource", f.resource().String(), "key", o.Key.String(), "err", err)
	f.fail(&metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Reason: metav1.StatusReasonInternalError,
		Message: "an object cannot be written in the form that was asked for: watch again, as JSON",
	})
	if f.err == nil {
		f.err = errors.New("given up")
	}
}

func (f *framer) flushIfFull() {
	if len(f.buffer) >= flushAt {
		f.flush()
	}
}

// start lets the client know that the watch has begun, and takes away the bounds that
// the server sets to requests: only writing has bounds from now on.
func (f *framer) start() {
	// Not every writer knows deadlines; those of connections do.
	_ = f.controller().SetReadDeadline(time.Time{})
	_ = f.controller().SetWriteDeadline(time.Time{})
	f.err = f.controller().Flush()
}

// end sends what is left, and bounds what the server still has to write.
func (f *framer) end() {
	f.flush()
	_ = f.controller().SetWriteDeadline(time.Now().Add(f.api.options.WriteTimeout))
}

func (f *framer) controller() *http.ResponseController { return http.NewResponseController(f.Writer) }

// flush sends what is written. A client that does not take it in time is cut off.
func (f *framer) flush() {
	if len(f.buffer) == 0 || f.err != nil {
		return
	}
	by := time.Now().Add(f.api.options.WriteTimeout)
	if f.written += len(f.buffer); !f.settled {
		by = due(f.begun, f.written, f.api.options.WriteTimeout)
	}
	_ = f.controller().SetWriteDeadline(by)
	if _, f.err = f.Writer.Write(f.buffer); f.err == nil {
		f.err = f.controller().Flush()
	}
	_ = f.controller().SetWriteDeadline(time.Time{})
	f.buffer = f.buffer[:0]
	if cap(f.buffer) > 8<<10 { // of a thousand watchers most have nothing to write
		f.buffer = nil
	}
}
