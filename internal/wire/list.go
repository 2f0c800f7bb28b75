package wire

// A protobuf list is AppendListHead, for each item AppendItemHead and the item's
// message, and ListTail. Its length is ListLength, where itemsLength is the sum
// of ItemLength over all items.
//
// A JSON list is AppendListHeadJSON, the items separated by commas, and
// AppendListTailJSON.

// ListTail ends every list in protobuf.
const ListTail = unknownTail

// AppendListHead writes what stands before the first item in protobuf.
func (c *Codec) AppendListHead(dst []byte, meta ListMeta, itemsLength int) []byte {
	message := meta.message()
	dst = c.list.appendHead(dst, fieldLength(len(message))+itemsLength)
	dst = appendLength(append(dst, tagFirst), len(message))
	return append(dst, message...)
}

// ListLength is that of a whole list in protobuf.
func (c *Codec) ListLength(meta ListMeta, itemsLength int) int {
	return c.list.length(fieldLength(len(meta.message())) + itemsLength)
}

// AppendItemHead writes what stands before an item's message of length bytes.
func AppendItemHead(dst []byte, length int) []byte {
	return appendLength(append(dst, tagSecond), length)
}

// ItemLength is that of an item with its head, for a message of length bytes.
func ItemLength(length int) int { return fieldLength(length) }

// AppendListHeadJSON writes what stands before the first item in JSON. Lists of
// custom resources have their keys in alphabetical order, so that the metadata
// comes behind the items.
func (c *Codec) AppendListHeadJSON(dst []byte, meta ListMeta) []byte {
	if !c.builtIn {
		dst = appendString(append(dst, `{"apiVersion":`...), c.apiVersion)
		return append(dst, `,"items":[`...)
	}
	dst = appendString(append(dst, `{"kind":`...), c.kind+"List")
	dst = appendString(append(dst, `,"apiVersion":`...), c.apiVersion)
	dst = meta.appendJSON(append(dst, `,"metadata":`...))
	return append(dst, `,"items":[`...)
}

// AppendListTailJSON writes what stands behind the last item in JSON.
func (c *Codec) AppendListTailJSON(dst []byte, meta ListMeta) []byte {
	if !c.builtIn {
		dst = appendString(append(dst, `],"kind":`...), c.kind+"List")
		dst = meta.appendSortedJSON(append(dst, `,"metadata":`...))
		return append(dst, "}\n"...)
	}
	return append(dst, "]}\n"...)
}
