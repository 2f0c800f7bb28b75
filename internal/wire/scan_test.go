package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	kjson "sigs.k8s.io/json"
)

func TestPatchVersion(t *testing.T) {
	f := func(body, want string) {
		t.Helper()
		got, err := PatchVersion([]byte(body), "9")
		if err != nil || string(got) != want {
			t.Errorf("%s\n got %s, %v\nwant %s", body, got, err, want)
		}
	}
	f(`{"kind":"Pod","metadata":{"name":"a","resourceVersion":"1234","uid":"u"},"spec":{}}`, `{"kind":"Pod","metadata":{"name":"a","resourceVersion":"9","uid":"u"},"spec":{}}`)
	// The same text elsewhere stays.
	f(`{"spec":{"metadata":{"resourceVersion":"1"}},"metadata":{"annotations":{"resourceVersion":"1","x":"\"resourceVersion\":\"1\""},"labels":{"metadata":"}"},"resourceVersion":"1"}}`,
		`{"spec":{"metadata":{"resourceVersion":"1"}},"metadata":{"annotations":{"resourceVersion":"1","x":"\"resourceVersion\":\"1\""},"labels":{"metadata":"}"},"resourceVersion":"9"}}`)
	f(`{"resourceVersion":"1","metadata":{"ownerReferences":[{"resourceVersion":"1"}],"resourceVersion":"1"}}`, `{"resourceVersion":"1","metadata":{"ownerReferences":[{"resourceVersion":"1"}],"resourceVersion":"9"}}`)
	f(` { "meta\u0064ata" : { "resourceVersion" : null } } `, ` { "meta\u0064ata" : { "resourceVersion" : "9" } } `)
	f(`{"a":"\\","metadata":{"b":"\\\"","resourceVersion":"1"}}`, `{"a":"\\","metadata":{"b":"\\\"","resourceVersion":"9"}}`)
	f(`{"metadata":{"name":"a"}}`, `{"metadata":{"resourceVersion":"9","name":"a"}}`)
	f(`{"metadata":{ }}`, `{"metadata":{"resourceVersion":"9" }}`)

	for _, body := range []string{``, `{`, `{}`, `[]`, `{"metadata":null}`, `{"metadata":"x"}`, `{"metadata":[]}`, `{"metadata":{`, `{"metadata":{"a"}}`, `{"metadata":{"resourceVersion":}}`, `{"metadata`, `{"a":1 "metadata":{}}`, `{"a":}`} {
		if got, err := PatchVersion([]byte(body), "9"); err == nil {
			t.Errorf("%s: got %s, want an error", body, got)
		}
	}
}

// FuzzPatchVersion compares with decoding, for all JSON objects whose keys do
// not repeat, and wants no panic for anything else.
func FuzzPatchVersion(f *testing.F) {
	f.Add([]byte(`{"kind":"Pod","metadata":{"name":"a","resourceVersion":"1234"},"spec":{}}`), "9")
	f.Add([]byte(`{"a":[{"b":"\\\""},1.5e3,true],"metadata":{ "labels" : {"}":"{"} , "resourceVersion":null}}`), "<\">")
	f.Add([]byte(`{"metadata":{}}`), "")
	f.Add([]byte(`{"a":`+strings.Repeat(`[{"b":`, 20)+`1`+strings.Repeat(`}]`, 20)+`,"metadata":{}}`), "1")
	f.Fuzz(func(t *testing.T, body []byte, version string) {
		before := bytes.Clone(body)
		patched, err := PatchVersion(body, version)
		if !bytes.Equal(body, before) {
			t.Fatal("body was changed")
		}
		var want map[string]any
		if strict, broken := kjson.UnmarshalStrict(body, &want); broken != nil || len(strict) > 0 || want == nil {
			return
		}
		metadata, ok := want["metadata"].(map[string]any)
		if ok != (err == nil) {
			t.Fatalf("metadata %v, error %v", want["metadata"], err)
		}
		if err != nil {
			return
		}
		quoted, _ := json.Marshal(version)
		_ = json.Unmarshal(quoted, &version) // what is not UTF-8 changes
		metadata["resourceVersion"] = version
		var got map[string]any
		if strict, err := kjson.UnmarshalStrict(patched, &got); err != nil || len(strict) > 0 {
			t.Fatalf("%s: %v %v", patched, err, strict)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		start, end, err := MetadataSpan(patched)
		var span map[string]any
		if err != nil || json.Unmarshal(patched[start:end], &span) != nil {
			t.Fatalf("metadata is %q, %v", patched[start:end], err)
		}
	})
}
