package influx

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/tinylib/msgp/msgp"
)

// unpacker reads MessagePack, one token after the other.
type unpacker struct {
	r     *msgp.Reader
	text  []byte            // of the last token
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

func newUnpacker(r io.Reader) *unpacker {
	u := &unpacker{r: msgp.NewReaderSize(r, unpackBuffer), known: map[string]string{}}
	u.r.SetMaxStringLength(longestText)
	return u
}

// next reads a token. It returns io.EOF only where nothing has begun.
func (u *unpacker) next() (t token, err error) {
	is, err := u.r.NextType()
	if err != nil {
		return t, err
	}
	switch is {
	case msgp.NilType:
		err = u.r.ReadNil()
	case msgp.BoolType:
		t.kind = boolKind
		var yes bool
		if yes, err = u.r.ReadBool(); yes {
			t.bits = 1
		}
	case msgp.IntType:
		t.kind = intKind
		t.bits, err = u.r.ReadInt64()
	case msgp.UintType:
		t.kind = intKind
		var n uint64
		n, err = u.r.ReadUint64()
		t.bits = int64(min(n, math.MaxInt64))
	case msgp.Float32Type, msgp.Float64Type:
		t.kind = floatKind
		var f float64
		f, err = u.r.ReadFloat64() // takes the shorter ones, too
		t.bits = int64(math.Float64bits(f))
	case msgp.StrType:
		t.kind = textKind
		u.text, err = u.r.ReadStringAsBytes(u.text)
		t.text = u.text
	case msgp.ArrayType:
		t.kind = arrayKind
		t.bits, err = size(u.r.ReadArrayHeader())
	case msgp.MapType:
		t.kind = mapKind
		t.bits, err = size(u.r.ReadMapHeader())
	default:
		return t, fmt.Errorf("there is a value of type %v, which InfluxDB does not answer with", is)
	}
	return t, broken(err)
}

func size(n uint32, err error) (int64, error) { return int64(n), err }

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
