package kube

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep values may be nested; encoding/json has the same bound.
const maxDepth = 10_000

// scanner walks over JSON text once: it checks the grammar of RFC 8259 and tells
// where the members are. It decodes nothing that is not asked for, keeps no copy
// and does not check that strings are UTF-8.
//
// A real pod's frame of 7 KB takes 9.6 µs from the connection to the event, the
// copy of the body included; jsontext took 11.8 µs to validate it, without finding
// or copying anything (BenchmarkFrame, BenchmarkFrameJsontext).
type scanner struct {
	data  []byte
	keep  bool // cut no managedFields
	pos   int
	depth int
	key   int // where the last member's key begins
	comma int // where the comma before the last member is; -1 before the first
}

// syntaxError says where JSON text is not JSON.
type syntaxError struct {
	offset int
	want   string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("malformed JSON at byte %d: want %s", e.offset, e.want)
}

// fail is the error at the present byte, or at the end of a text that is cut off.
func (s *scanner) fail(want string) error {
	if s.pos >= len(s.data) {
		return fmt.Errorf("JSON ends within a value: %w", io.ErrUnexpectedEOF)
	}
	return &syntaxError{offset: s.pos, want: want}
}

// peek returns the first byte of what comes next, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) && s.data[s.pos] > ' ' {
		return s.data[s.pos]
	}
	return s.peekBehindSpace()
}

func (s *scanner) peekBehindSpace() byte {
	for ; s.pos < len(s.data); s.pos++ {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// enter goes into an object or array; open is '{' or '['.
func (s *scanner) enter(open byte) error {
	if s.peek() != open {
		return s.fail("'" + string(open) + "'")
	}
	if s.depth++; s.depth > maxDepth {
		return s.fail("less nesting")
	}
	s.pos++
	return nil
}

// member goes to the value of the object's next member and returns its key, as
// text between the quotes; done says that there is none and the object is left.
func (s *scanner) member(first bool) (key []byte, done bool, err error) {
	if done, err = s.next(first, '}'); done || err != nil {
		return nil, done, err
	}
	s.peek()
	s.key = s.pos
	key, escaped, err := s.text()
	if err != nil {
		return nil, false, err
	}
	if escaped {
		key = unescape(key)
	}
	if s.peek() != ':' {
		return nil, false, s.fail("':'")
	}
	s.pos++
	return key, false, nil
}

// next goes to the next element of what was entered; done says that there is
// none and that it is left.
func (s *scanner) next(first bool, end byte) (done bool, err error) {
	c := s.peek()
	switch {
	case c == end:
		s.pos++
		s.depth--
		return true, nil
	case first:
		s.comma = -1
		return false, nil
	case c == ',':
		s.comma = s.pos
		s.pos++
		return false, nil
	}
	return false, s.fail("',' or '" + string(end) + "'")
}

// skip goes over one value.
func (s *scanner) skip() error {
	switch c := s.peek(); {
	case c == '"':
		_, _, err := s.text()
		return err
	case c == '{':
		return s.skipObject()
	case c == '[':
		return s.skipArray()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	}
	return s.fail("a value")
}

func (s *scanner) skipObject() error {
	if err := s.enter('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		done, err := s.next(first, '}')
		if done || err != nil {
			return err
		}
		s.peek()
		if _, _, err := s.text(); err != nil {
			return err
		}
		if s.peek() != ':' {
			return s.fail("':'")
		}
		s.pos++
		if err := s.skip(); err != nil {
			return err
		}
	}
}

func (s *scanner) skipArray() error {
	if err := s.enter('['); err != nil {
		return err
	}
	for first := true; ; first = false {
		done, err := s.next(first, ']')
		if done || err != nil {
			return err
		}
		if err := s.skip(); err != nil {
			return err
		}
	}
}

// text goes over a string and returns what is between its quotes, escapes as they are.
func (s *scanner) text() (text []byte, escaped bool, err error) {
	if s.pos >= len(s.data) || s.data[s.pos] != '"' {
		return nil, false, s.fail("a string")
	}
	start := s.pos + 1
	s.pos = special(s.data, start)
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case '"':
			s.pos++
			return s.data[start : s.pos-1], escaped, nil
		case '\\':
			escaped = true
			if err := s.escape(); err != nil {
				return nil, false, err
			}
			s.pos = special(s.data, s.pos)
		default:
			return nil, false, s.fail("no control character in a string")
		}
	}
	return nil, false, s.fail("'\"'")
}

