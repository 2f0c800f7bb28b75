package field

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"
)

func TestPathSelector(t *testing.T) {
	f := func(text string, want bool) {
		t.Helper()
		s, err := ParseSelector(text)
		if err != nil {
			t.Error(err)
			return
		}
		if got := s.Matches([]byte(somePod)); got != want {
			t.Errorf("%s: %v", text, got)
		}
		if s.String() != text {
			t.Errorf("%q is written %q", text, s.String())
		}
	}
	f(".status.phase=Running", true)
	f(".status.phase == Running ", true)
	f("{.status.phase}!=Running", false)
	f("status.phase='Running'", true)
	f(`status.phase="Runn\u0069ng"`, true)
	f("spec.containers[*].image=b:1", true)
	f("spec.containers[*].image!=b:1", false)
	f("spec.containers[*].image=x,status.phase=Running", false)
	f("spec.containers[*].image,status.phase", true)
	f("spec.containers[0,1].name=b , metadata.name = p", true)
	f("spec.weight=1.50,spec.weight!=1.5", true)
	f("spec.containers[*].ready=true", true)
	f("spec.containers[2].n,spec.containers[2].n=null,spec.containers[2].n!=", true)
	f("!spec.nothing,! spec.other", true)
	f("!status.phase", false)
	f("spec.nothing", false)
	f("spec.nothing!=x", true)
	f("spec.nothing=", false)
	f(`metadata.labels.app-x=1`, true)
	f(`metadata.labels['it\'s']=q`, true)
	f(`status.conditions[?(@.type=="Ready")].status=True`, true)
	f(`status.conditions[?@.type=='Ready' && @.status!='False'].status!='a,b'`, true)
	f(`status.phase='it\'s "x"'`, false)
	f("", true)
}

func TestParametersRefuse(t *testing.T) {
	f := func(parse func(string) error, text, parameter, want string) {
		t.Helper()
		err := parse(text)
		if err == nil {
			t.Errorf("%s=%q is accepted", parameter, text)
			return
		}
		isBadRequest(t, err)
		if !strings.HasPrefix(err.Error(), "parameter "+parameter+"=") || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "; want ") {
			t.Errorf("%s=%q gives %q, want %q in it", parameter, text, err, want)
		}
	}
	selector := func(text string) error { _, err := ParseSelector(text); return err }
	order := func(text string) error { _, err := ParseOrder(text); return err }
	projection := func(text string) error { _, err := ParseProjection(text); return err }
	grouping := func(text string) error { _, err := ParseGrouping(text); return err }
	f(selector, ",", ParameterSelector, "at 1: want a path")
	f(selector, "a=b,", ParameterSelector, "want a path")
	f(selector, "a='b", ParameterSelector, "at 3: ' is not closed")
	f(selector, "a='b'c", ParameterSelector, "at 6: unexpected 'c'")
	f(selector, `a="\x"`, ParameterSelector, "string as in JSON")
	f(selector, "a<3", ParameterSelector, "at 2: unexpected '<'")
	f(selector, "!a=b", ParameterSelector, "at 3: unexpected '='")
	f(selector, strings.Repeat("a,", maxItems)+"a", ParameterSelector, "more than 32")
	f(selector, strings.Repeat("a", MaxParameter+1), ParameterSelector, "4097 bytes")
	f(selector, "..a,..b,..c,..d,..e", ParameterSelector, `at most 4 ".."`)
	f(order, "a desc", ParameterOrder, "at 3: unexpected 'd'")
	f(order, "a,", ParameterOrder, "want a path")
	f(projection, "a[0]", ParameterProjection, "a[0] has more than")
	f(projection, "..a", ParameterProjection, "..a has more than")
	f(projection, "a['b','c']", ParameterProjection, "has more than")
	f(grouping, "", ParameterGrouping, "label:KEY")
	f(grouping, "label:", ParameterGrouping, "label's key")
	f(grouping, "a,b", ParameterGrouping, "at 2: unexpected ','")
}

