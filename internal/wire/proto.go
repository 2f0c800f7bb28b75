package wire

import (
	"math/bits"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The tags of the few messages that are written here by hand: field number and
// wire type 2, a length and that many bytes. See generated.proto of
// k8s.io/apimachinery/pkg/runtime and pkg/apis/meta/v1.
const (
	tagFirst  = 1<<3 | 2 // Unknown.typeMeta, list.metadata, object.metadata, WatchEvent.type, RawExtension.raw
	tagSecond = 2<<3 | 2 // Unknown.raw, list.items, WatchEvent.object
)

// protobufMagic precedes every message that names its own kind.
const protobufMagic = "k8s\x00"

// unknownTail is Unknown's contentEncoding and contentType: empty, and written.
const unknownTail = "\x1a\x00\x22\x00"

// envelope is what stands before the raw message of one kind, up to its tag.
type envelope []byte

func newEnvelope(apiVersion, kind string) envelope {
	var meta []byte
	meta = appendField(meta, tagFirst, apiVersion)
	meta = appendField(meta, tagSecond, kind)
	return appendField([]byte(protobufMagic), tagFirst, string(meta))
}

// appendHead writes all that stands before a raw message of length bytes.
func (e envelope) appendHead(dst []byte, length int) []byte {
	dst = append(dst, e...)
	return appendLength(append(dst, tagSecond), length)
}

// length is that of a whole message around length bytes.
func (e envelope) length(length int) int {
	return len(e) + fieldLength(length) + len(unknownTail)
}

func (e envelope) append(dst, message []byte) []byte {
	dst = e.appendHead(dst, len(message))
	dst = append(dst, message...)
	return append(dst, unknownTail...)
}

func appendField(dst []byte, tag byte, text string) []byte {
	return append(appendLength(append(dst, tag), len(text)), text...)
}

// appendLength writes a varint.
func appendLength(dst []byte, length int) []byte {
	v := uint64(length)
	for ; v >= 0x80; v >>= 7 {
		dst = append(dst, byte(v)|0x80)
	}
	return append(dst, byte(v))
}

// fieldLength is that of a field of length bytes with its tag and length.
func fieldLength(length int) int {
	return 1 + (bits.Len64(uint64(length)|1)+6)/7 + length
}

// ListMeta is what a list says of itself.
type ListMeta struct {
	Version   string // the list's resourceVersion
	Continue  string // "" on the last page
	Remaining *int64 // how many items follow this page; nil if unknown or none
}

// message is the ListMeta as protobuf.
func (m ListMeta) message() []byte {
	list := metav1.ListMeta{ResourceVersion: m.Version, Continue: m.Continue, RemainingItemCount: m.Remaining}
	data, err := list.Marshal()
	if err != nil {
		panic("BUG: marshal ListMeta: " + err.Error())
	}
	return data
}

// appendJSON writes the ListMeta as a built-in kind's list has it.
func (m ListMeta) appendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	comma := ""
	if m.Version != "" {
		dst, comma = appendString(append(dst, `"resourceVersion":`...), m.Version), ","
	}
	if m.Continue != "" {
		dst, comma = appendString(append(append(dst, comma...), `"continue":`...), m.Continue), ","
	}
	if m.Remaining != nil {
		dst = strconv.AppendInt(append(append(dst, comma...), `"remainingItemCount":`...), *m.Remaining, 10)
	}
	return append(dst, '}')
}

// appendSortedJSON writes the ListMeta as a custom resource's list has it.
func (m ListMeta) appendSortedJSON(dst []byte) []byte {
	dst = appendString(append(dst, `{"continue":`...), m.Continue)
	if m.Remaining != nil {
		dst = strconv.AppendInt(append(dst, `,"remainingItemCount":`...), *m.Remaining, 10)
	}
	return append(appendString(append(dst, `,"resourceVersion":`...), m.Version), '}')
}
