package client

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/randfill"
)

// widget is what users write for a custom resource.
type widget struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Size              int64 `json:"size"`
}

type widgetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []widget `json:"items"`
}

func (w *widget) DeepCopyObject() kruntime.Object     { copied := *w; return &copied }
func (w *widgetList) DeepCopyObject() kruntime.Object { copied := *w; return &copied }

// slim embeds a type with protobuf methods, which would lose the other fields.
type slim struct {
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Status            corev1.PodStatus `json:"status"`
}

type slimList struct {
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []slim `json:"items"`
}

func TestFormOf(t *testing.T) {
	f := func(got, want form) {
		t.Helper()
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	f(formOf[corev1.Pod, corev1.PodList](), form{binary: true, items: 2})
	f(formOf[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList](), form{binary: true, items: 2})
	f(formOf[unstructured.Unstructured, unstructured.UnstructuredList](), form{})
	f(formOf[widget, widgetList](), form{})
	f(formOf[slim, slimList](), form{})
	f(formOf[widget, corev1.PodList](), form{})
}

// TestBuiltInTypesTravelAsProtobuf: each list of Kubernetes' own has its items where formOf finds them.
func TestBuiltInTypesTravelAsProtobuf(t *testing.T) {
	seen := 0
	for kind, of := range scheme.Scheme.AllKnownTypes() {
		items, found := of.FieldByName("Items")
		if !found || kind.Version == kruntime.APIVersionInternal {
			continue
		}
		seen++
		if tag := items.Tag.Get("protobuf"); !strings.HasPrefix(tag, "bytes,2,rep") || !reflect.PointerTo(of).Implements(reflect.TypeFor[message]()) {
			t.Errorf("%v: its Items have the tag %q", kind, tag)
		}
	}
	if seen < 100 {
		t.Errorf("only %d lists were checked", seen)
	}
}

// TestIntoList: it reads what the generated code reads, from Kubernetes' own encoder.
func TestIntoList(t *testing.T) {
	sameList[corev1.Pod](t, "v1", "PodList", &corev1.PodList{})
	sameList[corev1.Node](t, "v1", "NodeList", &corev1.NodeList{})
	sameList[corev1.Secret](t, "v1", "SecretList", &corev1.SecretList{})
	sameList[appsv1.Deployment](t, "apps/v1", "DeploymentList", &appsv1.DeploymentList{})
	sameList[networkingv1.Ingress](t, "networking.k8s.io/v1", "IngressList", &networkingv1.IngressList{})
}

func sameList[T, L any, P ListOf[L]](t *testing.T, apiVersion, kind string, list P) {
	t.Helper()
	for seed := range int64(2) {
		randfill.NewWithSeed(seed).NilChance(0.5).NumElements(0, 100).MaxDepth(6).Funcs(
			func(at *metav1.Time, _ randfill.Continue) { *at = metav1.Time{} }, // has no value between seconds
			func(at *metav1.MicroTime, _ randfill.Continue) { *at = metav1.MicroTime{} },
			func(_ *kruntime.RawExtension, _ randfill.Continue) {},
			func(*metav1.FieldsV1, randfill.Continue) {},
		).Fill(list)
		list.GetObjectKind().SetGroupVersionKind(schema.FromAPIVersionAndKind(apiVersion, kind))
		var body bytes.Buffer
		if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(list, &body); err != nil {
			t.Fatal(err)
		}
		want, _, err := scheme.Codecs.UniversalDeserializer().Decode(body.Bytes(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := new(L)
		if err := intoList[T](payload{body.Bytes(), true}, got, envelope{apiVersion: apiVersion, kind: kind}, 2); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, any(got)); diff != "" {
			t.Fatal(diff)
		}
	}
}

// FuzzOpenEnvelope: no bytes do harm, and what apimachinery reads we read alike.
func FuzzOpenEnvelope(f *testing.F) {
	var body bytes.Buffer
	if err := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(&corev1.PodList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: make([]corev1.Pod, 3),
	}, &body); err != nil {
		f.Fatal(err)
	}
	f.Add(body.Bytes())
	f.Add([]byte("k8s\x00"))
	f.Add([]byte("k8s\x00\x0a\x04\x0a\x02v1\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := openEnvelope(body)
		if err == nil {
			_, _, _ = splitItems(got.raw, 2)
			_ = intoList[corev1.Pod](payload{body, true}, new(corev1.PodList), envelope{apiVersion: got.apiVersion, kind: got.kind}, 2)
		}
		var want kruntime.Unknown
		if !bytes.HasPrefix(body, []byte(protobufPrefix)) || want.Unmarshal(body[4:]) != nil || want.ContentEncoding != "" {
			return
		}
		if err == nil && (got.kind != want.Kind || got.apiVersion != want.APIVersion || !bytes.Equal(got.raw, want.Raw)) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}