// special returns where, from i on, the first byte is that does not stand for
// itself in a string: a quote, a backslash or a control character. It looks at
// eight bytes at a time: subtracting from each byte borrows from its highest bit
// only where the byte is small enough, and below the first such byte nothing is
// borrowed, so the lowest bit found is right.
func special(data []byte, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(data); i += 8 {
		x := binary.LittleEndian.Uint64(data[i:])
		quote, backslash := x^(ones*'"'), x^(ones*'\\')
		hit := ((quote - ones) &^ quote) | ((backslash - ones) &^ backslash) | ((x - ones*0x20) &^ x)
		if hit &= high; hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for i < len(data) && data[i] >= 0x20 && data[i] != '"' && data[i] != '\\' {
		i++
	}
	return i
}

// escape goes over one escape sequence in a string.
func (s *scanner) escape() error {
	s.pos++
	if s.pos == len(s.data) {
		return s.fail("an escape")
	}
	switch s.data[s.pos] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return nil
	case 'u':
		s.pos++
		for range 4 {
			if s.pos == len(s.data) || !isHex(s.data[s.pos]) {
				return s.fail("four hexadecimal digits")
			}
			s.pos++
		}
		return nil
	}
	return s.fail("an escape")
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		if s.pos == len(s.data) || s.data[s.pos] != word[i] {
			return s.fail(word)
		}
		s.pos++
	}
	return nil
}

func (s *scanner) number() error {
	if s.data[s.pos] == '-' {
		s.pos++
	}
	if s.pos < len(s.data) && s.data[s.pos] == '0' {
		s.pos++
	} else if err := s.digits(); err != nil {
		return err
	}
	if s.pos < len(s.data) && s.data[s.pos] == '.' {
		s.pos++
		if err := s.digits(); err != nil {
			return err
		}
	}
	if s.pos < len(s.data) && s.data[s.pos]|0x20 == 'e' {
		s.pos++
		if s.pos < len(s.data) && (s.data[s.pos] == '+' || s.data[s.pos] == '-') {
			s.pos++
		}
		return s.digits()
	}
	return nil
}

func (s *scanner) digits() error {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	if s.pos == start {
		return s.fail("a digit")
	}
	return nil
}

// end refuses whatever follows the value but space.
func (s *scanner) end() error {
	if s.peek() != 0 || s.pos != len(s.data) {
		return s.fail("the end")
	}
	return nil
}

// stringValue goes over a string and returns what it means; null is nil.
func (s *scanner) stringValue() ([]byte, error) {
	if s.peek() == 'n' {
		return nil, s.literal("null")
	}
	text, escaped, err := s.text()
	if escaped && err == nil {
		text = unescape(text)
	}
	return text, err
}

// value goes over any value and returns its text; null is nil.
func (s *scanner) value() ([]byte, error) {
	null := s.peek() == 'n'
	start := s.pos
	if err := s.skip(); err != nil || null {
		return nil, err
	}
	return s.data[start:s.pos], nil
}

// unescape returns what the text of a string means; text has been checked.
func unescape(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out = append(out, text[i])
			continue
		}
		i++
		switch c := text[i]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hexRune(text[i+1:])
			i += 4
			if utf16.IsSurrogate(r) && i+6 < len(text) && text[i+1] == '\\' && text[i+2] == 'u' {
				if pair := utf16.DecodeRune(r, hexRune(text[i+3:])); pair != utf8.RuneError {
					r = pair
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
	}
	return out
}

// hexRune reads the four hexadecimal digits at the start of text.
func hexRune(text []byte) (r rune) {
	for _, c := range text[:4] {
		switch {
		case c <= '9':
			r = r<<4 | rune(c-'0')
		default:
			r = r<<4 | rune(c|0x20-'a'+10)
		}
	}
	return r
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}
