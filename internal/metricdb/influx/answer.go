package influx

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// series is what an answer says of one series before its rows.
type series struct {
	name    string
	tags    metricdb.Tags // those grouped by, without empty ones
	columns []string
}

// cell is one value of a row.
type cell struct {
	kind kind
	bits int64
	text string
}

// row is the values of one row: good until the next one.
type row []cell

func (r row) null(i int) bool { return i >= len(r) || r[i].kind == nilKind }

// text returns a string, "" of anything else.
func (r row) text(i int) string {
	if i >= len(r) {
		return ""
	}
	return r[i].text
}

// int returns an integer, 0 of anything else.
func (r row) int(i int) int64 {
	if i >= len(r) || r[i].kind != intKind {
		return 0
	}
	return r[i].bits
}

// number returns a number with its own type.
func (r row) number(i int) metricdb.Value {
	switch {
	case i < len(r) && r[i].kind == floatKind:
		return metricdb.Value{Bits: r[i].bits, Float: true}
	default:
		return metricdb.Int(r.int(i))
	}
}

// value returns a number of a metric whose values are floats, or integers. A number of
// the other type, from another writer, is converted.
func (r row) value(i int, float bool) metricdb.Value {
	v := r.number(i)
	switch {
	case v.Float == float:
		return v
	case float:
		return metricdb.Float(float64(v.Bits))
	}
	return metricdb.Int(int64(v.Number()))
}

// total is a sum that the server made.
func (r row) total(i int) metricdb.Total {
	if v := r.number(i); v.Float {
		return metricdb.Total{Float: v.Number()}
	}
	return metricdb.Total{Int: r.int(i), Exact: true}
}

// errStop says that the receiver of rows has enough.
var errStop = errors.New("enough")

// answer reads answers, and yields their rows.
type answer struct {
	*unpacker
	yield func(*series, row) bool
	cells row
}

// readAnswer reads an answer to its end: a map per chunk, in which are results, in
// which are series, in which are rows.
func readAnswer(body io.Reader, yield func(*series, row) bool) error {
	a := &answer{unpacker: newUnpacker(body), yield: yield}
	for {
		head, err := a.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && head.kind != mapKind {
			err = errors.New("it is no MessagePack: want InfluxDB 1.8 or later")
		}
		if err == nil {
			err = a.fields(head.bits, map[string]func() error{"error": a.fault, "results": func() error { return a.each(a.result) }})
		}
		var said *serverError
		switch {
		case errors.Is(err, errStop):
			return nil
		case errors.As(err, &said):
			_, _ = io.CopyN(io.Discard, a.r, 1<<20) // a connection that is read to its end is used again
			return said
		case err != nil:
			return fault("read InfluxDB's answer", err)
		}
	}
}

// fields reads the fields of a map with n of them.
func (a *answer) fields(n int64, known map[string]func() error) error {
	for range n {
		_, name, err := a.want(textKind)
		if err != nil {
			return err
		}
		read := known[name]
		if read == nil {
			read = a.skip
		}
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}

// each reads the elements of an array.
func (a *answer) each(read func() error) error {
	n, _, err := a.want(arrayKind)
	for ; err == nil && n > 0; n-- {
		err = read()
	}
	return err
}

func (a *answer) fault() error {
	_, text, err := a.want(textKind)
	if err != nil {
		return err
	}
	return &serverError{text}
}

func (a *answer) result() error {
	n, _, err := a.want(mapKind)
	if err != nil {
		return err
	}
	return a.fields(n, map[string]func() error{"error": a.fault, "series": func() error { return a.each(a.series) }})
}

func (a *answer) series() error {
	n, _, err := a.want(mapKind)
	if err != nil {
		return err
	}
	one := &series{}
	return a.fields(n, map[string]func() error{
		"name": func() (err error) { _, one.name, err = a.want(textKind); return err },
		"tags": func() error { return a.tags(one) },
		"columns": func() error {
			return a.each(func() error {
				_, name, err := a.want(textKind)
				one.columns = append(one.columns, name)
				return err
			})
		},
		"values": func() error { return a.each(func() error { return a.row(one) }) },
	})
}

func (a *answer) tags(one *series) error {
	n, _, err := a.want(mapKind)
	for ; err == nil && n > 0; n-- {
		var key, value string
		if _, key, err = a.want(textKind); err == nil {
			_, value, err = a.want(textKind)
		}
		if value != "" {
			one.tags = append(one.tags, metrics.Label{Key: key, Value: value})
		}
	}
	slices.SortFunc(one.tags, func(a, b metrics.Label) int { return strings.Compare(a.Key, b.Key) })
	return err
}

func (a *answer) row(one *series) error {
	n, _, err := a.want(arrayKind)
	if err != nil {
		return err
	}
	a.cells = a.cells[:0]
	for range n {
		t, err := a.next()
		if err != nil {
			return broken(err)
		}
		if t.kind >= arrayKind {
			return fmt.Errorf("column %d of a row of %s is no value", len(a.cells), one.name)
		}
		a.cells = append(a.cells, cell{kind: t.kind, bits: t.bits, text: a.keep(t.text)})
	}
	if !a.yield(one, a.cells) {
		return errStop
	}
	return nil
}
