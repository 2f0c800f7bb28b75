package wire

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MetadataJSON returns a PartialObjectMetadata of meta.k8s.io/v1 with that
// metadata. Items of a PartialObjectMetadataList look the same, with their kind.
func MetadataJSON(metadata []byte) []byte {
	const head = `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":`
	text := make([]byte, 0, len(head)+len(metadata)+1)
	return append(append(append(text, head...), metadata...), '}')
}

// MetadataProtobuf returns the same as a protobuf message without envelope, or
// ErrNoProtobuf if the metadata has fields that we do not know.
func MetadataProtobuf(metadata []byte) ([]byte, error) {
	var partial metav1.PartialObjectMetadata
	if err := decodeStrictly(metadata, &partial.ObjectMeta); err != nil {
		return nil, err
	}
	return marshal(&partial)
}
