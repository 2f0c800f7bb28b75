package wire

import (
	"encoding/binary"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// FrameTailJSON stands behind the object of a watch frame in JSON.
const FrameTailJSON = "}\n"

// AppendFrameHeadJSON writes what stands before the object of a watch frame in
// JSON, so that one encoding of the object serves all watchers.
func AppendFrameHeadJSON(dst []byte, eventType watch.EventType) []byte {
	dst = append(append(dst, `{"type":"`...), eventType...)
	return append(dst, `","object":`...)
}

// AppendFrameJSON writes a whole watch frame around an object's JSON.
func AppendFrameJSON(dst []byte, eventType watch.EventType, object []byte) []byte {
	dst = append(AppendFrameHeadJSON(dst, eventType), object...)
	return append(dst, FrameTailJSON...)
}

// AppendFrameHeadProtobuf writes what stands before the enveloped object, of
// length bytes, of a frame of application/vnd.kubernetes.protobuf;stream=watch:
// the frame's length, and a metav1.WatchEvent up to its object's bytes. Nothing
// stands behind the object.
func AppendFrameHeadProtobuf(dst []byte, eventType watch.EventType, length int) []byte {
	raw := fieldLength(length)
	event := fieldLength(len(eventType)) + fieldLength(raw)
	dst = binary.BigEndian.AppendUint32(dst, uint32(event))
	dst = appendField(dst, tagFirst, string(eventType))
	dst = appendLength(append(dst, tagSecond), raw)
	return appendLength(append(dst, tagFirst), length)
}

// AppendFrameProtobuf writes a whole frame around an object that AppendObject made.
func AppendFrameProtobuf(dst []byte, eventType watch.EventType, enveloped []byte) []byte {
	return append(AppendFrameHeadProtobuf(dst, eventType, len(enveloped)), enveloped...)
}

// Bookmark says that a watch has delivered everything up to Version.
type Bookmark struct {
	Version          string
	InitialEventsEnd bool // and that the initial events end here
}

// metadata is all that a bookmark's object has. kube-apiserver sends an object of
// the kind with the type's empty fields besides ("spec":{"containers":null} and
// the like); no client reads them, and some that check what they decode do not
// take them. Informers need the kind, the version and the annotation.
func (b Bookmark) metadata() metav1.ObjectMeta {
	meta := metav1.ObjectMeta{ResourceVersion: b.Version}
	if b.InitialEventsEnd {
		meta.Annotations = map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	}
	return meta
}

// appendMetadataJSON writes the metadata with its keys in alphabetical order.
func (b Bookmark) appendMetadataJSON(dst []byte) []byte {
	dst = append(dst, '{')
	if b.InitialEventsEnd {
		dst = append(dst, `"annotations":{"`+metav1.InitialEventsAnnotationKey+`":"true"},`...)
	}
	return append(appendString(append(dst, `"resourceVersion":`...), b.Version), '}')
}

// BookmarkObject returns the object of a bookmark in JSON.
func (c *Codec) BookmarkObject(b Bookmark) []byte {
	text := appendString([]byte(`{"kind":`), c.kind)
	text = appendString(append(text, `,"apiVersion":`...), c.apiVersion)
	text = b.appendMetadataJSON(append(text, `,"metadata":`...))
	return append(text, '}')
}

// AppendBookmarkJSON writes a BOOKMARK frame in JSON.
func (c *Codec) AppendBookmarkJSON(dst []byte, b Bookmark) []byte {
	return AppendFrameJSON(dst, watch.Bookmark, c.BookmarkObject(b))
}

// AppendBookmarkProtobuf writes a BOOKMARK frame in protobuf. The metadata is the
// first field of every kind.
func (c *Codec) AppendBookmarkProtobuf(dst []byte, b Bookmark) []byte {
	message, err := marshal(&metav1.PartialObjectMetadata{ObjectMeta: b.metadata()})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return AppendFrameProtobuf(dst, watch.Bookmark, c.AppendObject(nil, message))
}
