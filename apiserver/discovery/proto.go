package discovery

import (
	"bytes"
	"encoding/json"
	"fmt"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"
	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

// discoveryProto makes Kubernetes' protobuf of one of discovery's documents.
func discoveryProto(value []byte) ([]byte, error) {
	var meta metav1.TypeMeta
	if err := json.Unmarshal(value, &meta); err != nil {
		return nil, err
	}
	var o runtime.Object
	switch meta.Kind {
	case "APIVersions":
		o = &metav1.APIVersions{}
	case "APIGroupList":
		o = &metav1.APIGroupList{}
	case "APIGroup":
		o = &metav1.APIGroup{}
	case "APIResourceList":
		o = &metav1.APIResourceList{}
	case "APIGroupDiscoveryList":
		o = &apidiscovery.APIGroupDiscoveryList{}
	default:
		return nil, fmt.Errorf("kind %q has no protobuf", meta.Kind)
	}
	if err := json.Unmarshal(value, o); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := protobuf.NewSerializer(nil, nil).Encode(o, &b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func openAPIv2Proto(value []byte) ([]byte, error) {
	document, err := openapi_v2.ParseDocument(value)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(document)
}

func openAPIv3Proto(value []byte) ([]byte, error) {
	document, err := openapi_v3.ParseDocument(value)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(document)
}