func TestOrder(t *testing.T) {
	f := func(text string, bodies, want string) {
		t.Helper()
		order, err := ParseOrder(text)
		if err != nil {
			t.Error(err)
			return
		}
		values := strings.Fields(bodies)
		var got []string
		for _, i := range order.Sort(len(values), func(i int) []byte { return []byte(`{"a":` + values[i] + `,"b":` + values[i][:1] + `}`) }) {
			got = append(got, values[i])
		}
		if diff := cmp.Diff(strings.Fields(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	f("", `3 1 2`, `3 1 2`)
	f("a", `3 20 1e1 -1 2.5`, `-1 2.5 3 1e1 20`)
	f("-a", `3 20 1e1 -1 2.5`, `20 1e1 3 2.5 -1`)
	f("a", `"10" "9" "a"`, `"10" "9" "a"`)
	f("a", `"10" "9" "8"`, `"8" "9" "10"`)
	f("a", `"1Gi" "1G" 5 "100m" "512Mi"`, `"100m" 5 "512Mi" "1G" "1Gi"`)
	f("a", `"2026-01-02T00:00:00Z" "2026-01-02T00:00:00+02:00" "2025-01-02T00:00:00.5Z"`, `"2025-01-02T00:00:00.5Z" "2026-01-02T00:00:00+02:00" "2026-01-02T00:00:00Z"`)
	f("a", `"b" null true 7 "a" {} false [] 3`, `null false true 3 7 "a" "b" [] {}`)
	f("-a", `"b" null true 7 "a" false`, `"b" "a" 7 true false null`)
	f("c", `3 1 2`, `3 1 2`)
	f("-c", `3 1 2`, `3 1 2`)
	f("b,-a", `31 21 32 22`, `22 21 32 31`)
	f("a", `1e400 9007199254740993 9007199254740992`, `9007199254740992 9007199254740993 1e400`)
}

// Sort is a stable permutation, and what it puts side by side is in order.
func TestOrderIsTotal(t *testing.T) {
	value := rapid.SampledFrom([]string{`1`, `"1"`, `"2"`, `"1k"`, `"a"`, `"2026-01-02T00:00:00Z"`, `null`, `true`, `{}`, `-1.5`, `1E400`, `1e-300`, `"é"`, `1000`})
	order, err := ParseOrder("a")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(value, 0, 40).Draw(t, "values")
		body := func(i int) []byte { return []byte(`{"a":` + values[i] + `}`) }
		positions := order.Sort(len(values), body)
		for i := 1; i < len(positions); i++ {
			for j := range i {
				pair := []int{positions[j], positions[i]}
				keys := keysOf(order, len(values), body)
				if c := keys[pair[0]].compare(&keys[pair[1]]); c > 0 || c == 0 && pair[0] > pair[1] {
					t.Fatalf("%q sorted to %v", values, positions)
				}
			}
		}
		slices.Sort(positions)
		for i, p := range positions {
			if i != p {
				t.Fatalf("%v is no permutation", positions)
			}
		}
	})
}

func keysOf(order Order, n int, body func(int) []byte) []sortKey {
	keys := make([]sortKey, n)
	for i := range keys {
		keys[i] = newKey(order.by[0].path, body(i))
	}
	interpret(keys)
	return keys
}

func TestGrouping(t *testing.T) {
	o := Object{Namespace: "ns", Name: "p", Node: "n1", Body: []byte(somePod)}
	f := func(text, want string) {
		t.Helper()
		g, err := ParseGrouping(text)
		if err != nil {
			t.Error(err)
			return
		}
		if got := g.Key(&o, labels.Set{"app": "web", "a b": "x"}); got != want || g.String() != text {
			t.Errorf("%s: %q, want %q", g, got, want)
		}
	}
	f("node", "n1")
	f("phase", "Running")
	f("namespace", "ns")
	f("label:app", "web")
	f("label:other", "")
	f("label:a b", "x")
	f(".node", "")
	f("{.kind}", "Pod")
	f("spec.containers[*].image", "a:1,b:1,c:1")
}

func TestProjection(t *testing.T) {
	f := func(text, body, want string) {
		t.Helper()
		p, err := ParseProjection(text)
		if err != nil {
			t.Error(err)
			return
		}
		if got := string(p.Append([]byte("x"), []byte(body))); got != "x"+want {
			t.Errorf("%s gives %s, want %s", text, got[1:], want)
		}
	}
	f("", `{"a":1}`, `{"a":1}`)
	f("spec.containers[*].image", somePod, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"},"spec":{"containers":[{"image":"a:1"},{"image":"b:1"},{"image":"c:1"}]}}`)
	f("status.phase,{.metadata.labels['app-x']}", somePod, `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p","labels":{"app-x":"1"}},"status":{"phase":"Running"}}`)
	f("metadata", `{"metadata":{"a":[1, 2],"uid":"u"},"spec":{}}`, `{"metadata":{"a":[1, 2],"uid":"u"}}`)
	f("a[*].b,a[*].c.d", `{"a":[{"b":1},{},{"c":{"d":2,"e":3}}]}`, `{"a":[{"b":1},{},{"c":{"d":2}}]}`)
	f("a.b", `{"a":[{"b":1}]}`, `{}`)
	f("a[*].b", `{"a":{"b":1}}`, `{}`)
	f("a[*][*]", `{"a":[[1],[2,3],4]}`, `{"a":[[1],[2,3]]}`)
	f("a,a.b", `{"a":{"b":1,"c":2}}`, `{"a":{"b":1,"c":2}}`)
	f("a.b,a", `{"a":{"b":1,"c":2}}`, `{"a":{"b":1,"c":2}}`)
	f("a.b", `{"a":{"c":2}}`, `{"a":{}}`)
	f("a", ` { "a" : 1 , "b" : 2, "kind" : "K" } `, `{"a":1,"kind":"K"}`)
	f("a", `[1]`, `{}`)
}

// cut is the slow reference of Projection over decoded values.
func cut(value any, paths [][]string) (any, bool) {
	for _, path := range paths {
		if len(path) == 0 {
			return value, true
		}
	}
	under := func(name string) (rest [][]string) {
		for _, path := range paths {
			if path[0] == name {
				rest = append(rest, path[1:])
			}
		}
		return rest
	}
	switch value := value.(type) {
	case map[string]any:
		if len(under("[*]")) == len(paths) {
			return nil, false
		}
		kept := map[string]any{}
		for name, child := range value {
			if rest := under("." + name); len(rest) > 0 {
				if child, ok := cut(child, rest); ok {
					kept[name] = child
				}
			}
		}
		return kept, true
	case []any:
		rest := under("[*]")
		if len(rest) == 0 {
			return nil, false
		}
		kept := []any{}
		for _, child := range value {
			if child, ok := cut(child, rest); ok {
				kept = append(kept, child)
			}
		}
		return kept, true
	}
	return nil, false
}

func TestProjectionAsReference(t *testing.T) {
	step := rapid.OneOf(
		rapid.Map(member(), func(name string) string { return "." + name }),
		rapid.Map(rapid.SampledFrom([]string{"a", "b"}), func(name string) string { return "." + name }),
		rapid.Just("[*]"),
	)
	rapid.Check(t, func(t *rapid.T) {
		decoded := document().Draw(t, "document")
		paths := rapid.SliceOfN(rapid.SliceOfN(step, 1, 4), 1, 4).Draw(t, "paths")
		var items []string
		for _, path := range paths {
			item := "$"
			for _, step := range path {
				if step != "[*]" {
					step = jsonpathName(step[1:])
				}
				item += step
			}
			items = append(items, item)
		}
		p, err := ParseProjection(strings.Join(items, ","))
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(decoded)
		if err != nil {
			t.Fatal(err)
		}
		for _, always := range []string{"kind", "apiVersion"} {
			paths = append(paths, []string{"." + always})
		}
		want, _ := cut(decoded, paths)
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(canonical(t, text), canonical(t, p.Append(nil, body))); diff != "" {
			t.Fatalf("%q of %s (-want +got):\n%s", items, body, diff)
		}
	})
}

func FuzzProjection(f *testing.F) {
	for _, seed := range []string{"status.phase", "spec.containers[*].image,metadata", "a[*][*],b", "x['a.b']"} {
		f.Add(seed, somePod)
	}
	f.Fuzz(func(t *testing.T, text, document string) {
		p, err := ParseProjection(text)
		if err != nil {
			isBadRequest(t, err)
			return
		}
		if !json.Valid([]byte(document)) {
			document = somePod
		}
		got := p.Append(nil, []byte(document))
		var small, large any
		if err := json.Unmarshal(got, &small); err != nil {
			t.Fatalf("%q of %q is %q: %v", text, document, got, err)
		}
		if err := json.Unmarshal([]byte(document), &large); err != nil {
			t.Fatal(err)
		}
		if _, object := large.(map[string]any); object && len(got) > len(document) {
			t.Fatalf("%q of %q grew to %q", text, document, got)
		}
		again := p.Append(nil, got)
		if string(again) != string(got) {
			t.Fatalf("%q of %q is %q, of that %q", text, document, got, again)
		}
	})
}

func FuzzParseSelector(f *testing.F) {
	for _, seed := range []string{".status.phase=Running", "a!='x,y',!b", `c[?(@.d=="e,f")]=="\u0041"`, "-a,b", "label:x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSelector(text); err != nil {
			isBadRequest(t, err)
		} else {
			s.Matches([]byte(somePod))
		}
		if order, err := ParseOrder(text); err != nil {
			isBadRequest(t, err)
		} else {
			order.Sort(2, func(int) []byte { return []byte(somePod) })
		}
		if g, err := ParseGrouping(text); err != nil {
			isBadRequest(t, err)
		} else {
			g.Key(&Object{Body: []byte(somePod)}, labels.Set{})
		}
	})
}
