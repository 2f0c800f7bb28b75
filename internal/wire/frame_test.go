package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/runtime/serializer/streaming"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	restwatch "k8s.io/client-go/rest/watch"
)

// realFrame is the frame that kube-apiserver's serializers make of an encoded object.
func realFrame(t *testing.T, framer runtime.Framer, encoder runtime.Encoder, eventType watch.EventType, object []byte) []byte {
	t.Helper()
	var event, out bytes.Buffer
	if err := encoder.Encode(&metav1.WatchEvent{Type: string(eventType), Object: runtime.RawExtension{Raw: object}}, &event); err != nil {
		t.Fatal(err)
	}
	if _, err := framer.NewFrameWriter(&out).Write(event.Bytes()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestFramesAreTheRealOnes(t *testing.T) {
	jsonSerializer := kjson.NewSerializerWithOptions(kjson.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, kjson.SerializerOptions{})
	raw := protobuf.NewRawSerializer(scheme.Scheme, scheme.Scheme)
	c := NewCodec(podResource)
	for _, pod := range append(realPods(t, 3), []byte(`{"kind":"Pod","apiVersion":"v1"}`)) {
		message, err := c.Protobuf(pod)
		if err != nil {
			t.Fatal(err)
		}
		enveloped := c.AppendObject(nil, message)
		for _, eventType := range []watch.EventType{watch.Added, watch.Modified, watch.Deleted, watch.Bookmark, watch.Error} {
			if got, want := AppendFrameJSON(nil, eventType, pod), realFrame(t, kjson.Framer, jsonSerializer, eventType, pod); !bytes.Equal(got, want) {
				t.Errorf("got %s, want %s", got, want)
			}
			if got, want := AppendFrameProtobuf(nil, eventType, enveloped), realFrame(t, protobuf.LengthDelimitedFramer, raw, eventType, enveloped); !bytes.Equal(got, want) {
				t.Errorf("%s: got %x, want %x", eventType, got, want)
			}
		}
	}
}

// events reads a watch as client-go does.
func events(t *testing.T, stream []byte, framer runtime.Framer, event, embedded runtime.Decoder) (all []watch.Event) {
	t.Helper()
	d := restwatch.NewDecoder(streaming.NewDecoder(framer.NewFrameReader(io.NopCloser(bytes.NewReader(stream))), event), embedded)
	for {
		eventType, o, err := d.Decode()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, watch.Event{Type: eventType, Object: o})
	}
}

func protobufEvents(t *testing.T, stream []byte) []watch.Event {
	t.Helper()
	return events(t, stream, protobuf.LengthDelimitedFramer, protobuf.NewRawSerializer(scheme.Scheme, scheme.Scheme), scheme.Codecs.UniversalDeserializer())
}

func jsonEvents(t *testing.T, stream []byte) []watch.Event {
	t.Helper()
	s := kjson.NewSerializerWithOptions(kjson.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, kjson.SerializerOptions{})
	return events(t, stream, kjson.Framer, s, scheme.Codecs.UniversalDeserializer())
}

// TestWatch reads a whole watch in both forms with client-go's decoders.
func TestWatch(t *testing.T) {
	c, gone := NewCodec(podResource), apierrors.NewResourceExpired("too old").Status()
	var inJSON, inProtobuf []byte
	var want []watch.Event
	for i, pod := range realPods(t, 5) {
		eventType := []watch.EventType{watch.Added, watch.Modified, watch.Deleted}[i%3]
		message, err := c.Protobuf(pod)
		if err != nil {
			t.Fatal(err)
		}
		inJSON = AppendFrameJSON(inJSON, eventType, pod)
		inProtobuf = AppendFrameProtobuf(inProtobuf, eventType, c.AppendObject(nil, message))
		want = append(want, watch.Event{Type: eventType, Object: bareObject(decodeJSON(t, pod))})
	}
	for _, b := range []Bookmark{{Version: "7", InitialEventsEnd: true}, {Version: "18446744073709551615"}} {
		inJSON, inProtobuf = c.AppendBookmarkJSON(inJSON, b), c.AppendBookmarkProtobuf(inProtobuf, b)
		want = append(want, watch.Event{Type: watch.Bookmark, Object: bareObject(decodeJSON(t, c.BookmarkObject(b)))})
	}
	inJSON, inProtobuf = AppendErrorJSON(inJSON, gone), AppendErrorProtobuf(inProtobuf, gone)
	want = append(want, watch.Event{Type: watch.Error, Object: &gone})

	for form, got := range map[string][]watch.Event{"JSON": jsonEvents(t, inJSON), "protobuf": protobufEvents(t, inProtobuf)} {
		for i := range got {
			bareObject(got[i].Object)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", form, diff)
		}
	}
}

func bareObject(o runtime.Object) runtime.Object {
	o.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	return o
}

func TestStatus(t *testing.T) {
	for _, err := range []*apierrors.StatusError{
		apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "a<b>"),
		apierrors.NewResourceExpired("too old resource version: 1 (2)"),
		apierrors.NewGenericServerResponse(http.StatusServiceUnavailable, "get", schema.GroupResource{Resource: "pods"}, "", "not synced", 3, false),
		{ErrStatus: metav1.Status{}},
	} {
		want := err.Status()
		want.Kind, want.APIVersion = "Status", "v1"
		if got, want := StatusProtobuf(err.Status()), encodeProtobuf(t, &want); !bytes.Equal(got, want) {
			t.Errorf("got %x, want %x", got, want)
		}
		if got, want := string(StatusJSON(err.Status()))+"\n", string(encodeJSON(t, &want)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		decoded, _, broken := scheme.Codecs.UniversalDeserializer().Decode(StatusProtobuf(err.Status()), nil, nil)
		if broken != nil || !errors.Is(apierrors.FromObject(decoded), apierrors.FromObject(&want)) && apierrors.FromObject(decoded).Error() != err.Error() {
			t.Errorf("decoded %v, %v", decoded, broken)
		}
	}
}

func TestTable(t *testing.T) {
	remaining := int64(4)
	meta := ListMeta{Version: "5", Continue: "c", Remaining: &remaining}
	columns := []byte(`[{"name":"Name","type":"string","format":"name","description":"","priority":0}]`)
	text := AppendRow(AppendTableHead(nil, meta, columns), []byte(`["a",1]`), MetadataJSON([]byte(`{"name":"a"}`)))
	text = AppendRow(append(text, ','), []byte(`["b",2]`), nil)
	text = append(text, TableTail...)
	var table metav1.Table
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	again := bytes.TrimSpace(encodeJSON(t, &table))
	if !bytes.Equal(text, again) {
		t.Errorf("got %s, want %s", text, again)
	}
	if len(table.Rows) != 2 || table.ResourceVersion != "5" || *table.RemainingItemCount != 4 || len(table.ColumnDefinitions) != 1 || string(table.Rows[0].Object.Raw) != `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a"}}` {
		t.Errorf("decoded %+v", table)
	}

	frame := NewMetadataCodec().AppendBookmarkTable(nil, Bookmark{Version: "8", InitialEventsEnd: true}, nil)
	const want = `{"type":"BOOKMARK","object":{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"8"},"columnDefinitions":null,"rows":[{"cells":[],"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"annotations":{"k8s.io/initial-events-end":"true"},"resourceVersion":"8"}}}]}}` + "\n"
	if string(frame) != want {
		t.Errorf("got %s, want %s", frame, want)
	}
}

// FuzzFrames writes frames around any object and reads them back.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("name"), "value", "1")
	f.Add(bytes.Repeat([]byte("x"), 300), "\xff<>&\u2028", "")
	f.Fuzz(func(t *testing.T, name []byte, value, version string) {
		version = strings.ToValidUTF8(version, "") // versions are digits
		quoted, err := json.Marshal(map[string]string{string(name): value})
		if err != nil {
			t.Fatal(err)
		}
		body := append(append([]byte(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{},"data":`), quoted...), '}')
		body, err = PatchVersion(body, version)
		if err != nil {
			t.Fatal(err)
		}
		c := NewCodec(resourceOf(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}))
		message, err := c.Protobuf(body)
		if err != nil {
			t.Fatal(err)
		}
		inJSON := AppendFrameJSON(c.AppendBookmarkJSON(nil, Bookmark{Version: version}), watch.Added, body)
		inProtobuf := AppendFrameProtobuf(c.AppendBookmarkProtobuf(nil, Bookmark{Version: version}), watch.Added, c.AppendObject(nil, message))
		a, b := jsonEvents(t, inJSON), protobufEvents(t, inProtobuf)
		if len(a) != 2 || len(b) != 2 {
			t.Fatalf("%d and %d events", len(a), len(b))
		}
		for i := range a {
			if diff := cmp.Diff(bareObject(a[i].Object), bareObject(b[i].Object)); diff != "" || a[i].Type != b[i].Type {
				t.Fatalf("(-JSON +protobuf):\n%s", diff)
			}
		}
	})
}
