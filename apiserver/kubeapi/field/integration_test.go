//go:build integration

package field

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// server is a real API server.
type server struct {
	base string
	http *http.Client
	ctx  context.Context
}

// connect returns the API server and its resources that can be listed, in every
// version that it serves.
func connect(t *testing.T) (*server, []object.Resource) {
	t.Helper()
	path := os.Getenv("KRM_TEST_KUBECONFIG")
	if path == "" {
		t.Fatal("KRM_TEST_KUBECONFIG must name the kubeconfig of a cluster that may be written to; hack/with-cluster.sh starts one")
	}
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{base: config.Host, http: client, ctx: t.Context()}
	s.prepare(t)
	found, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, lists, err := found.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	var resources []object.Resource
	for _, list := range lists {
		group, version, ok := strings.Cut(list.GroupVersion, "/")
		if !ok {
			group, version = "", list.GroupVersion
		}
		for _, r := range list.APIResources {
			if slices.Contains(r.Verbs, "list") && !strings.Contains(r.Name, "/") && r.Name != "componentstatuses" {
				resources = append(resources, object.Resource{Group: group, Version: version, Name: r.Name, Kind: r.Kind, Namespaced: r.Namespaced})
			}
		}
	}
	return s, resources
}

// get answers with a list's items or with the refusal.
func (s *server) get(t *testing.T, path string, query url.Values) (items []json.RawMessage, code int, message, reason string) {
	t.Helper()
	text, code := s.send(t, http.MethodGet, path+"?"+query.Encode(), "")
	var answer struct {
		Message, Reason string
		Items           []json.RawMessage
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		t.Fatal(path, err)
	}
	return answer.Items, code, answer.Message, answer.Reason
}

