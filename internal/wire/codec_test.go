package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var (
	podResource = object.Resource{Version: "v1", Name: "pods", Kind: "Pod", Namespaced: true}
	crResource  = object.Resource{Group: "example.com", Version: "v1", Name: "widgets", Kind: "Widget", Namespaced: true}
)

// resourceOf is a resource of that kind; its name does not matter here.
func resourceOf(kind schema.GroupVersionKind) object.Resource {
	return object.Resource{Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Name: strings.ToLower(kind.Kind) + "s"}
}

// apiModule is the folder of k8s.io/api, whose testdata has an object of every
// kind with every field set, in JSON and in protobuf.
var apiModule = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	return strings.TrimSpace(string(out)), err
})

// published yields the published objects of one version of Kubernetes.
func published(t *testing.T, version string, visit func(kind schema.GroupVersionKind, body, protobuf []byte)) {
	t.Helper()
	dir, err := apiModule()
	if err != nil {
		t.Fatalf("find k8s.io/api: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "testdata", version, "*.json"))
	files = slices.DeleteFunc(files, func(file string) bool { return strings.Contains(file, "after_roundtrip") })
	if err != nil || len(files) < 100 {
		t.Fatalf("%d objects of %s, %v", len(files), version, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		binary, err := os.ReadFile(strings.TrimSuffix(file, "json") + "pb")
		if err != nil {
			t.Fatal(err)
		}
		var meta metav1.TypeMeta
		var compact bytes.Buffer
		if err := errors.Join(json.Unmarshal(text, &meta), json.Compact(&compact, text)); err != nil {
			t.Fatal(err)
		}
		visit(meta.GroupVersionKind(), compact.Bytes(), binary)
	}
}

// realEncoder and realDecoder are apimachinery's own.
func realSerializer() *protobuf.Serializer {
	return protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
}

func TestProtobufIsThePublishedOne(t *testing.T) {
	compared := 0
	published(t, "HEAD", func(kind schema.GroupVersionKind, body, want []byte) {
		c := NewCodec(resourceOf(kind))
		if !c.Typed() {
			return // reviews and discovery, which nobody lists
		}
		message, err := c.Protobuf(body)
		if err != nil {
			t.Errorf("%v: %v", kind, err)
			return
		}
		got := c.AppendObject(nil, message)
		if !bytes.Equal(got, want) {
			t.Errorf("%v: other bytes than published", kind)
		}
		if len(got) != c.ObjectLength(len(message)) {
			t.Errorf("%v: length %d, said %d", kind, len(got), c.ObjectLength(len(message)))
		}
		compared++
	})
	if compared < 150 {
		t.Errorf("compared %d kinds only", compared)
	}
}

// TestProtobufKeepsEverything goes back to JSON and compares with the body, for
// the objects of older servers too.
func TestProtobufKeepsEverything(t *testing.T) {
	for _, version := range []string{"HEAD", "v1.36.0", "v1.33.0"} {
		kept, refused := 0, 0
		published(t, version, func(kind schema.GroupVersionKind, body, _ []byte) {
			c := NewCodec(resourceOf(kind))
			message, err := c.Protobuf(body)
			if errors.Is(err, ErrNoProtobuf) {
				refused++ // a field or kind that has been removed since
				return
			}
			if err != nil {
				t.Fatalf("%s %v: %v", version, kind, err)
			}
			want, again := generic(t, body), generic(t, jsonOf(t, c.AppendObject(nil, message)))
			if status, ok := again["status"].(map[string]any); ok && len(status) == 0 && want["status"] == nil {
				delete(again, "status") // a status that the kind has got since
			}
			if diff := cmp.Diff(want, again); diff != "" {
				t.Errorf("%s %v (-body +protobuf):\n%s", version, kind, diff)
			}
			kept++
		})
		t.Logf("%s: %d kept, %d refused", version, kept, refused)
		if kept < 100 || refused > kept/5 {
			t.Errorf("%s: %d kept, %d refused", version, kept, refused)
		}
	}
}

// jsonOf decodes an enveloped message as clients do and encodes it as JSON.
func jsonOf(t *testing.T, enveloped []byte) []byte {
	t.Helper()
	o, kind, err := realSerializer().Decode(enveloped, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.GetObjectKind().SetGroupVersionKind(*kind)
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// generic decodes JSON; null and [] count as absent, as in protobuf.
func generic(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var value map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	dense(value)
	return value
}

func dense(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if member = dense(member); member == nil {
				delete(v, key)
				continue
			}
			v[key] = member
		}
	case []any:
		if len(v) == 0 {
			return nil
		}
		for i := range v {
			v[i] = dense(v[i])
		}
	}
	return value
}

func TestProtobufRefusesWhatItWouldLose(t *testing.T) {
	f := func(r object.Resource, body string, ok bool) {
		t.Helper()
		_, err := NewCodec(r).Protobuf([]byte(body))
		if ok != (err == nil) || err != nil && !errors.Is(err, ErrNoProtobuf) {
			t.Errorf("%s: %v", body, err)
		}
	}
	f(podResource, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}`, true)
	f(podResource, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":null},"status":{}}`, true)
	f(podResource, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","brandNew":1}}`, false)
	f(podResource, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"spec":{"Containers":[]}}`, false)
	f(podResource, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","name":"b"}}`, false)
	f(podResource, `{"kind":"Pod","apiVersion":"v1","metadata":{"labels":{"a":"1","a":"2"}}}`, false)
	f(podResource, `{"kind":"Pod","apiVersion":"v1","spec":{"priority":4294967296}}`, false)
	f(podResource, `{"kind":"Pod","apiVersion":"v1","spec":{"priority":1.5}}`, false)
	f(podResource, `{"kind":"Pod","apiVersion":"v1","spec":{"priority":"1"}}`, false)
	f(podResource, `{"kind":"Pod","apiVersion":"v2"}`, false)
	f(podResource, `{"kind":"Node","apiVersion":"v1"}`, false)
	f(podResource, `{"kind":"Pod","apiVersion":"v1"`, false)
	f(podResource, `{"kind":"Pod","apiVersion":"v1"}{}`, false)
	f(podResource, ``, false)
	f(crResource, `{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"a"}}`, false)
}

// TestProtobufValues looks at values that have several forms. Text that
// kube-apiserver never sends, since it encodes what it has parsed ("1000m",
// fractions of a second in a Time), comes out as kube-apiserver would send it.
func TestProtobufValues(t *testing.T) {
	f := func(kind, apiVersion, before, after string) {
		t.Helper()
		c := NewCodec(resourceOf(schema.FromAPIVersionAndKind(apiVersion, kind)))
		message, err := c.Protobuf([]byte(`{"kind":"` + kind + `","apiVersion":"` + apiVersion + `",` + before + `}`))
		if err != nil {
			t.Errorf("%s: %v", before, err)
			return
		}
		got := generic(t, jsonOf(t, c.AppendObject(nil, message)))
		delete(got, "kind")
		delete(got, "apiVersion")
		if diff := cmp.Diff(generic(t, []byte("{"+after+"}")), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", before, diff)
		}
	}
	same := func(kind, apiVersion, members string) {
		t.Helper()
		f(kind, apiVersion, members, members)
	}
	const pvc, quota = `"metadata":{},"spec":{"resources":{}},"status":{`, `"metadata":{},"spec":{},"status":{"hard":{`
	for _, quantity := range []string{"1", "0", "250m", "1500m", "100u", "5n", "128Mi", "1.5Gi", "9223372036854775807", "7Ei", "1e3", "12E", "-3"} {
		want := quantity
		if quantity == "1.5Gi" {
			want = "1536Mi"
		}
		f("ResourceQuota", "v1", quota+`"x":"`+quantity+`"}}`, quota+`"x":"`+want+`"}}`)
	}
	f("ResourceQuota", "v1", quota+`"x":"1000m"}}`, quota+`"x":"1"}}`)
	same("PersistentVolumeClaim", "v1", pvc+`"capacity":{"storage":"1Gi"}}`)
	same("Service", "v1", `"metadata":{},"spec":{"ports":[{"port":80,"targetPort":8080},{"port":81,"targetPort":"http"},{"port":82,"targetPort":0},{"port":83,"targetPort":""}]},"status":{"loadBalancer":{}}`)
	same("Lease", "coordination.k8s.io/v1", `"metadata":{"creationTimestamp":"2026-01-02T03:04:05Z"},"spec":{"acquireTime":"2026-01-02T03:04:05.000006Z","renewTime":"2026-01-02T03:04:05.999999Z"}`)
	f("Lease", "coordination.k8s.io/v1", `"metadata":{"creationTimestamp":"2026-01-02T03:04:05.678Z"},"spec":{}`, `"metadata":{"creationTimestamp":"2026-01-02T03:04:05Z"},"spec":{}`)
	same("Lease", "coordination.k8s.io/v1", `"metadata":{"creationTimestamp":"0999-01-02T03:04:05Z"},"spec":{}`)
	same("NetworkPolicy", "networking.k8s.io/v1", `"metadata":{},"spec":{"podSelector":{},"ingress":[{}],"egress":[{"to":[{"podSelector":{},"namespaceSelector":{}}]}]}`)
	same("Pod", "v1", `"metadata":{},"spec":{"containers":[{"name":"a","resources":{},"stdin":true}],"volumes":[{"name":"a","emptyDir":{}}],"automountServiceAccountToken":false,"priority":0},"status":{}`)
	same("Deployment", "apps/v1", `"metadata":{},"spec":{"replicas":0,"selector":{},"strategy":{},"template":{"metadata":{},"spec":{"containers":null}}},"status":{}`)
	same("ConfigMap", "v1", `"metadata":{"labels":{"a":""}},"data":{"":"","html":"<&>\u2028","long":"\u0000\n\ud83d\ude00"},"binaryData":{"x":"AP8="},"immutable":false`)
	same("Secret", "v1", `"metadata":{},"data":{"a":"","b":"AA=="},"type":"Opaque"`)
	same("ControllerRevision", "apps/v1", `"metadata":{},"data":{"spec":{"a":[1,null,1.5,"x",{}]}},"revision":3`)
	same("ClusterRole", "rbac.authorization.k8s.io/v1", `"metadata":{},"rules":null,"aggregationRule":{}`)
	f("ConfigMap", "v1", `"metadata":{"labels":{}},"data":{}`, `"metadata":{}`)
}

// TestEveryFieldIsInProtobuf holds what Protobuf relies on: no field of our types
// is in JSON only.
func TestEveryFieldIsInProtobuf(t *testing.T) {
	seen := map[reflect.Type]bool{}
	// These encode themselves, and the tests above cover them.
	for _, own := range []any{metav1.Time{}, metav1.MicroTime{}, metav1.FieldsV1{}, runtime.RawExtension{}, metav1.TypeMeta{}} {
		seen[reflect.TypeOf(own)] = true
	}
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			walk(typ.Elem())
		case reflect.Map:
			walk(typ.Elem())
		case reflect.Struct:
			if seen[typ] || strings.HasSuffix(typ.PkgPath(), "api/resource") || strings.HasSuffix(typ.PkgPath(), "util/intstr") {
				return
			}
			seen[typ] = true
			for i := range typ.NumField() {
				field := typ.Field(i)
				name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
				if name == "-" || field.Type == reflect.TypeFor[metav1.TypeMeta]() {
					continue
				}
				number := field.Tag.Get("protobuf")
				if number == "" || number == "-" {
					t.Errorf("%v.%s is not in protobuf", typ, field.Name)
				}
				walk(field.Type)
			}
		}
	}
	walked := 0
	for kind := range scheme.Scheme.AllKnownTypes() {
		if c := NewCodec(resourceOf(kind)); c.Typed() && kind.Version != runtime.APIVersionInternal {
			if _, ok := c.typed.FieldByName("ObjectMeta"); !ok {
				continue // options, lists and the like
			}
			walk(c.typed)
			walked++
			if field, _ := c.typed.FieldByName("ObjectMeta"); !strings.HasPrefix(field.Tag.Get("protobuf"), "bytes,1,") {
				t.Errorf("%v: metadata is not field 1", kind)
			}
		}
	}
	if walked < 100 || len(seen) < 500 {
		t.Errorf("looked at %d kinds, %d types", walked, len(seen))
	}
}

