package field

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func namespaced(group, version, name string) object.Resource {
	return object.Resource{Group: group, Version: version, Name: name, Namespaced: true}
}

var (
	pods       = namespaced("", "v1", "pods")
	nodes      = object.Resource{Version: "v1", Name: "nodes"}
	coreEvents = namespaced("", "v1", "events")
	newEvents  = namespaced("events.k8s.io", "v1", "events")
	jobs       = namespaced("batch", "v1", "jobs")
	slicesOf   = object.Resource{Group: "resource.k8s.io", Version: "v1", Name: "resourceslices"}
	deploys    = namespaced("apps", "v1", "deployments")
	widgets    = namespaced("example.com", "v1", "widgets")
	gadgets    = object.Resource{Group: "example.com", Version: "v1", Name: "gadgets"}
)

// selector parses what must be right.
func selector(t testing.TB, text string, r object.Resource, extra ...string) Selector {
	t.Helper()
	s, err := Parse(text, r, extra)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMatches(t *testing.T) {
	f := func(r object.Resource, body, matching, other string) {
		t.Helper()
		o := Object{Namespace: "ns", Name: "n", Body: []byte(body)}
		if !r.Namespaced {
			o.Namespace = ""
		}
		if r == pods {
			o.Node = "node-1"
		}
		extra := []string{".spec.color", ".spec.size", ".spec.on", ".spec.ratio"}
		for text := range strings.SplitSeq(matching, ";") {
			if s := selector(t, text, r, extra...); !s.Matches(&o) {
				t.Errorf("%v: %s does not match %s", r, text, body)
			}
			if s := selector(t, strings.Replace(text, "=", "!=", 1), r, extra...); s.Matches(&o) {
				t.Errorf("%v: the contrary of %s matches %s", r, text, body)
			}
		}
		for text := range strings.SplitSeq(other, ";") {
			if s := selector(t, text, r, extra...); s.Matches(&o) {
				t.Errorf("%v: %s matches %s", r, text, body)
			}
		}
	}
	pod := `{"kind":"Pod","spec":{"hostNetwork":true,"restartPolicy":"Always","nodeName":"other"},"status":{"phase":"Running","podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"}]}}`
	f(pods, pod, "metadata.name=n;metadata.namespace=ns;spec.nodeName=node-1;spec.host=node-1;spec.hostNetwork=true;status.phase=Running;status.podIP=10.0.0.1;status.podIPs=;status.nominatedNodeName=;spec.restartPolicy=Always",
		"metadata.name=m;spec.nodeName=;spec.nodeName=other;spec.hostNetwork=True;status.podIPs=10.0.0.1;status.phase=")
	f(pods, `{}`, "spec.hostNetwork=false;status.phase=;status.podIP=;spec.schedulerName=;spec.serviceAccountName=", "spec.hostNetwork=;status.phase=null")
	f(pods, `{"status":{"podIPs":[{"ip":"::1"}]}}`, "status.podIP=::1", "status.podIP=")
	f(pods, `{"status":{"phase":"a\u002cb"}}`, `status.phase=a\,b`, "status.phase=a")
	f(pods, `{"spec":{"hostNetwork":false}}`, "spec.hostNetwork=false", "spec.hostNetwork=true")
	f(nodes, `{}`, "spec.unschedulable=false", "spec.unschedulable=;spec.unschedulable=true")
	f(nodes, `{"spec":{"unschedulable":true}}`, "spec.unschedulable=true", "spec.unschedulable=false")
	f(object.Resource{Version: "v1", Name: "namespaces"}, `{"status":{"phase":"Active"}}`, "status.phase=Active", "status.phase=Terminating")
	f(namespaced("", "v1", "secrets"), `{"type":"Opaque"}`, "type=Opaque;metadata.namespace=ns", "type=")
	f(namespaced("", "v1", "services"), `{"spec":{"clusterIP":"None","type":"ClusterIP"}}`, "spec.clusterIP=None;spec.type=ClusterIP", "spec.clusterIP=")
	f(namespaced("", "v1", "replicationcontrollers"), `{"status":{"replicas":3}}`, "status.replicas=3", "status.replicas=0")
	f(jobs, `{}`, "status.successful=0", "status.successful=")
	f(jobs, `{"status":{"succeeded":2}}`, "status.successful=2", "status.successful=0")
	f(coreEvents, `{"involvedObject":{"kind":"Pod","name":"p"},"reason":"Killing","source":{"component":"kubelet"},"reportingComponent":"x","type":"Normal"}`,
		"involvedObject.kind=Pod;involvedObject.name=p;involvedObject.uid=;reason=Killing;source=kubelet;reportingComponent=x;type=Normal", "source=x")
	f(coreEvents, `{"source":{},"reportingComponent":"x"}`, "source=x", "source=")
	f(newEvents, `{"regarding":{"kind":"Pod","name":"p"},"reason":"Killing","reportingController":"x"}`,
		"regarding.kind=Pod;regarding.name=p;reason=Killing;reportingController=x;regarding.fieldPath=", "regarding.name=")
	f(object.Resource{Group: "certificates.k8s.io", Version: "v1", Name: "certificatesigningrequests"}, `{"spec":{"signerName":"a/b"}}`, "spec.signerName=a/b", "spec.signerName=")
	f(slicesOf, `{"spec":{"driver":"d"}}`, "spec.driver=d;spec.nodeName=", "spec.nodeName=d")
	f(deploys, `{}`, "metadata.namespace=ns", "metadata.namespace=")
	f(object.Resource{Group: "storage.k8s.io", Version: "v1", Name: "storageclasses"}, `{}`, "metadata.namespace=", "metadata.namespace=ns")
	f(widgets, `{"spec":{"color":"red","size":7,"on":true,"ratio":2.50}}`, "spec.color=red;spec.size=7;spec.on=true;spec.ratio=2.5;metadata.namespace=ns", "spec.color=;spec.ratio=2.50")
	f(widgets, `{"spec":{"color":null}}`, "spec.color=;spec.size=;spec.on=", "spec.on=false;spec.size=0")
}

func TestParseRefuses(t *testing.T) {
	f := func(r object.Resource, text, want string) {
		t.Helper()
		_, err := Parse(text, r, []string{".spec.color"})
		if err == nil {
			t.Errorf("%v: %q is accepted", r, text)
			return
		}
		isBadRequest(t, err)
		if err.Error() != want {
			t.Errorf("%v: %q gives %q, want %q", r, text, err, want)
		}
	}
	f(pods, "spec.foo=x", "field label not supported: spec.foo")
	f(pods, "spec.zoo=x,spec.foo=x", "field label not supported: spec.foo")
	f(pods, "metadata.name", "invalid selector: 'metadata.name'; can't understand 'metadata.name'")
	f(pods, `metadata.name=a\b`, `invalid field selector: invalid escape sequence: \b`)
	f(nodes, "metadata.namespace=x", "field label not supported: metadata.namespace")
	f(coreEvents, "regarding.kind=x", "field label not supported: regarding.kind")
	f(newEvents, "involvedObject.kind=x", "field label not supported: involvedObject.kind")
	f(newEvents, "reportingComponent=x", "field label not supported: reportingComponent")
	f(newEvents, "source=x", "field label not supported: source")
	f(jobs, "x=y", `field label "x" not supported for Job`)
	f(slicesOf, "x=y", "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: x")
	f(deploys, "x=y", `"x" is not a known field selector: only "metadata.name", "metadata.namespace"`)
	f(widgets, "spec.size=y", "field label not supported: spec.size")
	f(gadgets, "metadata.namespace=y", "field label not supported: metadata.namespace")
}

func isBadRequest(t testing.TB, err error) {
	t.Helper()
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		t.Fatalf("%v is no status", err)
	}
	if got := status.Status(); got.Code != http.StatusBadRequest || got.Reason != metav1.StatusReasonBadRequest {
		t.Fatalf("%v has code %d and reason %s", err, got.Code, got.Reason)
	}
}

