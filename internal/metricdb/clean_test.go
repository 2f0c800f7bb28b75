package metricdb

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestClean(t *testing.T) {
	f := func(value, want string) {
		t.Helper()
		if got := Clean(value); got != want {
			t.Errorf("%.40q (%d bytes) becomes %.40q (%d), want %.40q (%d)", value, len(value), got, len(got), want, len(want))
		}
	}
	long := strings.Repeat("x", maxTagValueBytes)
	f("", "")
	f("plain text, 'quoted'", "plain text, 'quoted'")
	f("a\nb\x00\x7f", "a\uFFFDb\uFFFD\uFFFD")
	f(`a\b\\`, "a\\b\uFFFD\uFFFD")
	f("\xff\xfe", "\uFFFD") // a run of what is no UTF-8
	f(long, long)
	f(long+"y", long)
	f(long[1:]+"é", long[1:])               // half a rune is none
	f(long[1:]+"\xff", long[1:])            // U+FFFD has no room
	f("\xff"+long, "\uFFFD"+long[3:])       // what is no UTF-8 is replaced in long values too
	f(long[1:]+`\`, long[1:])               // nor has it here
	f(long[4:]+`\y`+`zzz`, long[4:]+`\yzz`) // a backslash that is not at the end stays
	f(strings.Repeat(`\`, 10<<10), strings.Repeat("\uFFFD", maxTagValueBytes/3))
}

// TestCleanTwice: a value is clean after the first time.
func TestCleanTwice(t *testing.T) {
	piece := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{`\`, `\\\`, "\n", "\x00", "\x7f", "\xff", "\xe2\x82", "é", "🚀", "x", "\uFFFD"}),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		filler := rapid.SampledFrom([]string{"x", `\`, "é", "🚀", "\n", "\xff", "\uFFFD"}).Draw(t, "filler")
		room := rapid.IntRange(0, 2*maxTagValueBytes).Draw(t, "room")
		if rapid.Bool().Draw(t, "near the bound") {
			room = rapid.IntRange(maxTagValueBytes-20, maxTagValueBytes+20).Draw(t, "room near")
		}
		head, tail := strings.Join(rapid.SliceOfN(piece, 0, 4).Draw(t, "head"), ""), strings.Join(rapid.SliceOfN(piece, 0, 4).Draw(t, "tail"), "")
		value := head + strings.Repeat(filler, room/len(filler)) + tail
		once := Clean(value)
		if twice := Clean(once); twice != once {
			t.Fatalf("%d bytes become %d, and those %d", len(value), len(once), len(twice))
		}
		if !utf8.ValidString(once) || len(once) > maxTagValueBytes || strings.HasSuffix(once, `\`) {
			t.Fatalf("%d bytes come out of %d, valid: %v, ending in %.10q", len(once), len(value), utf8.ValidString(once), once[max(0, len(once)-10):])
		}
		if strings.ContainsFunc(once, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatal("control characters are left")
		}
		if len(value) < maxTagValueBytes/3 && utf8.ValidString(value) && utf8.RuneCountInString(once) != utf8.RuneCountInString(value) {
			t.Fatalf("%q lost or won a character: %q", value, once)
		}
	})
}