func TestItem(t *testing.T) {
	f := func(c *Codec, text, want string) {
		t.Helper()
		if got := "{" + text[c.Item([]byte(text)):]; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	pods, widgets := NewCodec(podResource), NewCodec(crResource)
	crds := NewCodec(object.Resource{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	f(pods, `{"kind":"Pod","apiVersion":"v1","metadata":{}}`, `{"metadata":{}}`)
	f(pods, `{"apiVersion":"v1","kind":"Pod","metadata":{}}`, `{"apiVersion":"v1","kind":"Pod","metadata":{}}`)
	f(pods, `{"kind":"Pod","apiVersion":"v1"}`, `{"kind":"Pod","apiVersion":"v1"}`)
	f(pods, `{"kind":"Pod","apiVersion":"v1",`, `{"kind":"Pod","apiVersion":"v1",`)
	f(pods, `{"kind":"Pods","apiVersion":"v1","metadata":{}}`, `{"kind":"Pods","apiVersion":"v1","metadata":{}}`)
	f(pods, `{}`, `{}`)
	f(crds, `{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1","spec":{}}`, `{"spec":{}}`)
	f(widgets, `{"kind":"Widget","apiVersion":"example.com/v1","metadata":{}}`, `{"kind":"Widget","apiVersion":"example.com/v1","metadata":{}}`)
	f(NewMetadataCodec(), string(MetadataJSON([]byte(`{}`))), string(MetadataJSON([]byte(`{}`))))
	if crds.Typed() || widgets.Typed() || !pods.Typed() || !NewMetadataCodec().Typed() {
		t.Error("typed")
	}
}
