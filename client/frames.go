package client

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxFrame bounds one event of a watch. etcd takes objects of 1.5 MB.
const maxFrame = 64 << 20

// errFrame comes when a watch brings something that is no event. It would bring it
// again.
var errFrame = errors.New("no event")

// frame is one event as it came. The object is good until the next one is read.
type frame struct {
	kind   string
	object payload
}

// frameReader cuts a watch into frames.
type frameReader struct {
	from   io.Reader
	binary bool

	buffer  []byte // of binary frames
	event   metav1.WatchEvent
	decoder *json.Decoder // of JSON frames
	allowed int           // bytes that the decoder may still read for this frame
}

// next returns the next frame, or io.EOF if the stream ends behind a frame. Any
// other end is io.ErrUnexpectedEOF or the reader's own error.
func (r *frameReader) next() (frame, error) {
	if r.binary {
		return r.nextBinary()
	}
	return r.nextJSON()
}

// nextBinary reads four bytes with a length, most significant first, and then a
// metav1.WatchEvent, whose object has its own envelope.
func (r *frameReader) nextBinary() (frame, error) {
	var header [4]byte
	if _, err := io.ReadFull(r.from, header[:]); err != nil {
		return frame{}, err
	}
	length := binary.BigEndian.Uint32(header[:])
	if length > maxFrame {
		return frame{}, fmt.Errorf("%w: a frame of %d bytes, want at most %d MiB", errFrame, length, maxFrame>>20)
	}
	if err := r.fill(int(length)); err != nil {
		return frame{}, err
	}
	r.event.Type, r.event.Object.Raw = "", r.event.Object.Raw[:0]
	if err := r.event.Unmarshal(r.buffer); err != nil {
		return frame{}, fmt.Errorf("%w: %w", errFrame, err)
	}
	return frame{kind: r.event.Type, object: payload{body: r.event.Object.Raw, binary: true}}, nil
}

// fill reads length bytes. The buffer grows with what comes, not with what a
// length promises.
func (r *frameReader) fill(length int) error {
	const step = 1 << 20
	r.buffer = r.buffer[:0]
	for len(r.buffer) < length {
		have := len(r.buffer)
		want := min(length, max(have+step, cap(r.buffer)))
		if cap(r.buffer) < want {
			r.buffer = append(make([]byte, 0, max(want, min(2*have, length))), r.buffer...)
		}
		r.buffer = r.buffer[:want]
		if _, err := io.ReadFull(r.from, r.buffer[have:]); errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (r *frameReader) nextJSON() (frame, error) {
	if r.decoder == nil {
		r.decoder = json.NewDecoder((*allowance)(r))
	}
	r.allowed = maxFrame
	var event struct {
		Type   string          `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	err := r.decoder.Decode(&event)
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax), errors.As(err, &wrong):
		return frame{}, fmt.Errorf("%w: %w", errFrame, err)
	case err != nil:
		return frame{}, err
	}
	return frame{kind: event.Type, object: payload{body: event.Object}}, nil
}

// allowance reads for the JSON decoder, which would read a frame without end.
type allowance frameReader

func (a *allowance) Read(into []byte) (int, error) {
	if a.allowed <= 0 {
		return 0, fmt.Errorf("%w: a frame has more than %d MiB", errFrame, maxFrame>>20)
	}
	n, err := a.from.Read(into[:min(len(into), a.allowed)])
	a.allowed -= n
	return n, err
}
