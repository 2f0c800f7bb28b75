package kube

import (
	"bytes"
	"errors"
)

// found is where the parts of one object's text are. All slices point into the
// scanned text and are valid as long as that is.
type found struct {
	text       []byte // the object from brace to brace
	kind       []byte
	apiVersion []byte
	namespace  []byte
	name       []byte
	uid        []byte
	version    []byte
	initialEnd bool   // annotated as the end of the initial events
	before     []byte // text up to metadata.managedFields, all of it if there are none
	after      []byte // text behind metadata.managedFields
	cells      []byte // of the row that the object stands in

	columns []byte // a Table's columnDefinitions; nil if null or absent
	rows    []byte // a Table's rows, unless row is set
	row     *found // if set, a Table's only row is found at once, and put here
	items   []byte // a list's items

	continueToken []byte // a list's metadata.continue
	remaining     []byte // a list's metadata.remainingItemCount

	seen           part
	cutFrom, cutTo int // the managedFields and one comma, in the scanner's data
}

// part names what may stand in an object only once: a second one would leave
// open which of them holds.
type part uint32

const (
	partType part = 1 << iota
	partObject
	partCells
	partKind
	partAPIVersion
	partMetadata
	partColumns
	partRows
	partItems
	partNamespace
	partName
	partUID
	partVersion
	partAnnotations
	partManagedFields
	partContinue
	partRemaining
)

var errTwice = errors.New("malformed object: a member that names it stands twice")

// once marks p as seen and refuses it if it was before.
func (f *found) once(p part) error {
	if f.seen&p != 0 {
		return errTwice
	}
	f.seen |= p
	return nil
}

// isTable says whether the object is a Table of meta.k8s.io. A custom resource
// may be of a kind Table, too, but not in that group.
func (f *found) isTable() bool {
	return string(f.kind) == "Table" && bytes.HasPrefix(f.apiVersion, []byte("meta.k8s.io/"))
}

// object goes over one object and finds its parts.
func (s *scanner) object(f *found) error {
	if err := s.enter('{'); err != nil {
		return err
	}
	start := s.pos - 1
	for first := true; ; first = false {
		key, done, err := s.member(first)
		if err != nil {
			return err
		}
		if done {
			break
		}
		if err := s.objectMember(f, key); err != nil {
			return err
		}
	}
	f.text = s.data[start:s.pos]
	f.before = f.text
	if f.cutTo > 0 {
		f.before, f.after = s.data[start:f.cutFrom], s.data[f.cutTo:s.pos]
	}
	return nil
}

func (s *scanner) objectMember(f *found, key []byte) error {
	switch string(key) {
	case "kind":
		return s.stringOnce(f, partKind, &f.kind)
	case "apiVersion":
		return s.stringOnce(f, partAPIVersion, &f.apiVersion)
	case "metadata":
		return s.metadata(f)
	case "columnDefinitions":
		return s.valueOnce(f, partColumns, &f.columns)
	case "rows":
		return s.rows(f)
	case "items":
		return s.valueOnce(f, partItems, &f.items)
	}
	return s.skip()
}

// rows goes over a Table's rows, and into the only one if it is asked for.
func (s *scanner) rows(f *found) error {
	if f.row == nil || !f.isTable() || s.peek() != '[' {
		return s.valueOnce(f, partRows, &f.rows)
	}
	if err := f.once(partRows); err != nil {
		return err
	}
	return s.onlyRow(f.row)
}

// onlyRow goes over an array of at most one row.
func (s *scanner) onlyRow(row *found) error {
	if err := s.enter('['); err != nil {
		return err
	}
	done, err := s.next(true, ']')
	if done || err != nil {
		return err
	}
	if err := s.row(row); err != nil {
		return err
	}
	done, err = s.next(false, ']')
	if err == nil && !done {
		return errors.New("an event of several rows")
	}
	return err
}

