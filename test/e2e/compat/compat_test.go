package main

import (
	"net/http"
	"strings"
	"testing"
)

func jsonAnswer(status int, body string) answer {
	return answer{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: []byte(body)}
}

func TestNormal(t *testing.T) {
	f := func(a, b answer, same bool) {
		t.Helper()
		left, err := normal(a)
		if err != nil {
			t.Fatal(err)
		}
		right, err := normal(b)
		if err != nil {
			t.Fatal(err)
		}
		if (left == right) != same {
			t.Errorf("same should be %t:\n%s\n%s", same, left, right)
		}
	}
	pods := func(version, name string) answer {
		return jsonAnswer(200, `{"kind":"PodList","metadata":{"resourceVersion":"`+version+`"},"items":[{"metadata":{"name":"`+name+`","managedFields":[{"a":"`+version+`"}]}}]}`)
	}
	f(pods("1", "a"), pods("2", "a"), true)
	f(pods("1", "a"), pods("1", "b"), false)
	f(jsonAnswer(200, `{"kind":"Pod","metadata":{"name":"a","resourceVersion":"1"}}`), jsonAnswer(200, `{"kind":"Pod","metadata":{"name":"a","resourceVersion":"2"}}`), false)
	f(jsonAnswer(410, `{"kind":"Status","message":"too old: 1 (2)"}`), jsonAnswer(410, `{"kind":"Status","message":"too old: 3 (44)"}`), true)
	f(jsonAnswer(410, `{"kind":"Status","reason":"Expired"}`), jsonAnswer(410, `{"kind":"Status","reason":"Gone"}`), false)
	f(jsonAnswer(410, `{}`), jsonAnswer(409, `{}`), false)
	f(jsonAnswer(200, `{"a":1}`), jsonAnswer(200, `{"a":1.0}`), false)
	frame := `{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"a","resourceVersion":"1"}}}`
	bookmark := `{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"}}}`
	f(jsonAnswer(200, frame+"\n"+bookmark), jsonAnswer(200, frame), true)
	f(jsonAnswer(200, frame+"\n"+frame), jsonAnswer(200, frame), false)
}

func TestPlanter(t *testing.T) {
	f := func(what plant, text, want string) {
		t.Helper()
		p := &planter{plant: what, name: "b"}
		got, err := p.spoilAnswer([]byte(text))
		if err != nil || string(got) != want {
			t.Errorf("%s, want %s (%v)", got, want, err)
		}
	}
	const list = `{"items":[{"metadata":{"name":"a"}},{"metadata":{"name":"b"}}]}`
	f(omit, list, `{"items":[{"metadata":{"name":"a"}}]}`)
	f(alter, list, `{"items":[{"metadata":{"name":"a"}},{"metadata":{"generateName":"planted-","name":"b"}}]}`)
	p := &planter{plant: swallow, name: "b"}
	frame := `{"type":"MODIFIED","object":{"metadata":{"name":"b"}}}` + "\n"
	other := `{"type":"MODIFIED","object":{"metadata":{"name":"a"}}}` + "\n"
	var out strings.Builder
	_ = p.spoilFrames(&out, strings.NewReader(other+frame+frame))
	if out.String() != other+frame {
		t.Errorf("%q", out.String())
	}
}

// The tables hold what the suite promises, each entry once.
func TestTables(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range append(commands(), watchingCommands()...) {
		if seen[c.line] {
			t.Errorf("kubectl %s comes twice", c.line)
		}
		seen[c.line] = true
	}
	if len(seen) < leastCommands {
		t.Errorf("%d commands", len(seen))
	}
	seen = map[string]bool{}
	for _, q := range requests(nil) {
		if seen[q.String()] {
			t.Errorf("%v comes twice", q)
		}
		seen[q.String()] = true
	}
	if len(seen) < leastRequests {
		t.Errorf("%d requests", len(seen))
	}
	t.Logf("%d requests, %d expectations", len(seen), len(expectations()))
}

func TestResult(t *testing.T) {
	good := func() *result {
		return &result{kubectl: tally{60, 60}, informers: tally{20, 20}, requests: tally{150, 150}, replicas: "ok", planted: "found"}
	}
	if r := good(); r.exitCode() != 0 || r.String() != "RESULT kubectl=60/60 informers=20/20 requests=150/150 replicas=ok planted=found different=0" {
		t.Errorf("%d %s", r.exitCode(), r)
	}
	for name, spoil := range map[string]func(*result){
		"too few commands": func(r *result) { r.kubectl = tally{59, 59} }, "one differs": func(r *result) { r.requests.equal-- },
		"no informer": func(r *result) { r.informers = tally{} }, "replicas": func(r *result) { r.replicas = "bad" },
		"not found": func(r *result) { r.planted = "" }, "a fault": func(r *result) { r.fault("x") },
	} {
		r := good()
		spoil(r)
		if r.exitCode() == 0 {
			t.Errorf("%s: exit code 0", name)
		}
	}
}
