package mirror

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestScanBody(t *testing.T) {
	f := func(body, node string, labels ...string) {
		t.Helper()
		f, err := scanBody([]byte(body), true)
		got, gotNode := f.labels, f.node
		if err != nil {
			t.Fatalf("scanBody(%s): %v", body, err)
		}
		var flat []string
		for _, label := range got {
			flat = append(flat, label.Key+"="+label.Value)
		}
		if diff := cmp.Diff(labels, flat); diff != "" || gotNode != node {
			t.Errorf("scanBody(%s): node %q, want %q, labels (-want +got):\n%s", body, gotNode, node, diff)
		}
	}
	f(`{}`, "")
	f(`{"metadata":{},"spec":{}}`, "")
	f(`{"metadata":null,"spec":null}`, "")
	f(`{"metadata":{"labels":null},"spec":{"nodeName":null}}`, "")
	f(`{"metadata":{"name":"x","labels":{"b":"2","a":"1"},"uid":"u"},"spec":{"x":[{"nodeName":"no"}],"nodeName":"n1"}}`, "n1", "a=1", "b=2")
	f(`{"spec":{"nodeName":"n1","x":{"y":"}"}},"metadata":{"annotations":{"labels":"{\"a\":1}"},"labels":{"a":""}}}`, "n1", "a=")
	f(`{"status":{"labels":{"no":"no"}},"metadata":{"labels":{"a":"\u00e9\/"}}}`, "", "a=é/")
	f("{ \"metadata\" :\n\t{ \"generation\" : 1 , \"labels\" : { \"a\" : \"1\" } } , \"spec\" : { \"nodeName\" : \"n\" } }", "n", "a=1")
	f(`{"kind":"a\\","metadata":{"labels":{"a":"b"}},"data":"\\\""}`, "", "a=b")
}

func TestScanBodyFindsNoObject(t *testing.T) {
	for _, body := range []string{``, `[]`, `"x"`, `{"metadata":`, `{"metadata":{"labels":{"a":1}}}`, `{"metadata":{"labels":["a"]}}`, `{"metadata" 1}`, `{"a":"b`, `{"a":1 "b":2}`} {
		if f, err := scanBody([]byte(body), true); err == nil {
			t.Errorf("scanBody(%s) = %+v, want an error", body, f)
		}
	}
}

// Whatever encoding/json writes, the scan finds what encoding/json would.
func TestScanBodyAgreesWithEncodingJSON(t *testing.T) {
	type pod struct {
		Status   any `json:"status,omitempty"`
		Metadata struct {
			Name        string            `json:"name"`
			Annotations map[string]string `json:"annotations,omitempty"`
			Labels      map[string]string `json:"labels,omitempty"`
			Owners      []map[string]any  `json:"ownerReferences,omitempty"`
		} `json:"metadata"`
		Spec struct {
			Containers []any  `json:"containers"`
			NodeName   string `json:"nodeName,omitempty"`
			Volumes    any    `json:"volumes"`
		} `json:"spec"`
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{`\`, `"`, `\"`, `{"labels":{}}`, `}`, "metadata"}))
		name := rapid.StringMatching(`[a-z./-]{0,5}`)
		var p pod
		p.Metadata.Name = text.Draw(t, "name")
		p.Metadata.Annotations = rapid.MapOfN(text, text, 0, 3).Draw(t, "annotations")
		p.Metadata.Labels = rapid.MapOfN(name, text, 0, 20).Draw(t, "labels")
		p.Metadata.Owners = []map[string]any{{"labels": map[string]any{"no": text.Draw(t, "owner")}}}
		p.Spec.Containers = []any{map[string]any{"nodeName": text.Draw(t, "env"), "n": rapid.Float64().Draw(t, "n")}, nil, true}
		p.Spec.NodeName = text.Draw(t, "node")
		p.Spec.Volumes = rapid.SampledFrom([]any{nil, []int{}, map[string]any{}, 1.5e300}).Draw(t, "volumes")
		p.Status = rapid.SampledFrom([]any{nil, "x", map[string]any{"spec": map[string]any{"nodeName": "no"}}}).Draw(t, "status")
		body, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var want pod
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		f, err := scanBody(body, true)
		labels, node := f.labels, f.node
		if err != nil || node != want.Spec.NodeName || len(labels) != len(want.Metadata.Labels) {
			t.Fatalf("scanBody(%s) = %v, %q, %v", body, labels, node, err)
		}
		if !slices.IsSortedFunc(labels, func(a, b Label) int { return strings.Compare(a.Key, b.Key) }) {
			t.Fatalf("labels not sorted: %v", labels)
		}
		for key, value := range want.Metadata.Labels {
			if got, ok := labels.Lookup(key); !ok || got != value {
				t.Fatalf("label %q = %q, want %q", key, got, value)
			}
		}
		if labels.Has("UPPER") || labels.Get("UPPER") != "" {
			t.Fatal("a label that is not there was found")
		}
	})
}

// podBody is a pod of about 5 KB as an API server encodes it.
func podBody(namespace, name, version string) []byte {
	env := make([]map[string]string, 36)
	for i := range env {
		env[i] = map[string]string{"name": fmt.Sprintf("SETTING_NUMBER_%d", i), "value": strings.Repeat("value ", 6) + name}
	}
	body, err := json.Marshal(struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
		Metadata   any    `json:"metadata"`
		Spec       any    `json:"spec"`
		Status     any    `json:"status"`
	}{
		"Pod", "v1",
		map[string]any{
			"name": name, "namespace": namespace, "uid": "0f8fad5b-d9cb-469f-a165-70867728950e", "resourceVersion": version,
			"labels":      map[string]string{"app": "web", "pod-template-hash": "6d4cf56db6", "tier": "front", "app.kubernetes.io/part-of": "shop"},
			"annotations": map[string]string{"checksum/config": strings.Repeat("0123456789abcdef", 4)},
		},
		map[string]any{"containers": []any{map[string]any{"name": "web", "image": "registry.local/shop/web:1.2.3", "env": env}}, "nodeName": "node-0017"},
		map[string]any{"phase": "Running", "conditions": []any{strings.Repeat("c", 900)}},
	})
	if err != nil {
		panic(err)
	}
	return body
}

func BenchmarkScanBody(b *testing.B) {
	body := podBody("default", "web-6d4cf56db6-abcde", "123456")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if f, err := scanBody(body, true); err != nil || f.node != "node-0017" {
			b.Fatal(f, err)
		}
	}
}
