package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// acceptTable asks for the columns that kubectl shows, and takes the plain
// objects from a server that has none.
const acceptTable = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

// newTableWriter aligns columns as kubectl does.
func newTableWriter(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 6, 4, 3, ' ', 0) }

// decodeTable reads a Table, or makes one with NAME and AGE of a plain object or list.
func decodeTable(body []byte, now time.Time) (*metav1.Table, error) {
	var is metav1.TypeMeta
	if err := utiljson.Unmarshal(body, &is); err != nil {
		return nil, fmt.Errorf("decode the answer: %w", err)
	}
	if is.Kind == "Table" && strings.HasPrefix(is.APIVersion, "meta.k8s.io/") {
		table := new(metav1.Table)
		if err := utiljson.Unmarshal(body, table); err != nil {
			return nil, fmt.Errorf("decode the table: %w", err)
		}
		return table, nil
	}
	return plainTable(body, now)
}

func plainTable(body []byte, now time.Time) (*metav1.Table, error) {
	list, err := decodeItems(body)
	if err != nil {
		return nil, err
	}
	table := &metav1.Table{ColumnDefinitions: []metav1.TableColumnDefinition{{Name: "Name"}, {Name: "Age"}}}
	for _, item := range list.Items {
		var object metav1.PartialObjectMetadata
		if err := utiljson.Unmarshal(item, &object); err != nil {
			return nil, fmt.Errorf("decode an object: %w", err)
		}
		row := metav1.TableRow{Cells: []any{object.Name, age(object.CreationTimestamp.Time, now)}}
		row.Object.Raw = item
		table.Rows = append(table.Rows, row)
	}
	return table, nil
}

// age is how long ago at was, as kubectl writes it.
func age(at, now time.Time) string {
	if at.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(max(0, now.Sub(at)))
}

// tableStyle says what of a table is shown.
type tableStyle struct {
	wide       bool // columns of any priority
	namespaces bool // a first column with each object's namespace
}

// printTable writes table as kubectl does.
func printTable(w io.Writer, table *metav1.Table, style tableStyle) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	aligned := newTableWriter(buffered)
	fmt.Fprintln(aligned, strings.Join(headings(table, style), "\t"))
	for _, row := range table.Rows {
		cells, err := cellsOf(table, row, style)
		if err != nil {
			return err
		}
		fmt.Fprintln(aligned, strings.Join(cells, "\t"))
	}
	return errors.Join(aligned.Flush(), buffered.Flush())
}

func headings(table *metav1.Table, style tableStyle) []string {
	var names []string
	if style.namespaces {
		names = append(names, "NAMESPACE")
	}
	for _, column := range table.ColumnDefinitions {
		if style.wide || column.Priority == 0 {
			names = append(names, strings.ToUpper(column.Name))
		}
	}
	return names
}

func cellsOf(table *metav1.Table, row metav1.TableRow, style tableStyle) ([]string, error) {
	var cells []string
	if style.namespaces {
		var object metav1.PartialObjectMetadata
		if err := json.Unmarshal(row.Object.Raw, &object); err != nil {
			return nil, fmt.Errorf("decode the object of a table's row: %w", err)
		}
		cells = append(cells, object.Namespace)
	}
	for i, column := range table.ColumnDefinitions {
		if !style.wide && column.Priority != 0 {
			continue
		}
		var value any
		if i < len(row.Cells) { // a server may send fewer
			value = row.Cells[i]
		}
		cells = append(cells, cellText(value))
	}
	return cells, nil
}

// cellText is a cell on one line, without what would steer the terminal.
func cellText(value any) string {
	if value == nil {
		return ""
	}
	text := fmt.Sprint(value)
	if end := strings.IndexAny(text, "\f\n\r"); end >= 0 {
		text = text[:end] + "..."
	}
	return strings.NewReplacer("\x1b", "^[", "\t", " ", "\v", " ").Replace(text)
}
