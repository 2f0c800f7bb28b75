package kubeapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// table answers with a meta.k8s.io/v1 Table: the cells that the API server made,
// but for those that tell an age, which are of now.
func (a *API) table(c *gin.Context, root *mirror.Root, objects []*mirror.Object, include metav1.IncludeObjectPolicy) error {
	known := root.Columns
	if len(known) == 0 { // the API server made none: cells below are names
		known = []object.Column{{Name: "Name", Type: "string", Format: "name"}}
	}
	columns, err := json.Marshal(known)
	if err != nil {
		return fmt.Errorf("write columns of %v: %w", root.Resource, err)
	}
	b := bytes.NewBufferString(`{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":`)
	fmt.Fprintf(b, `%q},"columnDefinitions":%s,"rows":[`, root.Freshness.Streamed, columns)
	clock := newClock(root.Columns, time.Now())
	for i, o := range objects {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := clock.row(b, o, include); err != nil {
			return fmt.Errorf("write %v of %v as a table row: %w", o.Key, root.Resource, err)
		}
	}
	b.WriteString("]}\n")
	a.send(c, b.Len(), func(p *pieces) { p.add(alias(b.Bytes())) })
	return nil
}

// includeObject reads the parameter of that name; "" is Metadata, as upstream.
func includeObject(text string) (metav1.IncludeObjectPolicy, error) {
	switch policy := metav1.IncludeObjectPolicy(text); policy {
	case "":
		return metav1.IncludeMetadata, nil
	case metav1.IncludeNone, metav1.IncludeMetadata, metav1.IncludeObject:
		return policy, nil
	}
	return "", BadRequest("parameter includeObject=%q: want None, Metadata or Object", text)
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

// row appends o as a row of the Table.
func (c *clock) row(b *bytes.Buffer, o *mirror.Object, include metav1.IncludeObjectPolicy) error {
	var body struct {
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := json.Unmarshal(o.Body, &body); err != nil {
		return err
	}
	cells, err := c.cells(o, body.Metadata)
	if err != nil {
		return err
	}
	b.WriteString(`{"cells":`)
	b.Write(cells)
	switch include {
	case metav1.IncludeObject:
		b.WriteString(`,"object":`)
		b.Write(o.Body)
	case metav1.IncludeMetadata:
		b.WriteString(`,"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":`)
		b.Write(body.Metadata)
		b.WriteByte('}')
	}
	b.WriteByte('}')
	return nil
}

// cells returns the row's cells with the times of now. An object without stored
// cells gets its name and nothing else.
func (c *clock) cells(o *mirror.Object, metadata []byte) (json.RawMessage, error) {
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
		c.memory[c.age] = json.RawMessage(strconv.Quote(c.objectAge(metadata)))
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
