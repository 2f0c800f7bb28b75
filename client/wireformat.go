package client

import (
	"errors"
	"fmt"
	"strings"
)

// protobufPrefix is what an object in Kubernetes' protobuf begins with; a message
// of type runtime.Unknown follows, with the object's own message in its field 2.
const protobufPrefix = "k8s\x00"

const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

var errCut = errors.New("protobuf: it is cut off")

// field is one field of a protobuf message.
type field struct {
	number uint64
	wire   uint64
	value  []byte // of wire type 2: without its length
	whole  []byte // with its tag
}

// nextField cuts the first field off a message. Nothing is copied.
func nextField(message []byte) (first field, rest []byte, err error) {
	tag, size := varint(message)
	if size == 0 || tag>>3 == 0 {
		return field{}, nil, errCut
	}
	first = field{number: tag >> 3, wire: tag & 7}
	begin, end := size, size
	switch first.wire {
	case wireVarint:
		_, size := varint(message[begin:])
		if size == 0 {
			return field{}, nil, errCut
		}
		end += size
	case wireFixed64:
		end += 8
	case wireFixed32:
		end += 4
	case wireBytes:
		length, size := varint(message[begin:])
		if size == 0 || length > uint64(len(message)-begin-size) {
			return field{}, nil, errCut
		}
		begin += size
		end = begin + int(length)
	default:
		return field{}, nil, fmt.Errorf("protobuf: wire type %d, want 0, 1, 2 or 5", first.wire)
	}
	if end > len(message) {
		return field{}, nil, errCut
	}
	first.value, first.whole = message[begin:end], message[:end]
	return first, message[end:], nil
}

// varint reads a number and how many bytes it takes, 0 if it is broken.
func varint(message []byte) (value uint64, size int) {
	for i, b := range message {
		if i == 9 && b > 1 || i > 9 {
			return 0, 0
		}
		value |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			return value, i + 1
		}
	}
	return 0, 0
}

// envelope is what stands around an object in protobuf.
type envelope struct {
	apiVersion, kind string
	raw              []byte // the object's own message, a part of the body
}

// openEnvelope does what runtime.Unknown would do, but copies nothing: a list of
// all pods has tens of megabytes.
func openEnvelope(body []byte) (envelope, error) {
	if !strings.HasPrefix(string(body[:min(len(body), len(protobufPrefix))]), protobufPrefix) {
		return envelope{}, errors.New("protobuf: it does not begin with k8s and a zero byte")
	}
	var opened envelope
	for rest := body[len(protobufPrefix):]; len(rest) > 0; {
		var next field
		var err error
		if next, rest, err = nextField(rest); err != nil {
			return envelope{}, err
		}
		if next.wire != wireBytes {
			continue
		}
		switch next.number {
		case 1:
			if err := opened.readType(next.value); err != nil {
				return envelope{}, err
			}
		case 2:
			opened.raw = next.value
		case 3: // contentEncoding
			if len(next.value) > 0 {
				return envelope{}, fmt.Errorf("protobuf: the object is encoded as %q, want no encoding", excerpt(next.value))
			}
		}
	}
	return opened, nil
}

// readType reads a metav1.TypeMeta.
func (e *envelope) readType(message []byte) error {
	for len(message) > 0 {
		next, rest, err := nextField(message)
		if err != nil {
			return err
		}
		switch {
		case next.number == 1 && next.wire == wireBytes:
			e.apiVersion = string(next.value)
		case next.number == 2 && next.wire == wireBytes:
			e.kind = string(next.value)
		}
		message = rest
	}
	return nil
}

// splitItems takes the values of the field number out of a list's message. What
// remains is the list without its items.
func splitItems(message []byte, number uint64) (items [][]byte, rest []byte, err error) {
	for len(message) > 0 {
		next, after, err := nextField(message)
		if err != nil {
			return nil, nil, err
		}
		if next.number == number && next.wire == wireBytes {
			items = append(items, next.value)
		} else {
			rest = append(rest, next.whole...)
		}
		message = after
	}
	return items, rest, nil
}
