package client

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// chunk is how many items of a list a worker decodes at a time.
const chunk = 32

// message is what generated types have that travel as protobuf.
type message interface {
	Reset()
	Unmarshal(data []byte) error
}

// form is how the objects of one kind travel.
type form struct {
	binary bool   // both Go types can be read from protobuf
	items  uint64 // the number of the list's field for its items, in protobuf
	as     string // "PartialObjectMetadata" if the server is to transform them to that
}

// formOf looks at the Go types. A type that merely embeds one with protobuf methods
// would lose its other fields: the tags tell that they are its own.
func formOf[T, L any]() form {
	_, objectCan := any(new(T)).(message)
	_, listCan := any(new(L)).(message)
	if !objectCan || !listCan || tagNumber[T]("ObjectMeta") == 0 {
		return form{}
	}
	items := tagNumber[L]("Items")
	return form{binary: items != 0, items: items}
}

// tagNumber is the number of a struct's field in protobuf, or 0.
func tagNumber[S any](name string) uint64 {
	of := reflect.TypeFor[S]()
	if of.Kind() != reflect.Struct {
		return 0
	}
	found, _ := of.FieldByName(name)
	parts := strings.Split(found.Tag.Get("protobuf"), ",")
	if len(found.Index) != 1 || len(parts) < 2 || parts[0] != "bytes" {
		return 0
	}
	number, _ := strconv.ParseUint(parts[1], 10, 29)
	return number
}

// accept is the header for objects, or for lists if suffix is "List".
func (f form) accept(suffix string) string {
	transform := ""
	if f.as != "" {
		transform = ";as=" + f.as + suffix + ";g=" + metav1.GroupName + ";v=v1"
	}
	if !f.binary {
		return mediaJSON + transform
	}
	return mediaProtobuf + transform + "," + mediaJSON + transform
}

// wanted is the type that an answer has to have.
func (f form) wanted(apiVersion, kind, suffix string) envelope {
	if f.as != "" {
		return envelope{apiVersion: metav1.SchemeGroupVersion.String(), kind: f.as + suffix}
	}
	return envelope{apiVersion: apiVersion, kind: kind}
}

// payload is an object's or a list's bytes.
type payload struct {
	body   []byte
	binary bool
}

// into decodes what want says into target.
func (p payload) into(target any, want envelope) error {
	return p.with(target, want, func(into message, raw []byte) error { return into.Unmarshal(raw) })
}

// intoList is into for lists. Those with many items are decoded by several
// goroutines: it takes 60 µs a pod.
func intoList[T, L any](p payload, list *L, want envelope, itemsField uint64) error {
	return p.with(list, want, func(into message, raw []byte) error {
		target, err := itemsOf[T](list)
		if err != nil {
			return err
		}
		encoded, rest, err := splitItems(raw, itemsField)
		if err != nil {
			return err
		}
		if err := into.Unmarshal(rest); err != nil {
			return err
		}
		if len(encoded) == 0 {
			return nil
		}
		items := make([]T, len(encoded))
		if err := decodeItems(encoded, items); err != nil {
			return err
		}
		*target = items
		return nil
	})
}

// with decodes a payload, protobuf by way of binary, and checks what it is.
func (p payload) with(target any, want envelope, binary func(into message, raw []byte) error) error {
	object := target.(kruntime.Object) // ObjectOf and ListOf say so
	var err error
	if p.binary {
		err = p.open(object, want, binary)
	} else {
		err = utiljson.Unmarshal(p.body, target)
	}
	is := object.GetObjectKind().GroupVersionKind()
	if is.Kind != want.kind || is.GroupVersion().String() != want.apiVersion {
		shown := "" // JSON tells more about what answered
		if !p.binary {
			shown = ": " + excerpt(p.body)
		} else if err != nil {
			shown = ": " + err.Error()
		}
		return fmt.Errorf("want %s of %s, got %q of %q (is this KRM's address?)%s", want.kind, want.apiVersion, is.Kind, is.GroupVersion(), shown)
	}
	if err != nil {
		return fmt.Errorf("decode the %s: %w", want.kind, err)
	}
	return nil
}

// open decodes protobuf. An object of another kind than is wanted is not decoded.
func (p payload) open(target kruntime.Object, want envelope, decode func(into message, raw []byte) error) error {
	into, can := target.(message)
	if !can {
		return fmt.Errorf("it is protobuf, which %T does not read", target)
	}
	opened, err := openEnvelope(p.body)
	if err != nil {
		return err
	}
	if opened.kind == want.kind && opened.apiVersion == want.apiVersion {
		into.Reset()
		err = decode(into, opened.raw)
	}
	target.GetObjectKind().SetGroupVersionKind(schema.FromAPIVersionAndKind(opened.apiVersion, opened.kind))
	return err
}

// itemsOf points to a list's items.
func itemsOf[T, L any](list *L) (*[]T, error) {
	pointer, err := meta.GetItemsPtr(any(list).(kruntime.Object)) // ListOf says so
	if err != nil {
		return nil, err
	}
	items, ok := pointer.(*[]T)
	if !ok {
		return nil, fmt.Errorf("%T: its Items are %T, want %T", list, pointer, items)
	}
	return items, nil
}

// decodeItems decodes encoded[i] into items[i] for all i.
func decodeItems[T any](encoded [][]byte, items []T) error {
	workers := min(runtime.GOMAXPROCS(0), (len(encoded)+chunk-1)/chunk)
	if workers <= 1 {
		return decodeRange(encoded, items)
	}
	var next atomic.Int64
	faults := make([]error, workers)
	var working sync.WaitGroup
	for worker := range workers {
		working.Go(func() {
			for faults[worker] == nil {
				end := int(next.Add(chunk))
				begin := end - chunk
				if begin >= len(encoded) {
					return
				}
				end = min(end, len(encoded))
				faults[worker] = decodeRange(encoded[begin:end], items[begin:end])
			}
		})
	}
	working.Wait()
	return errors.Join(faults...)
}

func decodeRange[T any](encoded [][]byte, items []T) error {
	for i, item := range encoded {
		if err := any(&items[i]).(message).Unmarshal(item); err != nil { // formOf has seen that it can
			return err
		}
	}
	return nil
}
