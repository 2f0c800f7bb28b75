package influx

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
)

// unquoteFlux reads a Flux string literal as its grammar says, and says where it ends.
func unquoteFlux(t *testing.T, text string) string {
	t.Helper()
	if len(text) < 2 || text[0] != '"' {
		t.Fatalf("%q is no literal", text)
	}
	var out []byte
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			if i != len(text)-1 {
				t.Fatalf("%q ends at %d of %d", text, i, len(text))
			}
			return string(out)
		case c == '$' && i+1 < len(text) && text[i+1] == '{':
			t.Fatalf("%q interpolates", text)
		case c == '\\':
			if i+3 >= len(text) || text[i+1] != 'x' {
				t.Fatalf("%q: an escape that is not \\xNN", text)
			}
			b, err := strconv.ParseUint(text[i+2:i+4], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, byte(b))
			i += 3
		case c < ' ' || c >= utf8.RuneSelf:
			t.Fatalf("%q: byte %x", text, c)
		default:
			out = append(out, c)
		}
	}
	t.Fatalf("%q does not end", text)
	return ""
}

func TestLiteral(t *testing.T) {
	for _, text := range dbtest.Hostile {
		if got := unquoteFlux(t, literal(text)); got != strings.ToValidUTF8(text, "\uFFFD") {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func FuzzLiteral(f *testing.F) {
	for _, text := range dbtest.Hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := unquoteFlux(t, literal(text)); got != strings.ToValidUTF8(text, "\uFFFD") {
			t.Errorf("%q became %q", text, got)
		}
	})
}

// TestStatement checks that values are nowhere in a statement's text.
func TestStatement(t *testing.T) {
	for _, text := range dbtest.Hostile {
		st := newStatement().raw("SELECT x").from("p", "m").where(dbtest.T0, dbtest.T0.Add(time.Hour), []metricdb.Match{metricdb.Is("tag", text, "b"), metricdb.IsNot("other", text)})
		want := `SELECT x FROM "p"."m" WHERE time >= 1772359200000000000 AND time < 1772362800000000000` +
			` AND ("tag" = $p0 OR "tag" = $p1) AND ("other" != $p2)`
		if got := st.text.String(); got != want {
			t.Errorf("%q: %s", text, got)
		}
		if st.params["p0"] != text || st.params["p2"] != text {
			t.Errorf("%q: %v", text, st.params)
		}
	}
}

func TestQuoteIdent(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		if got := quoteIdent(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
	f("k8s", `"k8s"`)
	f(`a"b\c`, `"a\"b\\c"`)
	f("a\nb", `"a\nb"`)
}
