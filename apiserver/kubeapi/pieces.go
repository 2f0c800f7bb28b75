package kubeapi

import (
	"io"
	"time"
	"unsafe"
)

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

// alias is bytes that nobody changes as a string, without a copy.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