func TestExact(t *testing.T) {
	s := selector(t, "status.phase!=Failed,spec.host=n,metadata.name==p", pods)
	f := func(label, want string, found bool) {
		t.Helper()
		if got, ok := s.Exact(label); got != want || ok != found {
			t.Errorf("Exact(%q) = %q, %v, want %q, %v", label, got, ok, want, found)
		}
	}
	f("metadata.name", "p", true)
	f("spec.nodeName", "n", true)
	f("status.phase", "", false)
	f("metadata.namespace", "", false)
	if got := s.String(); got != "metadata.name=p,spec.nodeName=n,status.phase!=Failed" {
		t.Errorf("String = %q", got)
	}
	for _, empty := range []string{"", ",", ",,"} {
		if s := selector(t, empty, pods); !s.Empty() || !s.Matches(&Object{}) {
			t.Errorf("%q is not empty", empty)
		}
	}
}

func TestLabels(t *testing.T) {
	f := func(r object.Resource, want ...string) {
		t.Helper()
		got := Labels(r, nil)
		if !slices.Equal(got, want) {
			t.Errorf("%v: %q, want %q", r, got, want)
		}
		for _, label := range got {
			selector(t, label+"=x", r)
		}
	}
	f(nodes, "metadata.name", "spec.unschedulable")
	f(newEvents, "metadata.name", "metadata.namespace", "reason", "regarding.apiVersion", "regarding.fieldPath", "regarding.kind", "regarding.name",
		"regarding.namespace", "regarding.resourceVersion", "regarding.uid", "reportingController", "type")
	f(gadgets, "metadata.name")
	f(widgets, "metadata.name", "metadata.namespace")
}

