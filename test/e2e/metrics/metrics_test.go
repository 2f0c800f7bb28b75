package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// answered is an answer as the API server would give it.
func answered(code int, kind, body string) *answer {
	return &answer{code, http.Header{"Content-Type": {kind}}, []byte(body)}
}

func TestChecksObject(t *testing.T) {
	now := time.Now().Truncate(resolution).UTC()
	at := func(n int) string { return now.Add(time.Duration(n) * resolution).Format(time.RFC3339) }
	one := `{"metrics":[{"timestamp":"` + at(-1) + `","value":1},{"timestamp":"` + at(0) + `","value":2}],"latestTimestamp":"` + at(0) + `"}`
	f := func(c check, code int, kind, body, objection string) {
		t.Helper()
		err := c(answered(code, kind, body))
		switch {
		case objection == "" && err != nil:
			t.Errorf("%s: %v", body, err)
		case objection != "" && (err == nil || !strings.Contains(err.Error(), objection)):
			t.Errorf("%s: %v, want %q", body, err, objection)
		}
	}
	const js = "application/json"
	f(exactly("a", "b"), 200, js, `["a","b"]`, "")
	f(exactly("a", "b"), 200, js, `["b","a"]`, "not sorted")
	f(exactly(), 200, js, `[]`, "")
	f(exactly(), 200, js, `null`, "null")
	f(has("c"), 200, js, `["a","b"]`, `want "c"`)
	f(has("a"), 200, "text/html", `["a"]`, "Content-Type")
	f(text(404, "404: Page Not Found"), 404, "text/plain; charset=utf-8", "404: Page Not Found", "")
	f(text(404, "404: Page Not Found"), 404, "text/plain", "404: Page Not Found\n", "want")
	f(text(404, "x"), 200, "text/plain", "x", "status 200")
	f(points(2), 200, js, one, "")
	f(points(3), 200, js, one, "2 points")
	f(points(0), 200, js, one, "2 points")
	f(points(0), 200, js, `{"metrics":[],"latestTimestamp":"0001-01-01T00:00:00Z"}`, "")
	f(points(0), 200, js, `{"metrics":null,"latestTimestamp":"0001-01-01T00:00:00Z"}`, "null")
	f(points(2), 200, js, strings.Replace(one, `"value":2`, `"value":-2`, 1), "unsigned")
	f(points(2), 200, js, strings.Replace(one, at(-1), at(1), 1), "comes after")
	f(points(2), 200, js, strings.Replace(one, `Timestamp":"`+at(0), `Timestamp":"`+at(-1), 1), "latestTimestamp")
	f(eachSeries(2, 0), 200, js, `{"items":[`+one+`]}`, "1 series")
}

func TestVectorsObject(t *testing.T) {
	for _, v := range vectors() {
		if v.path == "" || v.none && v.value != 0 {
			t.Errorf("vector %+v", v)
		}
	}
	if len(vectors()) < leastVectors {
		t.Errorf("%d vectors", len(vectors()))
	}
}

func TestTopped(t *testing.T) {
	const out = "NAME    CPU(cores)   MEMORY(bytes)   \nweb-0   15m          106Mi           \nweb-1   0m   0Mi\n"
	if err := topped(out, []string{"web-0"}); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"web-1", "web-2", "NAME"} {
		if topped(out, []string{name}) == nil {
			t.Errorf("%s is good", name)
		}
	}
}

func TestPathOf(t *testing.T) {
	for key, want := range map[string]string{
		"cluster":                       "",
		"node:a":                        "/nodes/a",
		"node:a/container:kubelet":      "/nodes/a/freecontainers/kubelet",
		"namespace:n/pod:p/container:c": "/namespaces/n/pods/p/containers/c",
		"namespace:n/pod:p":             "/namespaces/n/pods/p",
	} {
		if got := pathOf(key); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}

func TestSaneCPUObjects(t *testing.T) {
	s := series{Metrics: []point{{Value: json.Number("64000")}}}
	if err := saneCPU(s); err != nil {
		t.Error(err)
	}
	s.Metrics[0].Value = "18446744073709551615"
	if saneCPU(s) == nil {
		t.Error("an absurd rate is sane")
	}
}

func TestResultFailsUnlessAllWasChecked(t *testing.T) {
	whole := func() *result {
		return &result{
			endpoints: tally{leastEndpoints, leastEndpoints}, vectors: tally{leastVectors, leastVectors},
			faulty: tally{leastFaults, leastFaults}, planted: "found",
		}
	}
	if code := whole().exitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for name, spoil := range map[string]func(*result){
		"nothing checked":    func(r *result) { *r = result{} },
		"one wrong":          func(r *result) { r.vectors.right-- },
		"too few":            func(r *result) { r.faulty = tally{3, 3} },
		"no plant noticed":   func(r *result) { r.planted = "" },
		"a fault on the way": func(r *result) { r.fault("the collector ended") },
		"endpoints left out": func(r *result) { r.endpoints = tally{} },
	} {
		r := whole()
		if spoil(r); r.exitCode() == 0 {
			t.Errorf("%s: %v passes", name, r)
		}
	}
}
