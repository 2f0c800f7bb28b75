// Package compare says whether two lists of Kubernetes objects tell the same.
package compare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Object is one object as far as comparing needs it.
type Object struct {
	Key     string // namespace/name, or name without a namespace
	UID     string
	Version string // metadata.resourceVersion
	Hash    uint64 // of the canonical form
}

// List is everything that a list answer says.
type List struct {
	Version string            // metadata.resourceVersion of the list
	Objects map[string]Object // by key
	Twice   []string          // keys that came more than once
}

// Canonical returns the object with sorted keys and without managedFields, which
// KRM cuts, and without apiVersion and kind: the items of typed lists lack them,
// those of custom resources do not.
func Canonical(object []byte) ([]byte, Object, error) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.UseNumber() // 1 and 1.0 differ, and no digit is lost
	var tree map[string]any
	if err := decoder.Decode(&tree); err != nil {
		return nil, Object{}, fmt.Errorf("decode an object: %w", err)
	}
	meta, ok := tree["metadata"].(map[string]any)
	if !ok {
		return nil, Object{}, errors.New("decode an object: no metadata")
	}
	delete(meta, "managedFields")
	delete(tree, "apiVersion")
	delete(tree, "kind")
	text := func(field string) string { s, _ := meta[field].(string); return s }
	o := Object{Key: text("name"), UID: text("uid"), Version: text("resourceVersion")}
	if namespace := text("namespace"); namespace != "" {
		o.Key = namespace + "/" + o.Key
	}
	if o.Key == "" || o.UID == "" || o.Version == "" {
		return nil, Object{}, fmt.Errorf("decode an object: name, uid or resourceVersion is missing in %.200s", object)
	}
	canonical, err := json.Marshal(tree) // sorts the keys
	if err != nil {
		return nil, Object{}, fmt.Errorf("encode %s: %w", o.Key, err)
	}
	o.Hash = xxhash.Sum64(canonical)
	return canonical, o, nil
}

// ReadList reads a Kubernetes List from r, item by item: the whole answer need
// not fit into memory.
func ReadList(r io.Reader) (List, error) {
	list := List{Objects: map[string]Object{}}
	decoder := json.NewDecoder(r)
	if err := expect(decoder, json.Delim('{')); err != nil {
		return list, err
	}
	items := false
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return list, fmt.Errorf("read a list: %w", err)
		}
		switch token {
		case "metadata":
			var meta struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			}
			if err := decoder.Decode(&meta); err != nil {
				return list, fmt.Errorf("read a list's metadata: %w", err)
			}
			if meta.Continue != "" {
				return list, errors.New("read a list: it is only a part, with a continue token")
			}
			list.Version = meta.ResourceVersion
		case "items":
			items = true
			if err := list.readItems(decoder); err != nil {
				return list, err
			}
		default:
			var skipped json.RawMessage
			if err := decoder.Decode(&skipped); err != nil {
				return list, fmt.Errorf("read a list: %w", err)
			}
		}
	}
	if err := expect(decoder, json.Delim('}')); err != nil {
		return list, err
	}
	if !items || list.Version == "" {
		return list, errors.New("read a list: no items or no resourceVersion in it")
	}
	return list, nil
}

func (l *List) readItems(decoder *json.Decoder) error {
	if err := expect(decoder, json.Delim('[')); err != nil {
		return err
	}
	for decoder.More() {
		var item json.RawMessage
		if err := decoder.Decode(&item); err != nil {
			return fmt.Errorf("read a list's items: %w", err)
		}
		_, o, err := Canonical(item)
		if err != nil {
			return err
		}
		if _, twice := l.Objects[o.Key]; twice {
			l.Twice = append(l.Twice, o.Key)
		}
		l.Objects[o.Key] = o
	}
	return expect(decoder, json.Delim(']'))
}

func expect(decoder *json.Decoder, want json.Delim) error {
	token, err := decoder.Token()
	if err != nil {
		return fmt.Errorf("read a list: %w", err)
	}
	if token != want {
		return fmt.Errorf("read a list: %v where %v should be", token, want)
	}
	return nil
}

// Difference is what got gets wrong about want, as sorted keys.
type Difference struct {
	Missing   []string // got lacks them
	Extra     []string // only got has them
	Different []string // another UID, version or body
}

// Diff compares what got says with what want says.
func Diff(want, got map[string]Object) Difference {
	var d Difference
	for key, w := range want {
		g, ok := got[key]
		switch {
		case !ok:
			d.Missing = append(d.Missing, key)
		case g != w:
			d.Different = append(d.Different, key)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			d.Extra = append(d.Extra, key)
		}
	}
	slices.Sort(d.Missing)
	slices.Sort(d.Extra)
	slices.Sort(d.Different)
	return d
}

// Total is the number of objects of any kind.
func (d Difference) Total() int { return len(d.Missing) + len(d.Extra) + len(d.Different) }

// String shows the numbers and the first keys of each kind.
func (d Difference) String() string {
	if d.Total() == 0 {
		return "equal"
	}
	var parts []string
	for _, kind := range []struct {
		name string
		keys []string
	}{{"missing", d.Missing}, {"extra", d.Extra}, {"different", d.Different}} {
		if len(kind.keys) > 0 {
			shown := kind.keys[:min(5, len(kind.keys))]
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(kind.keys), kind.name, strings.Join(shown, " ")))
		}
	}
	return strings.Join(parts, ", ")
}

// SameAnswer says whether two answers to GET of one object tell the same, apart
// from managedFields.
func SameAnswer(a, b []byte) (bool, error) {
	var texts [2][]byte
	for i, answer := range [][]byte{a, b} {
		decoder := json.NewDecoder(bytes.NewReader(answer))
		decoder.UseNumber()
		var tree map[string]any
		if err := decoder.Decode(&tree); err != nil {
			return false, fmt.Errorf("decode an object: %w", err)
		}
		if meta, ok := tree["metadata"].(map[string]any); ok {
			delete(meta, "managedFields")
		}
		var err error
		if texts[i], err = json.Marshal(tree); err != nil {
			return false, err
		}
	}
	return bytes.Equal(texts[0], texts[1]), nil
}
