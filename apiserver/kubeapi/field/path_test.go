package field

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/theory/jsonpath"
	kubectl "k8s.io/client-go/util/jsonpath"
	"pgregory.net/rapid"
)

const somePod = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","labels":{"app.kubernetes.io/name":"web","app-x":"1","it's":"q"}},
"spec":{"containers":[{"name":"a","image":"a:1","ports":[{"containerPort":80}]},{"name":"b","image":"b:1","ready":true},{"name":"c","image":"c:1","n":null}],"weight":1.50},
"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"},{"type":"Scheduled","status":"False"}]}}`

func texts(values []Value) (texts []string) {
	for _, value := range values {
		texts = append(texts, value.String())
	}
	return texts
}

func TestPathValues(t *testing.T) {
	f := func(path string, want ...string) {
		t.Helper()
		p, err := ParsePath(path)
		if err != nil {
			t.Error(err)
			return
		}
		if diff := cmp.Diff(want, texts(p.Values([]byte(somePod)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		first, found := p.First([]byte(somePod))
		if found != (len(want) > 0) || found && first.String() != want[0] {
			t.Errorf("First of %s = %q, %v", path, first, found)
		}
		if p.String() != strings.TrimSpace(path) {
			t.Errorf("%q is written %q", path, p)
		}
	}
	for _, path := range []string{".status.phase", "{.status.phase}", "$.status.phase", "status.phase", " { .status.phase } ", "$['status'][\"phase\"]", "status['phase']", "{$.status.phase}", "@.status.phase"} {
		f(path, "Running")
	}
	f("spec.containers[*].image", "a:1", "b:1", "c:1")
	f("spec.containers[-1].name", "c")
	f("spec.containers[0,2].name", "a", "c")
	f("spec.containers[0,0,-3].name", "a")
	f("spec.containers[1:].name", "b", "c")
	f("spec.containers[::-1].name", "c", "b", "a")
	f("spec.containers[7].name")
	f("spec.containers.name")
	f("spec.containers.0.name")
	f("spec.weight", "1.50")
	f("spec.containers[1].ready", "true")
	f("spec.containers[2].n", "null")
	f("spec.containers[0].ports", `[{"containerPort":80}]`)
	f(`metadata.labels.app\.kubernetes\.io/name`, "web")
	f(`metadata.labels['app.kubernetes.io/name']`, "web")
	f(`metadata.labels.app-x`, "1")
	f(`metadata.labels['it\'s']`, "q")
	f(`metadata.labels.it\'s`, "q")
	f("..image", "a:1", "b:1", "c:1")
	f("$..['containerPort']", "80")
	f("metadata.labels.*", "web", "1", "q")
	f(`status.conditions[?(@.type=="Ready")].status`, "True")
	f(`status.conditions[?@.type=='Ready'||@.status=="False"].type`, "Ready", "Scheduled")
	f(`spec.containers[?(@.ready)].name`, "b")
	f(`spec.containers[?!@.ports && @.name > 'b'].name`, "c")
	f(`spec.containers[?@.ports[0].containerPort < 100].name`, "a")
	f(`spec.containers[?@.ports[*]].name`, "a")
	f(`spec.containers[?match(@.image, '[ab]:.')].name`, "a", "b")
	f(`spec.containers[?match(@.image, '[ab]')].name`)
	f(`spec.containers[?match(@.image, 'x|a:1')].name`, "a")
	f(`spec.containers[?search(@.image, "[ab]:") && !match(@.name, 'b')].name`, "a")
	f(`spec.containers[?search(@.ready, 't') || search(@.nothing, '')].name`)
	f(`status.conditions[?@.type == 'Ready' && $.status.phase == 'Running'].status`, "True")
	f(`spec.containers[?count(@.*)==3].name`, "a", "b", "c")
}

