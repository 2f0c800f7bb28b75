package wire

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// StatusJSON returns a Status with its kind, as kube-apiserver answers errors.
func StatusJSON(status metav1.Status) []byte {
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	text, err := json.Marshal(status)
	if err != nil {
		panic("BUG: marshal Status: " + err.Error())
	}
	return text
}

// StatusProtobuf returns a Status in its envelope, for clients that asked for
// protobuf: kube-apiserver answers errors in the negotiated form too.
func StatusProtobuf(status metav1.Status) []byte {
	message, err := marshal(&status)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return newEnvelope("v1", "Status").append(nil, message)
}

// AppendErrorJSON writes an ERROR frame in JSON; the watch ends behind it.
func AppendErrorJSON(dst []byte, status metav1.Status) []byte {
	return AppendFrameJSON(dst, watch.Error, StatusJSON(status))
}

// AppendErrorProtobuf writes an ERROR frame in protobuf; the watch ends behind it.
func AppendErrorProtobuf(dst []byte, status metav1.Status) []byte {
	return AppendFrameProtobuf(dst, watch.Error, StatusProtobuf(status))
}
