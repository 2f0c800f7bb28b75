package billing

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/munnerz/goautoneg"
)

const (
	mediaJSON = "application/json"
	mediaCSV  = "text/csv"
)

// writeTimeout is how long a client may take to accept a piece of an answer.
const writeTimeout = 30 * time.Second

// extendDeadline gives the answer time to be found out.
func extendDeadline(q request, more time.Duration) {
	// Not every writer knows deadlines; those of connections do.
	_ = http.NewResponseController(q.Writer).SetWriteDeadline(time.Now().Add(more + writeTimeout))
}

// pieces moves the connection's deadline on with each piece of an answer. The
// database's time does not run while the client takes one.
type pieces struct {
	q        request
	patience *patience // nil if the database has told everything
}

func (p pieces) Write(b []byte) (int, error) {
	extendDeadline(p.q, 0)
	if p.patience == nil {
		return p.q.Writer.Write(b)
	}
	p.patience.pause()
	defer p.patience.resume()
	return p.q.Writer.Write(b)
}

// column is one of an answer; its values are quoted in JSON, or numbers.
type column struct {
	name string
	kind kind
}

type kind int

const (
	quote kind = iota // a string; in JSON absent if it is ""
	bare              // a number; in JSON absent if it is ""
)

// wantsCSV says whether the client would rather have CSV than JSON.
func wantsCSV(q request) bool {
	return goautoneg.Negotiate(q.GetHeader("Accept"), []string{mediaJSON, mediaCSV}) == mediaCSV
}

// pieceBytes is how much is collected before it is written.
const pieceBytes = 64 << 10

// writer writes rows as the client wants them, and no more than a piece of them is in
// memory. Nothing of it goes out before the first piece is full, or end is called.
type writer struct {
	columns []column
	to      *bufio.Writer
	csv     *csv.Writer // nil for JSON
	line    []byte
	rows    int
}

func newWriter(q request, columns []column, patience *patience) *writer {
	w := &writer{columns: columns, to: bufio.NewWriterSize(pieces{q, patience}, pieceBytes)}
	media := mediaJSON
	if wantsCSV(q) {
		media = mediaCSV + "; charset=utf-8; header=present"
	}
	begin(q, media)
	if wantsCSV(q) {
		w.csv = newCSV(w.to, columns)
	}
	return w
}

// begin sets the headers of an answer of that type.
func begin(q request, media string) {
	h := q.Writer.Header()
	h.Set("Content-Type", media)
	h.Set("Cache-Control", "private, no-store")
	h.Set("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	q.Status(http.StatusOK)
}

// newCSV writes the header's line.
func newCSV(to io.Writer, columns []column) *csv.Writer {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	w := csv.NewWriter(to)
	_ = w.Write(names) // a failure stays, and is told by Error
	return w
}

// row writes the values of the columns.
func (w *writer) row(cells []string) (err error) {
	if w.csv != nil {
		err = w.csv.Write(cells)
	} else {
		w.line = append(w.line[:0], '[')
		if w.rows > 0 {
			w.line[0] = ','
		}
		w.line = appendObject(append(w.line, '\n'), w.columns, cells)
		_, err = w.to.Write(w.line)
	}
	w.rows++
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// appendObject adds the values as a JSON object.
func appendObject(b []byte, columns []column, cells []string) []byte {
	first := byte('{')
	for i, c := range columns {
		if cells[i] == "" {
			continue
		}
		b = append(append(append(b, first, '"'), c.name...), '"', ':')
		if first = ','; c.kind == bare {
			b = append(b, cells[i]...)
			continue
		}
		b, _ = jsontext.AppendQuote(b, cells[i]) // it fails for invalid UTF-8 only, which has become U+FFFD
	}
	if first == '{' {
		b = append(b, '{')
	}
	return append(b, '}')
}

// end writes what is left.
func (w *writer) end() error {
	if w.csv != nil {
		w.csv.Flush()
		if err := w.csv.Error(); err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
	} else if w.rows == 0 {
		_, _ = w.to.WriteString("[]\n") // a failure stays, and Flush tells it
	} else {
		_, _ = w.to.WriteString("\n]\n")
	}
	if err := w.to.Flush(); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