// Names are compared as what they mean, however the body writes them.
func TestPathFindsEscapedNames(t *testing.T) {
	for _, path := range []string{"..image", ".spec.image", "$.spec['image']", "$..['image','x']"} {
		p, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := texts(p.Values([]byte(`{"spec":{"im\u0061ge":"a\u003c"}}`))); !slices.Equal(got, []string{"a<"}) {
			t.Errorf("%s finds %q", path, got)
		}
	}
}

func TestParsePathRefuses(t *testing.T) {
	f := func(path, want string) {
		t.Helper()
		_, err := ParsePath(path)
		if err == nil {
			t.Errorf("%q is accepted", path)
			return
		}
		isBadRequest(t, err)
		if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), clip(fmt.Sprintf("%q", path))[:min(len(path), 10)]) {
			t.Errorf("%q gives %q, want %q in it", path, err, want)
		}
	}
	f("", "want a path")
	f("$", "want a path")
	f("{}", "want a path")
	f(".", "unexpected end")
	f("a.", "unexpected end")
	f("a b", "at 3: unexpected 'b'")
	f("{.a", "unexpected end")
	f("a[", "at 2: [ has no ]")
	f("a[']", "at 3: ' is not closed")
	f("a[01]", "a[01]: ")
	f("a)", `at 2: unexpected ')'`)
	f("a[)]", `at 3: unexpected ')'`)
	f("{range .items[*]}", `unexpected '.'`)
	f("..a..b", `at most one ".."`)
	f("a[?@..b]", `at most one ".."`)
	f("a["+strings.Repeat("0,", maxUnion)+"1]", "17 selectors")
	f("a[?"+strings.Repeat("@||", maxQueries)+"@]", "at most 16 queries")
	f("a[?@[0,1]]", "no union")
	f("a[?$.*]", "only members")
	f("a[?$[1:]]", "only members")
	f("a[?(((((((((@.b)))))))))]", "deep")
	f("a[?@.b==@[*]]", "")
	f("a[?match(@.b, '(')]", "regular expression \"(\"")
	f("a[?match(@.b, 'x{1000}x{1000}')]", "too large")
	f("a[?match(@.b, @.c)]", "in quotes")
	f("a[?match(@.b, 1)]", "in quotes")
	f("a[?search(@.b)]", "function search()")
	f("\xff", "UTF-8")
	f(strings.Repeat("a", MaxPath+1), "1025 bytes")
	f(strings.Repeat(".a", maxSteps+1), "65 steps")
}

// document draws an object that has the members that paths draws.
func document() *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.Map(rapid.SampledFrom([]string{"", "a", "x", "é", "1", "\"\\\n", "a:1"}), func(s string) any { return s }),
		rapid.Map(rapid.IntRange(-3, 100), func(n int) any { return n }),
		rapid.Map(rapid.Float64Range(-2, 2), func(n float64) any { return n }),
		rapid.SampledFrom([]any{true, false, nil}),
	)
	value := leaf
	for range 4 {
		inner := rapid.OneOf(leaf, value)
		value = rapid.OneOf(
			rapid.Map(rapid.MapOfN(member(), inner, 0, 4), func(m map[string]any) any { return m }),
			rapid.Map(rapid.SliceOfN(inner, 0, 4), func(s []any) any { return s }),
		)
	}
	return rapid.Map(rapid.MapOfN(member(), value, 0, 5), func(m map[string]any) any { return m })
}

func member() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{"a", "b", "c", "a-b", "a.b", "0", "#", "é", "*", "", "it's", `b\c`, "@x", "\u0001"})
}

