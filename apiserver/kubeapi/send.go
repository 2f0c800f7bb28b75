package kubeapi

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/wire"
)

// pieceBytes is the most that is written at once. Pieces of 256 KB and more are as
// fast as one, and a slow reader holds one piece, not the whole answer.
const pieceBytes = 512 << 10

// pieces collects an answer in a buffer and writes it whenever the buffer is full.
// After a failed write nothing more is written.
type pieces struct {
	w        io.Writer
	buffer   []byte
	timeout  time.Duration // for one write
	deadline func(time.Time) error
	err      error
}

func (p *pieces) add(text string) {
	for len(text) > 0 && p.err == nil {
		n := min(len(text), cap(p.buffer)-len(p.buffer))
		p.buffer = append(p.buffer, text[:n]...)
		if text = text[n:]; len(p.buffer) == cap(p.buffer) {
			p.flush()
		}
	}
}

func (p *pieces) flush() {
	if p.err != nil || len(p.buffer) == 0 {
		return
	}
	// Not every writer knows deadlines; those of connections do.
	_ = p.deadline(time.Now().Add(p.timeout))
	_, p.err = p.w.Write(p.buffer)
	p.buffer = p.buffer[:0]
}

// send answers 200 with the text, compressed if that is accepted and pays.
func (a *API) send(q *request, f form, t text) error {
	if t.length < worthGzip || !acceptsGzip(q.Request) {
		return a.sendPlain(q, f, t)
	}
	var zipped wire.Gzip
	zipped.Chunk(a.compressor.Compress(t.bytes()))
	return a.sendZipped(q, f, zipped.Finish())
}

// sendZipped answers 200 with what is compressed already.
func (a *API) sendZipped(q *request, f form, member wire.Member) error {
	var t text
	for _, part := range member.Parts {
		t.addBytes(part)
	}
	q.Header("Content-Encoding", "gzip")
	return a.sendPlain(q, f, t)
}

// sendPlain answers 200 with the text, piece by piece. Its length is known
// beforehand.
func (a *API) sendPlain(q *request, f form, t text) error {
	header := q.Writer.Header()
	header.Set("Content-Type", f.contentType(false))
	header.Set("Content-Length", strconv.Itoa(t.length))
	q.Writer.WriteHeader(http.StatusOK)
	if q.Request.Method == http.MethodHead {
		q.Writer.WriteHeaderNow()
		return nil
	}
	pooled := a.buffers.Get().(*[]byte)
	defer a.buffers.Put(pooled)
	p := pieces{w: q.Writer, buffer: (*pooled)[:0], timeout: a.options.WriteTimeout, deadline: http.NewResponseController(q.Writer).SetWriteDeadline}
	for _, part := range t.parts {
		p.add(part)
	}
	p.flush()
	if p.err != nil {
		a.log.Debug("client is gone", "path", q.Request.URL.Path, "err", p.err)
	}
	return nil
}