func (s *server) send(t *testing.T, method, path, body string) (text []byte, code int) {
	t.Helper()
	req, err := http.NewRequestWithContext(s.ctx, method, s.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return text, resp.StatusCode
}

// prepare makes an object of every kind that has labels of its own, with values.
func (s *server) prepare(t *testing.T) {
	t.Helper()
	for _, name := range []string{"widgets", "gadgets"} {
		scope, kind := "Namespaced", "Widget"
		if name == "gadgets" {
			scope, kind = "Cluster", "Gadget"
		}
		s.create(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", fmt.Sprintf(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition",
			"metadata":{"name":"%[1]s.field.example.com"},"spec":{"group":"field.example.com","scope":%[2]q,"names":{"plural":%[1]q,"kind":%[3]q},
			"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":
			{"color":{"type":"string"},"size":{"type":"integer"},"on":{"type":"boolean"}}}}}},
			"selectableFields":[{"jsonPath":".spec.color"},{"jsonPath":".spec.size"},{"jsonPath":".spec.on"}]}]}}`, name, scope, kind))
	}
	deadline := time.Now().Add(30 * time.Second)
	for _, collection := range []string{"/apis/field.example.com/v1/gadgets", "/apis/field.example.com/v1/namespaces/default/widgets"} {
		for {
			if _, code := s.send(t, http.MethodGet, collection, ""); code == http.StatusOK {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal(collection, "is not served")
			}
			<-time.After(100 * time.Millisecond) // a real server has no clock to turn
		}
	}
	const ns = "/api/v1/namespaces/default/"
	meta := `"metadata":{"name":"field-%s","namespace":"default"}`
	s.create(t, ns+"pods", `{"kind":"Pod","apiVersion":"v1",`+fmt.Sprintf(meta, "a")+`,"spec":{"serviceAccountName":"default","automountServiceAccountToken":false,"hostNetwork":true,"restartPolicy":"Never","schedulerName":"field-none","containers":[{"name":"c","image":"i"}]}}`)
	s.create(t, ns+"pods", `{"kind":"Pod","apiVersion":"v1",`+fmt.Sprintf(meta, "b")+`,"spec":{"automountServiceAccountToken":false,"schedulerName":"field-none","nodeName":"field-node","containers":[{"name":"c","image":"i"}]}}`)
	s.create(t, ns+"secrets", `{"kind":"Secret","apiVersion":"v1",`+fmt.Sprintf(meta, "a")+`}`)
	s.create(t, ns+"services", `{"kind":"Service","apiVersion":"v1",`+fmt.Sprintf(meta, "a")+`,"spec":{"clusterIP":"None","ports":[{"port":80}]}}`)
	s.create(t, ns+"replicationcontrollers", `{"kind":"ReplicationController","apiVersion":"v1",`+fmt.Sprintf(meta, "a")+`,"spec":{"replicas":0,"selector":{"a":"b"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`)
	s.create(t, "/apis/batch/v1/namespaces/default/jobs", `{"kind":"Job","apiVersion":"batch/v1",`+fmt.Sprintf(meta, "a")+`,"spec":{"suspend":true,"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}`)
	s.create(t, ns+"events", `{"kind":"Event","apiVersion":"v1",`+fmt.Sprintf(meta, "a")+`,"involvedObject":{"kind":"Pod","namespace":"default","name":"field-a","apiVersion":"v1","uid":"u","resourceVersion":"7","fieldPath":"spec"},"reason":"R","type":"Normal","source":{"component":"kubelet"},"reportingComponent":"rc","reportingInstance":"i"}`)
	s.create(t, "/apis/events.k8s.io/v1/namespaces/default/events", `{"kind":"Event","apiVersion":"events.k8s.io/v1",`+fmt.Sprintf(meta, "b")+`,"eventTime":"2026-01-01T00:00:00.000000Z","action":"A","regarding":{"kind":"Pod","namespace":"default","name":"field-b"},"reason":"R","type":"Warning","reportingController":"example.com/rc","reportingInstance":"i"}`)
	s.create(t, "/api/v1/nodes", `{"kind":"Node","apiVersion":"v1","metadata":{"name":"field-a"},"spec":{"unschedulable":true}}`)
	s.create(t, "/apis/resource.k8s.io/v1/resourceslices", `{"kind":"ResourceSlice","apiVersion":"resource.k8s.io/v1","metadata":{"name":"field-a"},"spec":{"driver":"field.example.com","nodeName":"field-a","pool":{"name":"p","generation":1,"resourceSliceCount":1}}}`)
	s.create(t, "/apis/field.example.com/v1/namespaces/default/widgets", `{"kind":"Widget","apiVersion":"field.example.com/v1",`+fmt.Sprintf(meta, "a")+`,"spec":{"color":"red","size":7,"on":true}}`)
	s.create(t, "/apis/field.example.com/v1/namespaces/default/widgets", `{"kind":"Widget","apiVersion":"field.example.com/v1",`+fmt.Sprintf(meta, "b")+`,"spec":{}}`)
	s.create(t, "/apis/field.example.com/v1/gadgets", `{"kind":"Gadget","apiVersion":"field.example.com/v1","metadata":{"name":"field-a"},"spec":{"color":"blue"}}`)
}

func (s *server) create(t *testing.T, path, body string) {
	t.Helper()
	if text, code := s.send(t, http.MethodPost, path, body); code != http.StatusCreated && code != http.StatusConflict {
		t.Fatalf("%s: %d %s", path, code, text)
	}
}

func selectableFields(r object.Resource) []string {
	if r.Group == "field.example.com" {
		return []string{".spec.color", ".spec.size", ".spec.on"}
	}
	return nil
}

// everyLabel is each label that Parse knows for any resource, and some that none has.
func everyLabel(resources []object.Resource) []string {
	all := map[string]bool{"": true, "name": true, "x": true, "spec.foo": true, "status.replicas": true, "metadata.uid": true, "metadata.labels": true, "é'\"": true}
	for _, r := range resources {
		t := supported(r, selectableFields(r))
		for _, labels := range [][]string{Labels(r, selectableFields(r)), t.hidden, slices.Collect(maps.Keys(t.readers))} {
			for _, label := range labels {
				all[label] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Each label for each resource, and what is no selector at all, is accepted or
// refused as the API server does it, in the same words.
func TestAcceptsAsTheServer(t *testing.T) {
	server, resources := connect(t)
	var texts []string
	for _, label := range everyLabel(resources) {
		texts = append(texts, label+"=none")
	}
	texts = append(texts, ",", "metadata.name", "x,y=z", `metadata.name=a\b`, `metadata.name=a\`, "metadata.name=none,x=y", "z=1,x=y,metadata.name=none",
		"metadata.name=a=b", "metadata.name!=none,metadata.name=none", "!metadata.name", `x=\z`, "=", "==", " metadata.name=none", "x=", "metadata.name=none,metadata.namespace=")
	accepted, refused := 0, 0
	for _, r := range resources {
		for _, text := range texts {
			_, code, message, reason := server.get(t, r.Path(""), url.Values{"fieldSelector": {text}, "limit": {"1"}})
			_, err := Parse(text, r, selectableFields(r))
			if code == http.StatusOK {
				accepted++
				if err != nil {
					t.Errorf("%s %s: %q is refused: %v", r.GroupVersion(), r.Name, text, err)
				}
				continue
			}
			refused++
			if err == nil {
				t.Errorf("%s %s: %q is accepted; the server says %d %s %s", r.GroupVersion(), r.Name, text, code, reason, message)
				continue
			}
			isBadRequest(t, err)
			if got := fmt.Sprintf("%d %s %s", http.StatusBadRequest, metav1.StatusReasonBadRequest, err); got != fmt.Sprintf("%d %s %s", code, reason, message) {
				t.Errorf("%s %s: %q gives %s; the server says %d %s %s", r.GroupVersion(), r.Name, text, got, code, reason, message)
			}
		}
	}
	t.Logf("%d resources and versions, %d selectors each: %d accepted, %d refused", len(resources), len(texts), accepted, refused)
}

// Each label with each value that an object has selects the objects that the API
// server selects by it.
func TestMatchesAsTheServer(t *testing.T) {
	server, resources := connect(t)
	asked, notEmpty := 0, 0
	for _, r := range resources {
		bodies, code, message, _ := server.get(t, r.Path(""), nil)
		if code != http.StatusOK {
			t.Fatal(r, code, message)
		}
		for _, label := range Labels(r, selectableFields(r)) {
			for _, value := range valuesOf(t, r, label, bodies) {
				for _, operator := range []string{"=", "!="} {
					text := label + operator + fields.EscapeValue(value)
					items, code, message, _ := server.get(t, r.Path(""), url.Values{"fieldSelector": {text}})
					if code != http.StatusOK {
						t.Fatal(r, text, code, message)
					}
					s := selector(t, text, r, selectableFields(r)...)
					got := keys(bodies, func(o *Object) bool { return s.Matches(o) }, r)
					if diff := cmp.Diff(keys(items, func(*Object) bool { return true }, r), got); diff != "" {
						t.Errorf("%v %s (-server +got):\n%s", r, text, diff)
					}
					asked++
					if len(got) > 0 {
						notEmpty++
					}
				}
			}
		}
	}
	t.Logf("%d selectors asked, %d of them select something", asked, notEmpty)
}

// valuesOf returns a few values that the label has among bodies, and some that it has not.
func valuesOf(t *testing.T, r object.Resource, label string, bodies []json.RawMessage) []string {
	s := selector(t, label+"=x", r, selectableFields(r)...)
	values := map[string]bool{"": true, "none": true, "true": true, "false": true, "0": true}
	for _, body := range bodies {
		o := objectOf(body, r)
		if len(values) < 12 || strings.HasPrefix(o.Name, "field-") {
			values[s.terms[0].read(&o)] = true
		}
	}
	return slices.Sorted(maps.Keys(values))
}

func objectOf(body json.RawMessage, r object.Resource) Object {
	var parsed struct {
		Metadata struct{ Namespace, Name string }
		Spec     json.RawMessage
	}
	if err := json.Unmarshal(body, &parsed); err != nil {
		panic(err)
	}
	o := Object{Namespace: parsed.Metadata.Namespace, Name: parsed.Metadata.Name, Body: body}
	if r.Group == "" && r.Name == "pods" {
		var spec struct{ NodeName string }
		if err := json.Unmarshal(parsed.Spec, &spec); err != nil {
			panic(err)
		}
		o.Node = spec.NodeName
	}
	return o
}

// keys are the test's own objects and those of the cluster that do not come and go.
func keys(bodies []json.RawMessage, match func(*Object) bool, r object.Resource) []string {
	keys := []string{}
	for _, body := range bodies {
		o := objectOf(body, r)
		if r.Name == "events" && !strings.HasPrefix(o.Name, "field-") {
			continue
		}
		if match(&o) {
			keys = append(keys, o.Namespace+"/"+o.Name)
		}
	}
	slices.Sort(keys)
	return keys
}
