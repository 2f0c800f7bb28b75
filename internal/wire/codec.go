package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	kjson "sigs.k8s.io/json"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// ErrNoProtobuf comes when an object has no protobuf form that keeps all of its
// fields: its kind is not built in, or its server knows fields that we do not.
// Serve such an object as JSON.
var ErrNoProtobuf = errors.New("no protobuf form keeps all fields")

// Codec knows the forms of one kind of object. It never changes after New; any
// number of goroutines may use it.
type Codec struct {
	apiVersion, kind string
	builtIn          bool         // kube-apiserver has a Go type for it
	typed            reflect.Type // ours; nil if we have none
	metadata         bool         // objects are PartialObjectMetadata
	item             string       // how bodies begin whose kind is cut off in lists
	one, list        envelope
}

// NewCodec returns the codec of the resource's whole objects. It needs Group,
// Version and Kind.
func NewCodec(r object.Resource) *Codec {
	c := newCodec(r.GroupVersion(), r.Kind)
	kind := schema.GroupVersionKind{Group: r.Group, Version: r.Version, Kind: r.Kind}
	if o, err := scheme.Scheme.New(kind); err == nil {
		if _, ok := o.(message); ok {
			c.typed = reflect.TypeOf(o).Elem()
		}
	}
	// Two groups of kube-apiserver have their types outside k8s.io/api.
	c.builtIn = c.typed != nil || r.Group == "apiextensions.k8s.io" || r.Group == "apiregistration.k8s.io"
	if c.builtIn {
		c.item = `{"kind":"` + r.Kind + `","apiVersion":"` + r.GroupVersion() + `",`
	}
	return c
}

// NewMetadataCodec returns the codec of any resource's objects as
// PartialObjectMetadata of meta.k8s.io/v1.
func NewMetadataCodec() *Codec {
	c := newCodec(metav1.SchemeGroupVersion.String(), "PartialObjectMetadata")
	c.metadata, c.builtIn = true, true
	return c
}

func newCodec(apiVersion, kind string) *Codec {
	return &Codec{
		apiVersion: apiVersion, kind: kind,
		one: newEnvelope(apiVersion, kind), list: newEnvelope(apiVersion, kind+"List"),
	}
}

// message is what every type of k8s.io/api can do.
type message interface {
	runtime.Object
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
}

// Typed says that objects have a protobuf form: the kind is built into
// Kubernetes and we have its Go type, or only metadata is asked for.
func (c *Codec) Typed() bool { return c.typed != nil || c.metadata }

// Item returns where in text, an object as JSON returned, the part begins that a
// list's item has: the item is "{" and text[offset:]. Items of built-in kinds
// have neither kind nor apiVersion in kube-apiserver's lists; those of custom
// resources and of PartialObjectMetadataList keep them. Nothing is decoded.
func (c *Codec) Item(text []byte) (offset int) {
	if c.item != "" && len(text) > len(c.item) && string(text[:len(c.item)]) == c.item {
		return len(c.item)
	}
	return 1
}

// JSON returns the object of body in the codec's form: body itself, or a new
// PartialObjectMetadata.
func (c *Codec) JSON(body []byte) ([]byte, error) {
	if !c.metadata {
		return body, nil
	}
	start, end, err := MetadataSpan(body)
	if err != nil {
		return nil, err
	}
	return MetadataJSON(body[start:end]), nil
}

// Protobuf returns the object of body as a protobuf message without envelope, as
// kube-apiserver would store and send it, or ErrNoProtobuf. Nothing is lost: the
// decoding refuses fields that the Go type lacks, fields that stand twice and
// values that do not fit; every field of our types has a protobuf field (a test
// looks at each). What protobuf cannot tell apart, an absent list or map from an
// empty one, kube-apiserver's own protobuf does not tell apart either.
//
// It decodes the whole body: 130 µs for a pod of 5 KB.
func (c *Codec) Protobuf(body []byte) ([]byte, error) {
	switch {
	case c.metadata:
		start, end, err := MetadataSpan(body)
		if err != nil {
			return nil, err
		}
		return MetadataProtobuf(body[start:end])
	case c.typed == nil:
		return nil, fmt.Errorf("%w: %s of %s is not built in", ErrNoProtobuf, c.kind, c.apiVersion)
	}
	o := reflect.New(c.typed).Interface().(message)
	if err := decodeStrictly(body, o); err != nil {
		return nil, err
	}
	if apiVersion, kind := o.GetObjectKind().GroupVersionKind().ToAPIVersionAndKind(); apiVersion != c.apiVersion || kind != c.kind {
		return nil, fmt.Errorf("%w: body is %s of %q, want %s of %s", ErrNoProtobuf, kind, apiVersion, c.kind, c.apiVersion)
	}
	return marshal(o)
}

// decodeStrictly decodes text and refuses all that would be lost.
func decodeStrictly(text []byte, into any) error {
	strict, err := kjson.UnmarshalStrict(text, into)
	if err == nil {
		err = errors.Join(strict...)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", ErrNoProtobuf, strings.ReplaceAll(err.Error(), "\n", ", "))
	}
	return nil
}

func marshal(m interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
},
) ([]byte, error) {
	data := make([]byte, m.Size())
	n, err := m.MarshalToSizedBuffer(data)
	if err != nil {
		return nil, fmt.Errorf("encode protobuf: %w", err)
	}
	return data[len(data)-n:], nil
}

// AppendObject writes one object's message in its envelope: a whole answer, or
// the object of a watch frame.
func (c *Codec) AppendObject(dst, message []byte) []byte { return c.one.append(dst, message) }

// ObjectLength is that of what AppendObject writes for a message of length bytes.
func (c *Codec) ObjectLength(length int) int { return c.one.length(length) }

// appendString writes text as kube-apiserver writes a string in JSON.
func appendString(dst []byte, text string) []byte {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic("BUG: marshal string: " + err.Error())
	}
	return append(dst, quoted...)
}
