package kubeapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/wire"
)

// columnsOf is the JSON of the columns of a Table of root's objects.
func columnsOf(root *mirror.Root) []byte {
	known := root.Columns
	if len(known) == 0 { // the API server made none: cells are names
		known = []object.Column{{Name: "Name", Type: "string", Format: "name"}}
	}
	columns, err := json.Marshal(known)
	if err != nil {
		panic("BUG: marshal columns: " + err.Error())
	}
	return columns
}

// table writes a meta.k8s.io/v1 Table of the objects: the cells that the API server
// made, but for those that tell an age, which are of now. columns are nil where the
// client knows them.
func (e *encoder) table(t *text, meta wire.ListMeta, columns []byte, objects ...*mirror.Object) error {
	if e.cells == nil {
		e.cells = newClock(e.mirror.Root().Columns, time.Now())
	}
	b := wire.AppendTableHead(make([]byte, 0, 1024*len(objects)+4096), meta, columns)
	for i, o := range objects {
		if i > 0 {
			b = append(b, ',')
		}
		cells, err := e.cells.cells(o)
		if err != nil {
			return fmt.Errorf("write %v of %v as a table row: %w", o.Key, e.resource(), err)
		}
		b = append(append(b, `{"cells":`...), cells...)
		switch e.include {
		case metav1.IncludeObject:
			b = append(append(b, `,"object":`...), o.Body...)
		case metav1.IncludeNone:
			b = append(b, `,"object":null`...)
		default:
			b = append(append(append(b, `,"object":`+metadataHead...), o.Metadata()...), '}')
		}
		b = append(b, '}')
	}
	t.addBytes(append(b, wire.TableTail...))
	return nil
}

// clock rewrites the cells that tell how long ago something was. The API server
// made them when KRM saw the object; the age of the object itself is known exactly.
type clock struct {
	now    time.Time
	age    int   // the column of the object's age, -1 if there is none
	spans  []int // columns of type date: a span of time since something that the cells do not name
	memory []json.RawMessage
}

func newClock(columns []object.Column, now time.Time) *clock {
	c := &clock{now: now, age: -1}
	for i, column := range columns {
		switch {
		case column.Name == "Age":
			c.age = i
		case column.Type == "date":
			c.spans = append(c.spans, i)
		}
	}
	return c
}

// cells returns the row's cells with the times of now. An object without stored
// cells gets its name and nothing else.
func (c *clock) cells(o *mirror.Object) (json.RawMessage, error) {
	if len(o.Cells) == 0 {
		return json.Marshal([]string{o.Key.Name})
	}
	if c.age < 0 && len(c.spans) == 0 && !bytes.Contains(o.Cells, []byte(" ago)")) {
		return o.Cells, nil
	}
	c.memory = c.memory[:0]
	if err := json.Unmarshal(o.Cells, &c.memory); err != nil {
		return nil, err
	}
	elapsed := c.now.Sub(o.SeenAt)
	for i, cell := range c.memory {
		if bytes.Contains(cell, []byte(" ago)")) {
			c.memory[i] = agoSpan.ReplaceAllFunc(cell, func(span []byte) []byte {
				return []byte("(" + later(strings.TrimSuffix(string(span[1:]), " ago)"), elapsed) + " ago)")
			})
		}
	}
	for _, i := range c.spans {
		if i < len(c.memory) {
			c.memory[i] = json.RawMessage(strconv.Quote(later(strings.Trim(string(c.memory[i]), `"`), elapsed)))
		}
	}
	if c.age >= 0 && c.age < len(c.memory) {
		c.memory[c.age] = json.RawMessage(strconv.Quote(c.objectAge(o.Metadata())))
	}
	return json.Marshal(c.memory)
}

// objectAge is what kubectl shows as AGE.
func (c *clock) objectAge(metadata []byte) string {
	var created struct {
		CreationTimestamp time.Time `json:"creationTimestamp"`
	}
	if err := json.Unmarshal(metadata, &created); err != nil || created.CreationTimestamp.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(c.now.Sub(created.CreationTimestamp))
}

var (
	agoSpan  = regexp.MustCompile(`\((?:\d+[ydhms])+ ago\)`)
	spanUnit = regexp.MustCompile(`(\d+)([ydhms])`)
	units    = map[string]time.Duration{
		"y": 365 * 24 * time.Hour, "d": 24 * time.Hour, "h": time.Hour, "m": time.Minute, "s": time.Second,
	}
)

// later returns a span as kubectl writes it, such as "5m" or "2d3h", when elapsed
// more has gone by. What is no such span stays as it is. The span was rounded down
// when it was written, so the result may lag by its last unit.
func later(span string, elapsed time.Duration) string {
	var total time.Duration
	rest := spanUnit.ReplaceAllStringFunc(span, func(part string) string {
		n, err := strconv.Atoi(part[:len(part)-1])
		if err != nil {
			return part
		}
		total += time.Duration(n) * units[part[len(part)-1:]]
		return ""
	})
	if rest != "" || span == "" {
		return span
	}
	return duration.HumanDuration(total + max(0, elapsed))
}
