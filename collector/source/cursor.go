package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// cursor walks through a JSON document. All of the document is checked, also what
// is skipped. After the first fault err is set, and nothing moves any more.
//
// The library is the fastest that was found, and near enough to what can be had: a
// scanner of our own was faster by a third only.
type cursor struct {
	json   *jsontext.Decoder
	reader *bytes.Buffer
	name   []byte // of the field that the cursor stands before
	text   []byte // room for what was quoted with backslashes
	err    error
}

// Names that come twice and text that is no UTF-8 harm nobody here, and to look for
// them costs a third of the time.
func newCursor() *cursor {
	c := &cursor{reader: new(bytes.Buffer)}
	c.json = jsontext.NewDecoder(c.reader)
	return c
}

func (c *cursor) reset(body []byte) {
	*c.reader = *bytes.NewBuffer(body) // the decoder reads from its memory, without a copy
	c.json.Reset(c.reader, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	c.name, c.err = nil, nil
}

// finish says what was wrong with the document, which must have ended.
func (c *cursor) finish() error {
	if c.err == nil {
		if _, err := c.json.ReadToken(); err == nil {
			c.err = errors.New("something follows its end")
		} else if !errors.Is(err, io.EOF) {
			c.err = err
		}
	}
	return c.err
}

func (c *cursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// enter goes into an object ('{') or an array ('['). It returns false, and steps over
// it, if there is null.
func (c *cursor) enter(kind jsontext.Kind) bool {
	if c.err != nil {
		return false
	}
	token, err := c.json.ReadToken()
	switch {
	case err != nil:
		c.fail(err)
	case token.Kind() == kind:
		return true
	case token.Kind() != 'n':
		c.fail(fmt.Errorf("%s stands where %s should", token.Kind(), kind))
	}
	return false
}

// field goes to the next field of the object, and leaves the object if there is none.
func (c *cursor) field() bool {
	if !c.element('}') {
		return false
	}
	c.name = c.quoted()
	return c.err == nil
}

// element goes to the next element of the array, and leaves the array at its end.
func (c *cursor) element(end jsontext.Kind) bool {
	if c.err != nil {
		return false
	}
	if c.json.PeekKind() != end {
		return true // what is there, be it a fault, is for who reads it
	}
	if _, err := c.json.ReadToken(); err != nil {
		c.fail(err)
	}
	return false
}

func (c *cursor) skip() {
	if c.err != nil {
		return
	}
	if err := c.json.SkipValue(); err != nil {
		c.fail(err)
	}
}

// value reads what is no object and no array.
func (c *cursor) value() jsontext.Value {
	if c.err != nil {
		return nil
	}
	if kind := c.json.PeekKind(); kind == '{' || kind == '[' {
		c.fail(fmt.Errorf("%s stands where a number or a text should", kind))
		return nil
	}
	v, err := c.json.ReadValue()
	if err != nil {
		c.fail(err)
		return nil
	}
	return v
}

// quoted reads a text, or null, which is "". It is good until the next read.
func (c *cursor) quoted() []byte {
	v := c.value()
	if len(v) == 0 || v.Kind() == 'n' {
		return nil
	}
	if v.Kind() != '"' {
		c.fail(fmt.Errorf("%s stands where a text should", v.Kind()))
		return nil
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1]
	}
	// It was found to be right when it was read, except for its UTF-8, which is mended.
	c.text, _ = jsontext.AppendUnquote(c.text[:0], v)
	return c.text
}

// number reads an integer from 0 up. ok is false if there is null, or a number that
// no counter and no size of a kubelet can be: below 0, above 2^63, with a fraction.
func (c *cursor) number() (n int64, ok bool) {
	v := c.value()
	if len(v) == 0 || v.Kind() == 'n' {
		return 0, false
	}
	if v.Kind() != '0' {
		c.fail(fmt.Errorf("%s stands where a number should", v.Kind()))
		return 0, false
	}
	if len(v) > 18 {
		return bigNumber(v)
	}
	for _, digit := range v {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		n = n*10 + int64(digit-'0')
	}
	return n, true
}

// time reads a time as Unix nanoseconds; 0 if there is null, or a time that these
// cannot hold.
func (c *cursor) time() int64 {
	v := c.quoted()
	if len(v) == 0 {
		return 0
	}
	if at, ok := secondUTC(v); ok {
		return at
	}
	at, err := time.Parse(time.RFC3339, string(v))
	if err != nil {
		c.fail(err)
		return 0
	}
	if at.Year() < 1970 || at.Year() > 2261 {
		return 0
	}
	return at.UnixNano()
}
