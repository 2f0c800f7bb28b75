package model

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// pretty is a list of strings as Heapster indented it: one space before everything,
// and one for each level.
func pretty(names []string) []byte {
	if len(names) == 0 {
		return []byte("[]")
	}
	size := 4
	for _, name := range names {
		size += len(name) + 6
	}
	b := append(make([]byte, 0, size), "[\n"...)
	for i, name := range names {
		if i > 0 {
			b = append(b, ",\n"...)
		}
		b = appendString(append(b, "  "...), name)
	}
	return append(b, "\n ]"...)
}

func prettyValue(v any) []byte {
	b, err := json.MarshalIndent(v, " ", " ")
	if err != nil {
		panic("BUG: encode an answer: " + err.Error())
	}
	return b
}

func compactValue(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: encode an answer: " + err.Error())
	}
	return append(b, '\n')
}

// appendString adds s as JSON.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			b, _ = jsontext.AppendQuote(b, s) // it fails for invalid UTF-8 only, which has become U+FFFD
			return b
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// send answers 200 with JSON, compressed if the client asks for that.
func (a *API) send(q request, body []byte) {
	w := a.begin(q, "application/json", 0)
	if _, plain := w.to.(*pieces); plain {
		q.Writer.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.write(body)
	w.end()
}

// pieceBytes is how much is collected before it is written.
const pieceBytes = 256 << 10

// writer sends an answer's body. After a failed write nothing more is written.
type writer struct {
	a    *API
	q    request
	to   io.Writer
	done func() error // finishes the compression
	err  error
}

// begin begins an answer of that type; length is how long the body is at least, if
// that matters: bodies below worthGzip are sent as they are, unless it is 0.
func (a *API) begin(q request, contentType string, length int) *writer {
	h := q.Writer.Header()
	h.Set("Content-Type", contentType)
	w := &writer{a: a, q: q, done: func() error { return nil }}
	p := &pieces{w: q.Writer, begun: time.Now(), deadline: http.NewResponseController(q.Writer).SetWriteDeadline}
	w.to = p
	if length == 0 || length >= worthGzip {
		w.compress(p)
	}
	q.Status(http.StatusOK)
	return w
}

// worthGzip is from how many bytes on Kubernetes' own answers are compressed.
const worthGzip = 128 << 10

func (w *writer) compress(p *pieces) {
	coding := encoding(w.q.Request)
	switch coding {
	case "gzip":
		z := gzips().Get().(*gzip.Writer)
		z.Reset(p)
		w.to, w.done = z, func() error { defer gzips().Put(z); return z.Close() }
	case "deflate":
		z := zlib.NewWriter(p)
		w.to, w.done = z, z.Close
	default:
		return
	}
	w.q.Writer.Header().Set("Content-Encoding", coding)
}

func (w *writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.to.Write(b)
	}
}

func (w *writer) end() {
	if err := w.done(); w.err == nil {
		w.err = err
	}
	w.q.Writer.WriteHeaderNow()
	if w.err != nil {
		w.a.log.Debug("client is gone", "path", w.q.Request.URL.Path, "err", w.err)
	}
}

// gzips are writers for use again: each takes much memory.
var gzips = sync.OnceValue(func() *sync.Pool {
	return &sync.Pool{New: func() any {
		z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		return z
	}}
})

// encoding is how the answer is to be compressed, "" if not at all.
func encoding(r *http.Request) string {
	best, quality := "", 0.0
	for _, header := range r.Header.Values("Accept-Encoding") {
		for clause := range strings.SplitSeq(header, ",") {
			name, params, _ := strings.Cut(clause, ";")
			q := 1.0
			if text, found := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); found {
				q, _ = strconv.ParseFloat(text, 64)
			}
			name = strings.ToLower(strings.TrimSpace(name))
			if (name == "gzip" || name == "deflate") && q > quality {
				best, quality = name, q
			}
		}
	}
	return best
}

// The time that a client has for an answer: writeTimeout for each piece, and on the
// whole not less than slowest bytes a second.
const (
	writeTimeout = 30 * time.Second
	slowest      = 1 << 20
)

// pieces moves the connection's deadline on as long as the client reads.
type pieces struct {
	w        io.Writer
	begun    time.Time
	written  int
	deadline func(time.Time) error
}

func (p *pieces) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		piece := b[n:min(len(b), n+pieceBytes)]
		p.written += len(piece)
		due := p.begun.Add(writeTimeout + time.Duration(p.written)*time.Second/slowest)
		if each := time.Now().Add(writeTimeout); each.Before(due) {
			due = each
		}
		_ = p.deadline(due) // not every writer knows deadlines; those of connections do
		var wrote int
		wrote, err = p.w.Write(piece)
		n += wrote
	}
	return n, err
}