// stringOnce goes over a string that may stand only once.
func (s *scanner) stringOnce(f *found, p part, to *[]byte) (err error) {
	if err = f.once(p); err == nil {
		*to, err = s.stringValue()
	}
	return err
}

// valueOnce goes over a value that may stand only once; null counts as absent.
func (s *scanner) valueOnce(f *found, p part, to *[]byte) (err error) {
	if err = f.once(p); err == nil {
		*to, err = s.value()
	}
	return err
}

// metadata goes over an object's or a list's metadata.
func (s *scanner) metadata(f *found) error {
	if err := f.once(partMetadata); err != nil {
		return err
	}
	if s.peek() == 'n' {
		return s.literal("null")
	}
	if err := s.enter('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		key, done, err := s.member(first)
		if err != nil || done {
			return err
		}
		if err := s.metadataMember(f, key); err != nil {
			return err
		}
	}
}

func (s *scanner) metadataMember(f *found, key []byte) error {
	switch string(key) {
	case "namespace":
		return s.stringOnce(f, partNamespace, &f.namespace)
	case "name":
		return s.stringOnce(f, partName, &f.name)
	case "uid":
		return s.stringOnce(f, partUID, &f.uid)
	case "resourceVersion":
		return s.stringOnce(f, partVersion, &f.version)
	case "annotations":
		return s.annotations(f)
	case "managedFields":
		return s.managedFields(f)
	case "continue":
		return s.stringOnce(f, partContinue, &f.continueToken)
	case "remainingItemCount":
		return s.valueOnce(f, partRemaining, &f.remaining)
	}
	return s.skip()
}

// managedFields goes over them and remembers what to cut: the member with the
// comma before it or, if it is the first, the comma behind it.
func (s *scanner) managedFields(f *found) error {
	if err := f.once(partManagedFields); err != nil {
		return err
	}
	f.cutFrom = s.key
	comma := s.comma
	if err := s.skip(); err != nil {
		return err
	}
	if s.keep {
		f.cutFrom = 0
		return nil
	}
	f.cutTo = s.pos
	if comma >= 0 {
		f.cutFrom = comma
	} else if s.peek() == ',' {
		f.cutTo = s.pos + 1
	}
	return nil
}

// initialEventsEnd is the annotation by which a bookmark ends the initial events
// (metav1.InitialEventsAnnotationKey).
const initialEventsEnd = "k8s.io/initial-events-end"

func (s *scanner) annotations(f *found) error {
	if err := f.once(partAnnotations); err != nil {
		return err
	}
	if s.peek() == 'n' {
		return s.literal("null")
	}
	if err := s.enter('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		key, done, err := s.member(first)
		if err != nil || done {
			return err
		}
		if string(key) != initialEventsEnd {
			err = s.skip()
		} else {
			var value []byte
			value, err = s.stringValue()
			f.initialEnd = string(value) == "true"
		}
		if err != nil {
			return err
		}
	}
}

// row goes over one row of a Table and finds the parts of its object.
func (s *scanner) row(f *found) error {
	if err := s.enter('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		key, done, err := s.member(first)
		if err != nil || done {
			return err
		}
		switch string(key) {
		case "cells":
			err = s.valueOnce(f, partCells, &f.cells)
		case "object":
			if err = f.once(partObject); err == nil {
				err = s.object(f)
			}
		default:
			err = s.skip()
		}
		if err != nil {
			return err
		}
	}
}

// elements goes over an array of rows or objects and calls each for every one.
// What each was given is overwritten by the next.
func (s *scanner) elements(scan func(*scanner, *found) error, each func(*found) error) error {
	if err := s.enter('['); err != nil {
		return err
	}
	var f found
	for first := true; ; first = false {
		done, err := s.next(first, ']')
		if err != nil || done {
			return err
		}
		f = found{}
		if err := scan(s, &f); err != nil {
			return err
		}
		if err := each(&f); err != nil {
			return err
		}
	}
}