// What RFC 9535's reference finds in the decoded document is what visit finds in its
// bytes, whatever the order of members.
func TestPathAsReference(t *testing.T) {
	segment := rapid.OneOf(
		rapid.Map(member(), func(name string) string { return jsonpathName(name) }),
		rapid.Map(member(), func(name string) string { return jsonpathName(name) }),
		rapid.SampledFrom([]string{"[*]", ".a", ".b", "[0]", "[-1]", "[1:]", "[::-2]", "['a','b']", "[0,*]", "[?@.a]", "[?@.a == @.b]", "[?@ > 1]", "[?!@.b]", "[?@.a == $.a.b]", "[?length(@) < 3]"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		decoded := document().Draw(t, "document")
		body, err := json.Marshal(decoded)
		if err != nil {
			t.Fatal(err)
		}
		decoded = nil
		if err := json.Unmarshal(body, &decoded); err != nil {
			t.Fatal(err)
		}
		path := "$"
		if rapid.Bool().Draw(t, "descend") {
			path += ".." + strings.TrimPrefix(segment.Draw(t, "descended"), ".")
		}
		for range rapid.IntRange(1, 3).Draw(t, "length") {
			path += segment.Draw(t, "segment")
		}
		p, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, value := range p.Values(body) {
			got = append(got, canonical(t, []byte(value.JSON())))
		}
		for node := range jsonpath.MustParse(path).SelectLocated(decoded).Deduplicate().Nodes() {
			text, err := json.Marshal(node)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, canonical(t, text))
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s in %s (-want +got):\n%s", path, body, diff)
		}
	})
}

func jsonpathName(name string) string {
	var out strings.Builder
	quote(&out, name)
	return out.String()
}

func canonical(t interface{ Fatal(...any) }, text []byte) string {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err, string(text))
	}
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What kubectl finds with its own JSONPath is what ParsePath finds with the same text.
func TestPathAsKubectl(t *testing.T) {
	var decoded any
	if err := json.Unmarshal([]byte(somePod), &decoded); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"{.status.phase}", "{.spec.containers[*].image}", "{.spec.containers[-1].name}", "{.spec.containers[0:2].name}", "{.spec.containers[-2:].name}",
		"{.spec.containers[0,2].name}", `{.metadata.labels.app\.kubernetes\.io/name}`, "{.metadata.labels['app-x']}", `{.metadata.labels['app\.kubernetes\.io/name']}`,
		`{.status.conditions[?(@.type=="Ready")].status}`, `{.spec.containers[?(@.ready==true)].name}`, "{..image}", "{.spec.containers[?(@.ports)].name}",
		"{.metadata.labels.app-x}", "{$.status.phase}", "{.spec['weight']}", "{.spec.nothing}",
	} {
		theirs := kubectl.New("test").AllowMissingKeys(true)
		if err := theirs.Parse(path); err != nil {
			t.Fatal(path, err)
		}
		results, err := theirs.FindResults(decoded)
		if err != nil {
			t.Fatal(path, err)
		}
		var want []string
		for _, result := range results[0] {
			var out bytes.Buffer
			fmt.Fprint(&out, result.Interface())
			want = append(want, out.String())
		}
		p, err := ParsePath(path)
		if err != nil {
			t.Error(err)
			continue
		}
		got := texts(p.Values([]byte(somePod)))
		for i := range got {
			got[i] = strings.Replace(got[i], "1.50", "1.5", 1)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-kubectl +got):\n%s", path, diff)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{".status.phase", "{.a[*].b}", "$..a", `a[?(@.b=="c" && !$.x || match(@, 'a'))]`, `a\.b['c',"d"][1:2:3]`, "a[?@[", "$['\\ud800']"} {
		f.Add(seed, somePod)
	}
	f.Fuzz(func(t *testing.T, text, document string) {
		p, err := ParsePath(text)
		if err != nil {
			isBadRequest(t, err)
			return
		}
		if !json.Valid([]byte(document)) {
			document = somePod
		}
		values := p.Values([]byte(document))
		for _, value := range values {
			if !json.Valid([]byte(value.JSON())) {
				t.Fatalf("%q finds %q", text, value.JSON())
			}
		}
		first, found := p.First([]byte(document))
		if found != (len(values) > 0) || found && first.JSON() != values[0].JSON() {
			t.Fatalf("First of %q is %q, %v, Values are %q", text, first, found, values)
		}
		again, err := ParsePath(p.String())
		if err != nil {
			t.Fatalf("%q is read, its String is not: %v", text, err)
		}
		if len(again.Values([]byte(document))) != len(values) {
			t.Fatalf("%q and its String find different values", text)
		}
	})
}
