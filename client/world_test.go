package client_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/framer"
	"k8s.io/client-go/kubernetes/scheme"
)

const (
	mediaJSON     = "application/json"
	mediaProtobuf = "application/vnd.kubernetes.protobuf"
)

// encode is what an API server would send: Kubernetes' own encoders make it.
func encode(t testing.TB, media string, object runtime.Object) []byte {
	t.Helper()
	object = object.DeepCopyObject()
	if kinds, _, err := scheme.Scheme.ObjectKinds(object); err == nil {
		object.GetObjectKind().SetGroupVersionKind(kinds[0])
	}
	if media == mediaJSON {
		body, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	var body bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(object, &body); err != nil {
		t.Fatal(err)
	}
	return body.Bytes()
}

// encodeEvent is one frame of a watch.
func encodeEvent(t testing.TB, media, kind string, object runtime.Object) []byte {
	t.Helper()
	event := &metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: encode(t, media, object)}}
	if media == mediaJSON {
		body, err := json.Marshal(event)
		if err != nil {
			t.Fatal(err)
		}
		return append(body, '\n')
	}
	var raw, framed bytes.Buffer
	if err := protobuf.NewRawSerializer(scheme.Scheme, scheme.Scheme).Encode(event, &raw); err != nil {
		t.Fatal(err)
	}
	if _, err := framer.NewLengthDelimitedFrameWriter(&framed).Write(raw.Bytes()); err != nil {
		t.Fatal(err)
	}
	return framed.Bytes()
}

// answerOf is what a server says to one request.
func answerOf(code int, media string, body io.Reader) *http.Response {
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {media}}, Body: io.NopCloser(body)}
}

// bestOf is the media type that a server with protobuf chooses.
func bestOf(request *http.Request) string {
	if strings.HasPrefix(request.Header.Get("Accept"), mediaProtobuf) {
		return mediaProtobuf
	}
	return mediaJSON
}

func expired() *metav1.Status {
	return &metav1.Status{Status: "Failure", Reason: metav1.StatusReasonExpired, Code: http.StatusGone, Message: "too old"}
}
