package kubeapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unsafe"

	"sigs.k8s.io/yaml"
)

// text is an answer as its parts, most of which are stored bytes: nothing is
// copied before it is written.
type text struct {
	parts  []string
	length int
}

func (t *text) add(part string) {
	t.parts = append(t.parts, part)
	t.length += len(part)
}

// addBytes adds bytes that nobody changes any more.
func (t *text) addBytes(part []byte) { t.add(alias(part)) }

// bytes is the whole text, a copy.
func (t *text) bytes() []byte {
	whole := make([]byte, 0, t.length)
	for _, part := range t.parts {
		whole = append(whole, part...)
	}
	return whole
}

// alias is bytes that nobody changes as a string, without a copy.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// forPeople writes JSON as it was asked for, if that is not as it is.
func forPeople(t text, f form) (text, error) {
	var out text
	switch {
	case f.media == mediaYAML:
		converted, err := yaml.JSONToYAML(t.bytes())
		if err != nil {
			return out, fmt.Errorf("write YAML: %w", err)
		}
		out.addBytes(converted)
	case f.media == mediaJSON && f.pretty:
		var indented bytes.Buffer
		if err := json.Indent(&indented, t.bytes(), "", "  "); err != nil {
			return out, fmt.Errorf("indent JSON: %w", err)
		}
		out.addBytes(bytes.TrimRight(indented.Bytes(), "\n"))
	default:
		return t, nil
	}
	return out, nil
}
