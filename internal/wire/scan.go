package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

var (
	errSyntax     = errors.New("not a JSON object")
	errNoMetadata = errors.New("no metadata")
)

// MetadataSpan returns where the value of metadata, an object, begins and ends in
// body. It reads no further than there and decodes nothing.
func MetadataSpan(body []byte) (start, end int, err error) {
	s := scanner{data: body}
	if s.find("metadata") {
		s.space()
		start = s.pos
		if s.at('{') && s.skip() {
			return start, s.pos, nil
		}
	}
	if s.failed {
		return 0, 0, fmt.Errorf("find metadata: %w", errSyntax)
	}
	return 0, 0, fmt.Errorf("find metadata: %w", errNoMetadata)
}

// PatchVersion returns a copy of body with another metadata.resourceVersion. It
// reads body up to the end of the metadata and decodes nothing.
func PatchVersion(body []byte, version string) ([]byte, error) {
	start, end, err := MetadataSpan(body)
	if err != nil {
		return nil, err
	}
	s := scanner{data: body[:end], pos: start}
	patched := make([]byte, 0, len(body)+len(version)+len(`"resourceVersion":"",`))
	if s.find("resourceVersion") {
		s.space()
		from := s.pos
		if s.skip() {
			patched = appendString(append(patched, body[:from]...), version)
			return append(patched, body[s.pos:]...), nil
		}
	}
	if s.failed {
		return nil, fmt.Errorf("find resourceVersion: %w", errSyntax)
	}
	patched = appendString(append(append(patched, body[:start+1]...), `"resourceVersion":`...), version)
	if len(bytes.TrimSpace(body[start+1:end-1])) > 0 {
		patched = append(patched, ',')
	}
	return append(patched, body[start+1:]...), nil
}

// scanner finds its way through JSON that an API server has encoded, by brackets
// and quotes. It may take what is not JSON for JSON, but where it is given JSON it
// is right.
type scanner struct {
	data   []byte
	pos    int
	failed bool
}

// find goes into the object that comes next and to the value of its first member
// of that name. It is false if there is none or, with failed, on a fault.
func (s *scanner) find(name string) bool {
	s.space()
	if !s.at('{') {
		return s.fail()
	}
	s.pos++
	if s.space(); s.at('}') {
		return false
	}
	for {
		s.space()
		key := s.pos
		if !s.text() {
			return false
		}
		same := isKey(s.data[key:s.pos], name)
		if s.space(); !s.at(':') {
			return s.fail()
		}
		s.pos++
		if same {
			return true
		}
		if !s.skip() {
			return false
		}
		switch s.space(); {
		case s.at(','):
			s.pos++
		case s.at('}'):
			return false
		default:
			return s.fail()
		}
	}
}

// isKey compares a quoted key, which may hold escapes, with name.
func isKey(quoted []byte, name string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == name
	}
	var key string
	return json.Unmarshal(quoted, &key) == nil && key == name
}

func (s *scanner) fail() bool {
	s.failed = true
	return false
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// text goes over a string.
func (s *scanner) text() bool {
	if !s.at('"') {
		return s.fail()
	}
	start := s.pos + 1
	for at := start; ; {
		quote := bytes.IndexByte(s.data[at:], '"')
		if quote < 0 {
			return s.fail()
		}
		at += quote
		slashes := 0
		for at-slashes > start && s.data[at-slashes-1] == '\\' {
			slashes++
		}
		at++
		if slashes%2 == 0 {
			s.pos = at
			return true
		}
	}
}

// skip goes over one value.
func (s *scanner) skip() bool {
	s.space()
	depth := 0
	for begin := s.pos; s.pos < len(s.data); {
		switch s.data[s.pos] {
		case '"':
			if !s.text() {
				return false
			}
		case '{', '[':
			depth++
			s.pos++
		case '}', ']':
			if depth == 0 {
				return s.pos > begin || s.fail()
			}
			depth--
			s.pos++
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return s.pos > begin || s.fail()
			}
			s.pos++
			continue
		default: // part of a number or a word, or a colon
			s.pos++
			continue
		}
		if depth == 0 {
			return true
		}
	}
	return s.fail()
}
