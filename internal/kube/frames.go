package kube

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	maxFrame     = 16 << 20 // etcd's values are below 2 MiB; a Table around one adds little
	usualBuffer  = 64 << 10
	biggestIdle  = 1 << 20 // a larger buffer is given back once it is empty
	minimalSpace = 16 << 10
)

// frames splits a stream into JSON objects. Servers end each with a newline,
// which is the quick way to find the end; nothing depends on it.
type frames struct {
	from       io.Reader
	buf        []byte
	start, end int       // what has been read and not used
	searched   int       // no newline in buf[start:searched]
	at         time.Time // when the last bytes came, UTC
	err        error     // of the last read, once all bytes are used
}

func newFrames(from io.Reader) *frames {
	return &frames{from: from, buf: make([]byte, usualBuffer)}
}

// next returns text that begins with the next object: a line, or what is left
// before the end of the stream. If it does not hold the object to its end, more
// brings the rest. It is valid until the next call. The caller tells by used how
// much the object took. io.EOF comes at the end of a stream that ended between two objects.
func (f *frames) next() ([]byte, error) {
	for {
		f.blank()
		if i := bytes.IndexByte(f.buf[f.searched:f.end], '\n'); i >= 0 {
			return f.buf[f.start : f.searched+i], nil
		}
		f.searched = f.end
		if err := f.fill(); err != nil {
			if errors.Is(err, io.EOF) && f.start < f.end {
				return f.buf[f.start:f.end], nil
			}
			return nil, err
		}
	}
}

// used says that the object took n bytes of what next or more returned.
func (f *frames) used(n int) {
	f.start += n
	f.searched = f.start
}

// blank goes over the space between two objects.
func (f *frames) blank() {
	for f.start < f.end {
		switch f.buf[f.start] {
		case '\n', ' ', '\r', '\t':
			f.start++
		default:
			f.searched = max(f.searched, f.start)
			return
		}
	}
	f.searched = f.start
}

// more returns the text whose first n bytes next or more returned, and what comes
// behind them, for an object that goes on after its newline. io.ErrUnexpectedEOF
// comes if the stream ends.
func (f *frames) more(n int) ([]byte, error) {
	if f.end-f.start == n {
		if err := f.fill(); errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("the stream ends within an event: %w", io.ErrUnexpectedEOF)
		} else if err != nil {
			return nil, err
		}
	}
	return f.buf[f.start:f.end], nil
}

// fill reads more, behind what has not been used.
func (f *frames) fill() error {
	if f.err != nil {
		return f.err
	}
	if f.end-f.start > maxFrame {
		return fmt.Errorf("an event is larger than %d MiB", maxFrame>>20)
	}
	f.makeRoom()
	n, err := f.from.Read(f.buf[f.end:min(len(f.buf), f.start+maxFrame+1)])
	f.end += n
	f.at = time.Now().UTC()
	f.err = err
	if n > 0 || err == nil {
		return nil
	}
	return err
}

func (f *frames) makeRoom() {
	left := f.end - f.start
	target := f.buf
	switch {
	case left == 0 && len(f.buf) > biggestIdle:
		target = make([]byte, usualBuffer)
	case len(f.buf)-left < minimalSpace:
		target = make([]byte, 2*len(f.buf))
	case len(f.buf)-f.end >= minimalSpace:
		return
	}
	copy(target, f.buf[f.start:f.end])
	f.buf, f.searched, f.start, f.end = target, f.searched-f.start, 0, left
}
