package kube

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

func TestScannerAcceptsWhatJSONIs(t *testing.T) {
	for _, text := range []string{
		"", " ", "null", "nul", "nulll", "true", "tru", "false", "0", "-0", "01", "1.", "1.5", ".5", "1e", "1e+", "1E-7", "-", "+1",
		`"a"`, `"a`, `"\n"`, `"\x"`, `"\u12`, `"\u12G4"`, `"\u00e9"`, `"\`, "\"\n\"", "\"\x7f\xff\"", `"12345678\"90123456789"`,
		"[]", "[1]", "[1,]", "[,1]", "[1 2]", "[1", "[", "]", "{}", `{"a":1}`, `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":1`, `{"a":`, `{"a"`, "{",
		" {\t\"a\" : [ 1 , {} ] }\r\n", "{}{}", "\x00", "{}\x00", "[}", "{]",
		strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999), strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
	} {
		checkGrammar(t, []byte(text))
	}
	for c := range 256 { // every byte at every place of the eight that are looked at together
		for at := range 10 {
			text := []byte(`"abcdefghijklmnopq"`)
			text[at+1] = byte(c)
			checkGrammar(t, text)
		}
	}
}

// checkGrammar compares with encoding/json.
func checkGrammar(t *testing.T, text []byte) {
	t.Helper()
	s := scanner{data: text}
	err := s.skip()
	if err == nil {
		err = s.end()
	}
	if valid := json.Valid(text); valid != (err == nil) {
		t.Fatalf("%q: error %v, encoding/json says %v", clip(text), err, valid)
	}
	if err != nil && !errors.As(err, new(*syntaxError)) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("%q: error %v", clip(text), err)
	}
}

