package wire

import "k8s.io/apimachinery/pkg/watch"

// TableTail stands behind the last row of a Table.
const TableTail = "]}"

// AppendTableHead writes what stands before the first row of a Table of
// meta.k8s.io/v1. columns is the JSON array of column definitions; nil where they
// are known already, as from a watch's second event on.
func AppendTableHead(dst []byte, meta ListMeta, columns []byte) []byte {
	dst = append(dst, `{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":`...)
	dst = append(meta.appendJSON(dst), `,"columnDefinitions":`...)
	if columns == nil {
		columns = []byte("null")
	}
	return append(append(dst, columns...), `,"rows":[`...)
}

// AppendRow writes a row: cells is a JSON array, object what includeObject asked
// for, nil for None. Rows are separated by commas.
func AppendRow(dst, cells, object []byte) []byte {
	dst = append(append(dst, `{"cells":`...), cells...)
	if object == nil {
		object = []byte("null")
	}
	dst = append(append(dst, `,"object":`...), object...)
	return append(dst, '}')
}

// AppendTable writes a Table of one row, the object of a watch event.
func AppendTable(dst []byte, meta ListMeta, columns, cells, object []byte) []byte {
	dst = AppendRow(AppendTableHead(dst, meta, columns), cells, object)
	return append(dst, TableTail...)
}

// AppendBookmarkTable writes a BOOKMARK frame of a watch as Table. Its one row
// has no cells; c is the codec of the row's object, the metadata's codec unless
// the whole object was asked for. kube-apiserver puts the object's printed empty
// fields into the cells ("", "0/0", "<unknown>"), which nobody shows.
func (c *Codec) AppendBookmarkTable(dst []byte, b Bookmark, columns []byte) []byte {
	table := AppendTable(nil, ListMeta{Version: b.Version}, columns, []byte("[]"), c.BookmarkObject(b))
	return AppendFrameJSON(dst, watch.Bookmark, table)
}
