package kubeapi

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/kubernetes-resource-monitor/krm/apiserver/headers"
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
	begun    time.Time
	written  int
	deadline func(time.Time) error
	err      error
}

// slowest is how many bytes a second a client must take on the whole, after a while.
const slowest = 1 << 20

// due is when the next piece must have been taken: each has its time, and all of them
// together the slowest rate on top of that.
func due(begun time.Time, written int, timeout time.Duration) time.Time {
	each := time.Now().Add(timeout)
	all := begun.Add(timeout + time.Duration(written)*time.Second/slowest)
	if all.Before(each) {
		return all
	}
	return each
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
	p.written += len(p.buffer)
	_ = p.deadline(due(p.begun, p.written, p.timeout))
	_, p.err = p.w.Write(p.buffer)
	p.buffer = p.buffer[:0]
}

// reply is an answer that is ready to be sent.
type reply struct {
	text
	form   form
	zipped bool
}

// reply finishes the text in the form that was asked for, compressed if that is
// accepted and pays.
func (a *API) reply(q *request, f form, t text) (*reply, error) {
	t, err := forPeople(t, f)
	if err != nil {
		return nil, err
	}
	if t.length < worthGzip || !headers.AcceptsGzip(q.Request) {
		return &reply{text: t, form: f}, nil
	}
	var whole wire.Gzip
	whole.Chunk(a.compressor.Compress(t.bytes()))
	return zipped(f, whole.Finish()), nil
}

func zipped(f form, member wire.Member) *reply {
	r := &reply{form: f, zipped: true}
	for _, part := range member.Parts {
		r.addBytes(part)
	}
	return r
}

// send answers 200 with the reply, piece by piece.
func (a *API) send(q *request, r reply) {
	header := q.Writer.Header()
	header.Set("Content-Type", r.form.contentType(false))
	header.Set("Content-Length", strconv.Itoa(r.length))
	if r.zipped {
		header.Set("Content-Encoding", "gzip")
	}
	q.Writer.WriteHeader(http.StatusOK)
	if q.Request.Method == http.MethodHead {
		q.Writer.WriteHeaderNow()
		return
	}
	pooled := a.buffers.Get().(*[]byte)
	defer a.buffers.Put(pooled)
	p := pieces{
		w: q.Writer, buffer: (*pooled)[:0], timeout: a.options.WriteTimeout, begun: time.Now(),
		deadline: http.NewResponseController(q.Writer).SetWriteDeadline,
	}
	for _, part := range r.parts {
		p.add(part)
	}
	p.flush()
	if p.err != nil {
		a.log.Debug("client is gone", "path", q.Request.URL.Path, "err", p.err)
	}
}
