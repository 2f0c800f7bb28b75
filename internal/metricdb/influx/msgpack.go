package influx

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// unpacker reads MessagePack, one token after the other: of what the format has, that
// which InfluxDB answers with. It trusts no length further than it must.
type unpacker struct {
	r     *bufio.Reader
	long  []byte            // a text that is longer than r's buffer
	known map[string]string // texts that were seen: tags come again in every row
}

type kind uint8

const (
	nilKind kind = iota
	boolKind
	intKind
	floatKind
	textKind
	arrayKind
	mapKind
)

// token is a value, or the head of an array or a map. Its text is good until the next one.
type token struct {
	kind kind
	bits int64 // the integer, the float's bits, 1 for true, how many elements
	text []byte
}

const (
	unpackBuffer = 64 << 10
	longestText  = 16 << 20
	mostKnown    = 1 << 17
)

var errTooLong = errors.New("a text is too long")

func newUnpacker(r io.Reader) *unpacker {
	return &unpacker{r: bufio.NewReaderSize(r, unpackBuffer), known: map[string]string{}}
}

// next reads a token. It returns io.EOF only where nothing has begun.
func (u *unpacker) next() (t token, err error) {
	c, err := u.r.ReadByte()
	if err != nil {
		return t, err
	}
	switch {
	case c < 0x80:
		return token{kind: intKind, bits: int64(c)}, nil
	case c < 0x90:
		return token{kind: mapKind, bits: int64(c & 0x0f)}, nil
	case c < 0xa0:
		return token{kind: arrayKind, bits: int64(c & 0x0f)}, nil
	case c < 0xc0:
		return u.text(int(c & 0x1f))
	case c >= 0xe0:
		return token{kind: intKind, bits: int64(int8(c))}, nil
	}
	switch c {
	case 0xc0:
		return t, nil
	case 0xc2, 0xc3:
		return token{kind: boolKind, bits: int64(c & 1)}, nil
	case 0xca:
		n, err := u.number(4)
		return token{kind: floatKind, bits: int64(math.Float64bits(float64(math.Float32frombits(uint32(n)))))}, err
	case 0xcb:
		n, err := u.number(8)
		return token{kind: floatKind, bits: int64(n)}, err
	case 0xcc, 0xcd, 0xce, 0xcf: // unsigned
		n, err := u.number(1 << (c - 0xcc))
		return token{kind: intKind, bits: int64(min(n, math.MaxInt64))}, err
	case 0xd0, 0xd1, 0xd2, 0xd3:
		size := 1 << (c - 0xd0)
		n, err := u.number(size)
		shift := 64 - 8*size
		return token{kind: intKind, bits: int64(n) << shift >> shift}, err
	case 0xd9, 0xda, 0xdb:
		n, err := u.number(1 << (c - 0xd9))
		if err != nil {
			return t, err
		}
		return u.text(int(n))
	case 0xdc, 0xdd:
		n, err := u.number(2 << (c - 0xdc))
		return token{kind: arrayKind, bits: int64(n)}, err
	case 0xde, 0xdf:
		n, err := u.number(2 << (c - 0xde))
		return token{kind: mapKind, bits: int64(n)}, err
	}
	return t, fmt.Errorf("there is a byte 0x%02x where a value begins", c)
}

// number reads an unsigned number of size bytes.
func (u *unpacker) number(size int) (n uint64, err error) {
	var whole [8]byte
	text, err := u.r.Peek(size)
	if err != nil {
		return 0, broken(err)
	}
	copy(whole[8-size:], text)
	_, _ = u.r.Discard(size) // it is in the buffer
	return binary.BigEndian.Uint64(whole[:]), nil
}

func (u *unpacker) text(n int) (t token, err error) {
	t.kind = textKind
	if n <= unpackBuffer {
		t.text, err = u.r.Peek(n)
		if err != nil {
			return t, broken(err)
		}
		_, _ = u.r.Discard(n) // it is in the buffer, which stays until the next read
		return t, nil
	}
	if n > longestText {
		return t, errTooLong
	}
	if cap(u.long) < n {
		u.long = make([]byte, n)
	}
	t.text = u.long[:n]
	_, err = io.ReadFull(u.r, t.text)
	return t, broken(err)
}

// broken is err within a value: there, an end is none.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// want reads a token of a kind, and returns its bits and its text to keep.
func (u *unpacker) want(k kind) (int64, string, error) {
	t, err := u.next()
	if err != nil {
		return 0, "", broken(err)
	}
	if t.kind == nilKind && k == arrayKind {
		return 0, "", nil
	}
	if t.kind != k {
		return 0, "", fmt.Errorf("there is a value of kind %d, want %d", t.kind, k)
	}
	return t.bits, u.keep(t.text), nil
}

// keep returns a text as a string; one that comes often is the same string.
func (u *unpacker) keep(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if known, ok := u.known[string(text)]; ok {
		return known
	}
	kept := string(text)
	if len(u.known) < mostKnown {
		u.known[kept] = kept
	}
	return kept
}

// skip passes over one value, with all that is in it.
func (u *unpacker) skip() error {
	for left := int64(1); left > 0; left-- {
		t, err := u.next()
		if err != nil {
			return broken(err)
		}
		switch t.kind {
		case arrayKind:
			left += t.bits
		case mapKind:
			left += 2 * t.bits
		}
	}
	return nil
}