func TestUnescape(t *testing.T) {
	for _, text := range []string{`plain`, `\"\\\/\b\f\n\r\t`, `\u0041\u00e9\u20AC`, `\ud83d\ude00`, `\ud83d`, `\ud83dx`, `\ud83d\u0041`, `\ude00\ud83d`} {
		var want string
		if err := json.Unmarshal([]byte(`"`+text+`"`), &want); err != nil {
			t.Fatal(err)
		}
		if got := string(unescape([]byte(text))); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestEscapedNames(t *testing.T) {
	d := &decoder{resource: pods}
	text := `{"\u0074ype":"\u0041DDED","object":{"m\u0065tadata":{"managed\u0046ields":[],"name":"\u0078","namespace":"a","resourceVersion":"\u0031"}}}`
	_, _, e, err := d.decode([]byte(text), time.Time{})
	if got := line(e); err != nil || got != `ADDED a/x  1 {"m\u0065tadata":{"name":"\u0078","namespace":"a","resourceVersion":"\u0031"}} ` {
		t.Errorf("got %s, %v", got, err)
	}
}

// A Table says first that it is one; should it not, the row is found all the same.
func TestTableInAnyOrder(t *testing.T) {
	d := &decoder{resource: pods}
	text := `{"object":{"rows":[` + row(pod("x", "11"), `"x"`) + `],"columnDefinitions":` + nameColumn + `,"kind":"Table","apiVersion":"meta.k8s.io/v1"},"type":"ADDED"}`
	n, columns, e, err := d.decode([]byte(text), time.Time{})
	if got := line(e); n != len(text) || len(columns) != 1 || err != nil || got != "ADDED a/x uid-x 11 "+cutPod("x", "11")+` ["x"]` {
		t.Errorf("got %s, %d columns, %v", got, len(columns), err)
	}
}

// A custom resource may have a kind Table, rows and columnDefinitions of its own.
func TestObjectThatLooksLikeATable(t *testing.T) {
	d := &decoder{resource: pods}
	custom := `{"apiVersion":"example.com/v1","kind":"Table","columnDefinitions":[1],"rows":[1,2],"metadata":{"name":"x","namespace":"a","resourceVersion":"7"}}`
	_, columns, e, err := d.decode([]byte(`{"type":"ADDED","object":`+custom+`}`), time.Time{})
	if err != nil || columns != nil || string(e.Record.Body) != custom {
		t.Errorf("columns %v, body %s, %v", columns, e.Record.Body, err)
	}
}

func TestRealPod(t *testing.T) {
	frame := podFrame(t)
	d := &decoder{resource: pods}
	n, columns, e, err := d.decode(frame, time.Time{})
	if err != nil || n != len(bytes.TrimSpace(frame)) || columns != nil {
		t.Fatalf("%d bytes, columns %v, %v", n, columns, err)
	}
	var f struct {
		Object struct {
			Rows []struct {
				Cells  json.RawMessage
				Object json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(frame, &f); err != nil {
		t.Fatal(err)
	}
	r := e.Record
	if string(r.Cells) != string(f.Object.Rows[0].Cells) {
		t.Errorf("cells %s", r.Cells)
	}
	if diff := cmp.Diff(withoutManagedFields(t, f.Object.Rows[0].Object), decoded(t, r.Body)); diff != "" {
		t.Error(diff)
	}
	if want := "analytics/web-848d5d9986-fvdpg c434bf9b-f2db-43b3-8171-55748e8403ff 407"; fmt.Sprint(r.Key, " ", r.UID, " ", r.Version) != want {
		t.Errorf("head %+v", r.Head)
	}
}

func withoutManagedFields(t interface{ Fatal(...any) }, text []byte) any {
	object := decoded(t, text).(map[string]any)
	if metadata, ok := object["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
	}
	return object
}

func decoded(t interface{ Fatal(...any) }, text []byte) (value any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// Wherever managedFields stand, however the text is written: the rest is kept to
// the byte, and is still JSON.
func TestCutLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		space := func(label string) string { return rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, label) }
		value := rapid.SampledFrom([]string{`{}`, `"a\"}{\\"`, `[{"managedFields":[1]},null]`, `-1.5e3`, `"managedFields"`, `{"metadata":{"managedFields":[]}}`})
		members := []string{`"name":"x"`, `"namespace":"a"`, `"resourceVersion":"7"`}
		for i := range rapid.IntRange(0, 3).Draw(t, "more") {
			members = append(members, fmt.Sprintf(`"m%d":%s`, i, value.Draw(t, "value")))
		}
		members = rapid.Permutation(members).Draw(t, "order")
		at := rapid.IntRange(0, len(members)).Draw(t, "at")
		all := append(append(append([]string{}, members[:at]...), `"managedFields"`+space("s")+":"+value.Draw(t, "fields")), members[at:]...)
		comma := space("before") + "," + space("after")
		object := func(members []string) string {
			return `{` + space("o") + `"kind":"K","metadata":{` + strings.Join(members, comma) + `},"spec":` + value.Draw(t, "spec") + `}`
		}
		text := object(all)
		d := &decoder{resource: pods}
		_, _, e, err := d.decode([]byte(`{"type":"ADDED","object":`+text+`}`), time.Time{})
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := cmp.Diff(withoutManagedFields(t, []byte(text)), decoded(t, e.Record.Body)); diff != "" {
			t.Fatalf("%s became %s:\n%s", text, e.Record.Body, diff)
		}
		if comma == "," && !strings.ContainsAny(text, " \n") {
			if i := strings.Index(text, string(e.Record.Body[:20])); i != 0 || len(e.Record.Body) >= len(text) {
				t.Fatalf("%s became %s", text, e.Record.Body)
			}
		}
	})
}

func FuzzScanner(f *testing.F) {
	f.Add([]byte(`{"a":[1,-2.5e+3,"\u00e9\\",true,null,{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) { checkGrammar(t, text) })
}

// FuzzFrame: whatever comes, decoding never panics, and what it accepts is an
// event of valid JSON whose head is what encoding/json finds in the body.
func FuzzFrame(f *testing.F) {
	real, err := os.ReadFile("testdata/pod-frame.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(real), podEvent("ADDED", "x", "11"), podEvent("DELETED", "x", "0"), mark("12", initialEnd), event("ADDED", pod("x", "1"), "1", "1", nameColumn),
		`{"type":"MODIFIED","object":` + pod("x", "abc") + `}`, `{"type":"ERROR","object":{"kind":"Status","code":410}}`,
		`{"type":"ADDED","object":{"metadata":{"managedFields":[],"name":"x","namespace":"n","resourceVersion":"5"}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d := &decoder{resource: pods}
		n, _, e, err := d.decode(text, time.Time{})
		if err != nil {
			if e.Record.Body != nil {
				t.Fatalf("half a record beside error %v", err)
			}
			return
		}
		if !json.Valid(text[:n]) {
			t.Fatalf("accepted %q", text[:n])
		}
		checkEvent(t, e)
	})
}

func checkEvent(t *testing.T, e object.Event) {
	t.Helper()
	switch e.Type {
	case object.Bookmark, object.InitialEnd:
		if _, err := object.ParseVersion(string(e.Version)); err != nil {
			t.Fatal(err)
		}
		return
	}
	var body struct {
		Metadata map[string]json.RawMessage
	}
	if err := json.Unmarshal(e.Record.Body, &body); err != nil {
		t.Fatalf("body %q: %v", e.Record.Body, err)
	}
	if _, err := object.ParseVersion(string(e.Record.Version)); err != nil || e.Record.Key.Name == "" || e.Record.Key.Namespace == "" {
		t.Fatalf("head %+v, %v", e.Record.Head, err)
	}
	if len(e.Record.Cells) > 0 && !json.Valid(e.Record.Cells) {
		t.Fatalf("cells %q", e.Record.Cells)
	}
}

// FuzzStream: how a stream is cut into reads changes nothing, and nothing hangs.
func FuzzStream(f *testing.F) {
	f.Add([]byte(podEvent("ADDED", "x", "11")+strings.ReplaceAll(mark("12", ""), ",", ",\n")+podEvent("DELETED", "x", "13")), 5)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		read := func(size int) (all []string) {
			events := newFrames(&inPieces{text: stream, size: size})
			d := &decoder{resource: pods}
			for {
				_, e, err := nextEvent(events, d)
				if err != nil {
					return append(all, fmt.Sprint(errors.Is(err, io.EOF)))
				}
				all = append(all, line(e))
			}
		}
		if diff := cmp.Diff(read(len(stream)+1), read(max(1, size%4096))); diff != "" {
			t.Fatal(diff)
		}
	})
}
