package kubeapi

import (
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
		e.cells = newClock(e.resource(), e.root.Columns)
	}
	e.cells.now = time.Now() // a watch lives long
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
