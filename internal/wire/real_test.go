package wire

import (
	"bytes"
	"fmt"
	"math/rand"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/meta"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// These tests hold what this package writes against what apimachinery's own
// serializers, those of kube-apiserver, write for the same objects.

func encodeJSON(t testing.TB, o runtime.Object) []byte {
	t.Helper()
	var out bytes.Buffer
	s := kjson.NewSerializerWithOptions(kjson.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, kjson.SerializerOptions{StreamingCollectionsEncoding: true})
	if err := s.Encode(o, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func encodeProtobuf(t testing.TB, o runtime.Object) []byte {
	t.Helper()
	var out bytes.Buffer
	s := protobuf.NewSerializerWithOptions(scheme.Scheme, scheme.Scheme, protobuf.SerializerOptions{StreamingCollectionsEncoding: true})
	if err := s.Encode(o, &out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// listedKinds are the built-in kinds that have a list.
func listedKinds() (kinds []schema.GroupVersionKind) {
	for kind := range scheme.Scheme.AllKnownTypes() {
		list := kind.GroupVersion().WithKind(kind.Kind + "List")
		c := NewCodec(resourceOf(kind))
		if kind.Version == runtime.APIVersionInternal || !scheme.Scheme.Recognizes(list) || !c.Typed() {
			continue
		}
		if _, ok := c.typed.FieldByName("ObjectMeta"); ok {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// TestRandomObjects takes random objects of every kind the way of a body and
// compares objects, and lists of 0 to 3, in both forms.
func TestRandomObjects(t *testing.T) {
	const seed = 1
	fill := fuzzer.FuzzerFor(metafuzzer.Funcs, rand.NewSource(seed), scheme.Codecs)
	random := func(kind schema.GroupVersionKind) runtime.Object {
		o, err := scheme.Scheme.New(kind)
		if err != nil {
			t.Fatal(err)
		}
		fill.Fill(o)
		o.GetObjectKind().SetGroupVersionKind(kind)
		return o
	}
	kinds := listedKinds()
	if len(kinds) < 100 {
		t.Fatalf("%d kinds", len(kinds))
	}
	for _, kind := range kinds {
		for count := range 4 {
			var objects []runtime.Object
			for range count {
				objects = append(objects, random(kind))
			}
			compareList(t, kind, objects)
			if t.Failed() {
				return
			}
		}
	}
}

func compareList(t *testing.T, kind schema.GroupVersionKind, objects []runtime.Object) {
	t.Helper()
	c := NewCodec(resourceOf(kind))
	listMeta, items, messages := ListMeta{Version: "17"}, [][]byte{}, [][]byte{}
	if len(objects) > 1 {
		remaining := int64(len(objects))
		listMeta.Continue, listMeta.Remaining = `a<token>"`, &remaining
	}
	list, err := scheme.Scheme.New(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err != nil {
		t.Fatal(err)
	}
	var bare []runtime.Object // items in typed lists have no kind
	for _, o := range objects {
		body := bytes.TrimSpace(encodeJSON(t, o))
		message, err := c.Protobuf(body)
		if err != nil {
			t.Fatalf("%v: %v\n%s", kind, err, body)
		}
		// What JSON does not say (nanoseconds, say) no body holds.
		o = decodeJSON(t, body)
		if !bytes.Equal(c.AppendObject(nil, message), encodeProtobuf(t, o)) {
			t.Errorf("%v: other protobuf than kube-apiserver's for %s", kind, body)
		}
		items = append(items, append([]byte("{"), body[c.Item(body):]...))
		messages = append(messages, message)
		o.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
		bare = append(bare, o)
	}
	setList(t, list, listMeta, bare)
	list.GetObjectKind().SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if got, want := jsonList(c, listMeta, items), encodeJSON(t, list); !bytes.Equal(got, want) {
		t.Errorf("%v: JSON list is\n%s, want\n%s", kind, got, want)
	}
	got := protobufList(t, c, listMeta, messages)
	if want := encodeProtobuf(t, list); !bytes.Equal(got, want) {
		t.Errorf("%v: other protobuf list of %d", kind, len(messages))
	}
	if decoded, _, err := realSerializer().Decode(got, nil, nil); err != nil || meta.LenList(decoded) != len(objects) {
		t.Errorf("%v: %d items, %v", kind, meta.LenList(decoded), err)
	}
}

func decodeJSON(t testing.TB, body []byte) runtime.Object {
	t.Helper()
	o, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func setList(t *testing.T, list runtime.Object, listMeta ListMeta, items []runtime.Object) {
	t.Helper()
	if items == nil {
		items = []runtime.Object{}
	}
	if err := meta.SetList(list, items); err != nil {
		t.Fatal(err)
	}
	access, err := meta.ListAccessor(list)
	if err != nil {
		t.Fatal(err)
	}
	access.SetResourceVersion(listMeta.Version)
	access.SetContinue(listMeta.Continue)
	access.SetRemainingItemCount(listMeta.Remaining)
}

func jsonList(c *Codec, meta ListMeta, items [][]byte) []byte {
	list := append(c.AppendListHeadJSON(nil, meta), bytes.Join(items, []byte(","))...)
	return c.AppendListTailJSON(list, meta)
}

func protobufList(t *testing.T, c *Codec, meta ListMeta, messages [][]byte) []byte {
	t.Helper()
	length := 0
	for _, m := range messages {
		length += ItemLength(len(m))
	}
	list := c.AppendListHead(nil, meta, length)
	for _, m := range messages {
		list = append(AppendItemHead(list, len(m)), m...)
	}
	list = append(list, ListTail...)
	if len(list) != c.ListLength(meta, length) {
		t.Errorf("list is %d bytes, said %d", len(list), c.ListLength(meta, length))
	}
	return list
}

// TestLongLists is about lengths that take several bytes.
func TestLongLists(t *testing.T) {
	for _, size := range []int{0, 1, 100, 127, 128, 129, 16_000, 16_383, 16_384, 3_000_000} {
		o := decodeJSON(t, fmt.Appendf(nil, `{"kind":"ConfigMap","apiVersion":"v1","data":{"a":"%s"}}`, bytes.Repeat([]byte("x"), size)))
		compareList(t, schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, []runtime.Object{o, o})
	}
}

func TestCustomResourceLists(t *testing.T) {
	c := NewCodec(crResource)
	for count := range 3 {
		list := &unstructured.UnstructuredList{Object: map[string]any{}}
		var items [][]byte
		for i := range count {
			u := unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "example.com/v1", "kind": "Widget", "spec": map[string]any{"size": int64(i), "html": "<&>"},
				"metadata": map[string]any{"name": fmt.Sprint("w", i)},
			}}
			list.Items = append(list.Items, u)
			body := bytes.TrimSpace(encodeJSON(t, &u))
			items = append(items, append([]byte("{"), body[c.Item(body):]...))
		}
		list.SetAPIVersion("example.com/v1")
		list.SetKind("WidgetList")
		listMeta := ListMeta{Version: "9"}
		if count > 1 {
			remaining := int64(7)
			listMeta.Continue, listMeta.Remaining = "abc", &remaining
		}
		list.SetResourceVersion(listMeta.Version)
		list.SetContinue(listMeta.Continue)
		list.SetRemainingItemCount(listMeta.Remaining)
		if got, want := jsonList(c, listMeta, items), encodeJSON(t, list); !bytes.Equal(got, want) {
			t.Errorf("got\n%s, want\n%s", got, want)
		}
	}
}

// TestMetadata compares the metadata of random objects, alone and in lists.
func TestMetadata(t *testing.T) {
	fill := fuzzer.FuzzerFor(metafuzzer.Funcs, rand.NewSource(2), scheme.Codecs)
	c := NewMetadataCodec()
	for count := range 50 {
		list := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadataList", APIVersion: "meta.k8s.io/v1"}, Items: []metav1.PartialObjectMetadata{}}
		var items, messages [][]byte
		for range count % 5 {
			o, err := scheme.Scheme.New(schema.GroupVersionKind{Version: "v1", Kind: "Service"})
			if err != nil {
				t.Fatal(err)
			}
			fill.Fill(o)
			o.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Service"})
			body := bytes.TrimSpace(encodeJSON(t, o))
			access, err := meta.Accessor(decodeJSON(t, body))
			if err != nil {
				t.Fatal(err)
			}
			partial := meta.AsPartialObjectMetadata(access)
			partial.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("PartialObjectMetadata"))
			text, err := c.JSON(body)
			if want := bytes.TrimSpace(encodeJSON(t, partial)); err != nil || !bytes.Equal(text, want) {
				t.Fatalf("got %s, %v, want %s", text, err, want)
			}
			message, err := c.Protobuf(body)
			if err != nil || !bytes.Equal(c.AppendObject(nil, message), encodeProtobuf(t, partial)) {
				t.Fatalf("other protobuf for %s, %v", body, err)
			}
			list.Items = append(list.Items, *partial)
			items = append(items, append([]byte("{"), text[c.Item(text):]...))
			messages = append(messages, message)
		}
		list.ResourceVersion = "3"
		if got, want := jsonList(c, ListMeta{Version: "3"}, items), encodeJSON(t, list); !bytes.Equal(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
		got := protobufList(t, c, ListMeta{Version: "3"}, messages)
		if !bytes.Equal(got, encodeProtobuf(t, list)) {
			t.Errorf("other protobuf list of %d", len(messages))
		}
		// The metadata client decodes so: it looks at no kind within.
		var decoded metav1.PartialObjectMetadataList
		if _, _, err := realSerializer().Decode(got, nil, &decoded); err != nil || len(decoded.Items) != len(items) || len(items) > 0 && !reflect.DeepEqual(decoded.Items[0].Name, list.Items[0].Name) {
			t.Errorf("decoded %v, %v", decoded, err)
		}
	}
}

func TestMetadataRefusesWhatItWouldLose(t *testing.T) {
	for _, body := range []string{`{"metadata":{"name":"a","new":1}}`, `{"metadata":{"name":"a","name":"b"}}`, `{"metadata":{"name":1}}`, `{"metadata":null}`, `{"spec":{}}`, ``, `{`} {
		if _, err := NewMetadataCodec().Protobuf([]byte(body)); err == nil {
			t.Errorf("%s: no error", body)
		}
	}
	if _, err := NewMetadataCodec().JSON([]byte(`{"spec":{}}`)); err == nil {
		t.Error("JSON without metadata: no error")
	}
}