// What a typed pod gives as kube-apiserver's GetAttrs is what Matches reads from JSON.
func TestMatchesAsTyped(t *testing.T) {
	word := rapid.SampledFrom([]string{"", "a", "b", "10.0.0.1", "a,b", `c\d`, "é\"", "true", "false"})
	rapid.Check(t, func(t *rapid.T) {
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: word.Draw(t, "name"), Namespace: word.Draw(t, "namespace"), Annotations: map[string]string{"status": word.Draw(t, "noise")}}}
		pod.Spec.NodeName = word.Draw(t, "node")
		pod.Spec.SchedulerName = word.Draw(t, "scheduler")
		pod.Spec.HostNetwork = rapid.Bool().Draw(t, "host")
		pod.Status.Phase = corev1.PodPhase(word.Draw(t, "phase"))
		pod.Status.PodIP = word.Draw(t, "ip")
		body, err := json.Marshal(&pod)
		if err != nil {
			t.Fatal(err)
		}
		set := fields.Set{
			"metadata.name": pod.Name, "metadata.namespace": pod.Namespace, "spec.nodeName": pod.Spec.NodeName,
			"spec.schedulerName": pod.Spec.SchedulerName, "spec.hostNetwork": strconv.FormatBool(pod.Spec.HostNetwork),
			"status.phase": string(pod.Status.Phase), "status.podIP": pod.Status.PodIP,
		}
		var terms []string
		for range rapid.IntRange(0, 3).Draw(t, "terms") {
			label := rapid.SampledFrom([]string{"metadata.name", "metadata.namespace", "spec.nodeName", "spec.schedulerName", "spec.hostNetwork", "status.phase", "status.podIP"}).Draw(t, "label")
			terms = append(terms, label+rapid.SampledFrom([]string{"=", "==", "!="}).Draw(t, "operator")+fields.EscapeValue(word.Draw(t, "value")))
		}
		text := strings.Join(terms, ",")
		got, err := Parse(text, pods, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := fields.ParseSelectorOrDie(text)
		o := Object{Namespace: pod.Namespace, Name: pod.Name, Node: pod.Spec.NodeName, Body: body}
		if got.Matches(&o) != want.Matches(set) {
			t.Fatalf("%s on %s: %v", text, body, got.Matches(&o))
		}
		if got.String() != want.String() || got.Empty() != want.Empty() {
			t.Fatalf("%q is %q, want %q", text, got.String(), want)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "metadata.name=a", `a=b\,c,d!=e`, "status.phase==x,", "!=", `\`, "spec.color=x"} {
		f.Add(seed)
	}
	o := Object{Namespace: "a", Name: "b", Body: []byte(`{"status":{"phase":"x"}}`)}
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range []object.Resource{pods, newEvents, widgets, deploys} {
			s, err := Parse(text, r, []string{".spec.color"})
			if err != nil {
				isBadRequest(t, err)
				continue
			}
			s.Matches(&o)
			again, err := Parse(s.String(), namespaced("example.com", "v1", "all"), dotted(s))
			if err != nil || again.String() != s.String() {
				t.Fatalf("%q is %q is %q, %v", text, s.String(), again.String(), err)
			}
		}
	})
}

// dotted declares the labels of s as those of a CRD.
func dotted(s Selector) (paths []string) {
	for _, t := range s.terms {
		paths = append(paths, "."+t.label)
	}
	return paths
}
