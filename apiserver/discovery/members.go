package discovery

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// text is one JSON value. Documents are cut as text: what we do not know of stays
// as it is, in its order.
type text = jsontext.Value

// member is one member of a JSON object.
type member struct {
	name  string
	value text
}

func newDecoder(v text) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// members splits a JSON object. The values are parts of v; null has no members.
func members(v text) (all []member, err error) {
	if bytes.Equal(bytes.TrimSpace(v), []byte("null")) {
		return nil, nil
	}
	d := newDecoder(v)
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, fmt.Errorf("want an object, found %.20q: %w", v, err)
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		m := member{name: name.String()}
		if m.value, err = next(d, v); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// elements splits a JSON array; null has no elements.
func elements(v text) (all []text, err error) {
	if bytes.Equal(bytes.TrimSpace(v), []byte("null")) {
		return nil, nil
	}
	d := newDecoder(v)
	if t, err := d.ReadToken(); err != nil || t.Kind() != '[' {
		return nil, fmt.Errorf("want an array, found %.20q: %w", v, err)
	}
	for d.PeekKind() != ']' {
		e, err := next(d, v)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// next reads a value as the part of v, from which d reads.
func next(d *jsontext.Decoder, v text) (text, error) {
	read, err := d.ReadValue()
	if err != nil {
		return nil, err
	}
	end := d.InputOffset()
	return v[end-int64(len(read)) : end : end], nil
}

// object joins members.
func joinObject(all []member) text {
	size := 2
	for _, m := range all {
		size += len(m.name) + len(m.value) + 4
	}
	b := append(make([]byte, 0, size), '{')
	for i, m := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, m.name)
		b = append(b, ':')
		b = append(b, m.value...)
	}
	return append(b, '}')
}

// array joins elements.
func joinArray(all []text) text {
	b := []byte{'['}
	for i, e := range all {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e...)
	}
	return append(b, ']')
}

func appendString(b []byte, s string) []byte {
	b, err := jsontext.AppendQuote(b, s)
	if err != nil { // invalid UTF-8 only, which has become U+FFFD
		return b
	}
	return b
}

func quoted(s string) text { return appendString(nil, s) }

// get returns the value of the member called name, nil if there is none.
func get(all []member, name string) text {
	for _, m := range all {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// str returns the string that v is, "" if it is none.
func str(v text) string {
	if len(v) == 0 || v.Kind() != '"' {
		return ""
	}
	s, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return ""
	}
	return string(s)
}

// set replaces the member called name, or adds it.
func set(all []member, name string, value text) []member {
	for i := range all {
		if all[i].name == name {
			all[i].value = value
			return all
		}
	}
	return append(all, member{name, value})
}
