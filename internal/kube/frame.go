package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// frame is one event of a watch as text: an object, or a Table of one row.
type frame struct {
	kind  []byte // "ADDED"
	whole found  // the event's object as it is
	row   found  // the object in the Table's row
}

// parse goes over the event at the start of data and returns its length.
// io.ErrUnexpectedEOF comes if data ends before it does.
func (f *frame) parse(data []byte, keep bool) (n int, err error) {
	*f = frame{}
	f.whole.row = &f.row
	s := scanner{data: data, keep: keep}
	if err := s.enter('{'); err != nil {
		return 0, err
	}
	for first := true; ; first = false {
		key, done, err := s.member(first)
		if err != nil {
			return 0, err
		}
		if done {
			return s.pos, f.lateRow(keep)
		}
		switch string(key) {
		case "type":
			err = s.stringOnce(&f.whole, partType, &f.kind)
		case "object":
			if err = f.whole.once(partObject); err == nil {
				err = s.object(&f.whole)
			}
		default:
			err = s.skip()
		}
		if err != nil {
			return 0, err
		}
	}
}

// lateRow finds the row of a Table that named its kind only behind its rows.
func (f *frame) lateRow(keep bool) error {
	if !f.whole.isTable() || f.whole.rows == nil {
		return nil
	}
	s := scanner{data: f.whole.rows, keep: keep}
	return s.onlyRow(&f.row)
}

// object is what the event is about: the row's object of a Table, the event's
// own otherwise.
func (f *frame) object() *found {
	if f.whole.isTable() && f.row.text != nil {
		return &f.row
	}
	return &f.whole
}

// decoder makes events of frames for one resource.
type decoder struct {
	resource object.Resource
	keep     bool // leave managedFields in
	frame    frame
	typeMeta []byte // how the text of a listed object begins that does not say its kind
}

// decode reads the event at the start of data, n bytes long: the columns if it
// has some, and what it tells. They own their memory; data may be used again.
func (d *decoder) decode(data []byte, at time.Time) (n int, columns []object.Column, event object.Event, err error) {
	f := &d.frame
	if n, err = f.parse(data, d.keep); err != nil {
		return 0, nil, object.Event{}, err
	}
	if f.whole.columns != nil && f.whole.isTable() {
		if columns, err = parseColumns(f.whole.columns); err != nil {
			return 0, nil, object.Event{}, err
		}
	}
	event, err = d.event(f, at)
	return n, columns, event, err
}

func (d *decoder) event(f *frame, at time.Time) (object.Event, error) {
	switch string(f.kind) {
	case "ADDED":
		return d.change(object.Added, f, at)
	case "MODIFIED":
		return d.change(object.Modified, f, at)
	case "DELETED":
		return d.change(object.Deleted, f, at)
	case "BOOKMARK":
		return bookmark(f.object())
	case "ERROR":
		return object.Event{}, frameError(f.whole.text)
	}
	return object.Event{}, fmt.Errorf("event of unknown type %q", clip(f.kind))
}

func (d *decoder) change(kind object.EventType, f *frame, at time.Time) (object.Event, error) {
	if f.whole.isTable() && f.row.text == nil {
		return object.Event{}, fmt.Errorf("%v event without an object", kind)
	}
	record, err := d.record(f.object(), at)
	record.Deleted = kind == object.Deleted
	if err != nil {
		return object.Event{}, fmt.Errorf("%v event: %w", kind, err)
	}
	return object.Event{Type: kind, Record: record}, nil
}

func bookmark(f *found) (object.Event, error) {
	version, err := object.ParseVersion(string(f.version))
	if err != nil {
		return object.Event{}, fmt.Errorf("BOOKMARK event: %w", err)
	}
	kind := object.Bookmark
	if f.initialEnd {
		kind = object.InitialEnd
	}
	return object.Event{Type: kind, Version: version}, nil
}

// record copies an object out of the scanned text.
func (d *decoder) record(f *found, at time.Time) (object.Record, error) {
	head, err := d.head(f)
	if err != nil {
		return object.Record{}, err
	}
	head.SeenAt = at
	buf := make([]byte, 0, len(d.typeMeta)+len(f.before)+len(f.after)+len(f.cells)) // one piece of memory for both
	buf = d.appendBody(buf, f)
	n := len(buf)
	buf = append(buf, f.cells...)
	return object.Record{Head: head, Body: buf[:n:n], Cells: buf[n:]}, nil
}

// appendBody appends the object's text to buf as it is kept.
func (d *decoder) appendBody(buf []byte, f *found) []byte {
	before := f.before
	if len(f.kind) == 0 && len(f.apiVersion) == 0 && len(d.typeMeta) > 0 {
		buf = append(buf, d.typeMeta...)
		before = before[1:]
	}
	buf = append(buf, before...)
	return append(buf, f.after...)
}

// listed tells d of what kind the objects of a plain list are. Typed servers
// leave that out in lists, and only there: it is put back, so that an object's
// text is the same wherever it comes from.
func (d *decoder) listed(kind, apiVersion string) {
	d.typeMeta = fmt.Appendf(nil, `{"kind":%q,"apiVersion":%q,`, kind, apiVersion)
}

// head copies what identifies an object out of the scanned text.
func (d *decoder) head(f *found) (object.Head, error) {
	if len(f.name) == 0 || bytes.IndexByte(f.name, '/') >= 0 {
		return object.Head{}, fmt.Errorf("object with metadata.name %q", clip(f.name))
	}
	if namespaced := len(f.namespace) > 0; namespaced != d.resource.Namespaced {
		return object.Head{}, fmt.Errorf("object %q of namespace %q: the resource's scope is another", clip(f.name), clip(f.namespace))
	}
	var room [512]byte
	all := append(room[:0], f.namespace...)
	all = append(all, f.name...)
	all = append(all, f.uid...)
	all = append(all, f.version...)
	text := string(all) // one piece of memory for the four
	cut := func(n int) (part string) {
		part, text = text[:n], text[n:]
		return part
	}
	var head object.Head
	head.Key.Namespace = cut(len(f.namespace))
	head.Key.Name = cut(len(f.name))
	head.UID = cut(len(f.uid))
	version, err := object.ParseVersion(text)
	if err != nil {
		return object.Head{}, fmt.Errorf("object %v: %w", head.Key, err)
	}
	head.Version = version
	return head, nil
}

func parseColumns(text []byte) (columns []object.Column, err error) {
	if err := json.Unmarshal(text, &columns); err != nil {
		return nil, fmt.Errorf("parse columnDefinitions: %w", err)
	}
	return columns, nil
}

// frameError is the error that an ERROR event carries.
func frameError(text []byte) error {
	var status metav1.Status
	if err := json.Unmarshal(text, &status); err != nil {
		return fmt.Errorf("parse the Status of an ERROR event: %w", err)
	}
	return refusal(status, 0)
}

// clip shortens what a server sent to what an error message can bear.
func clip(text []byte) []byte {
	const most = 200
	return text[:min(len(text), most)]
}
