package client

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/framer"
)

func framed(t testing.TB, kind, object string) string {
	t.Helper()
	event := metav1.WatchEvent{Type: kind, Object: runtime.RawExtension{Raw: []byte(object)}}
	raw, err := event.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := framer.NewLengthDelimitedFrameWriter(&out).Write(raw); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestFrames(t *testing.T) {
	f := func(binary bool, stream string, wantErr error, want ...string) {
		t.Helper()
		for _, from := range []io.Reader{strings.NewReader(stream), iotest.HalfReader(strings.NewReader(stream)), iotest.DataErrReader(strings.NewReader(stream))} {
			reader := &frameReader{from: from, binary: binary}
			var got []string
			for {
				next, err := reader.next()
				if err != nil {
					if !errors.Is(err, wantErr) {
						t.Errorf("%.60q: got %v, want %v", stream, err, wantErr)
					}
					break
				}
				got = append(got, next.kind+" "+string(next.object.body))
			}
			if strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("%.60q: got %.200q, want %.200q", stream, got, want)
			}
		}
	}
	one, two := framed(t, "ADDED", "one"), framed(t, "DELETED", "two")
	big := strings.Repeat("x", 3<<20)
	f(true, "", io.EOF)
	f(true, one+two, io.EOF, "ADDED one", "DELETED two")
	f(true, framed(t, "ADDED", big)+two, io.EOF, "ADDED "+big, "DELETED two")
	f(true, one+two[:1], io.ErrUnexpectedEOF, "ADDED one")
	f(true, one+two[:4], io.ErrUnexpectedEOF, "ADDED one")
	f(true, one+two[:9], io.ErrUnexpectedEOF, "ADDED one")
	f(true, "\xff\xff\xff\xff", errFrame)
	f(true, "\x04\x00\x00\x01x", errFrame)
	f(true, "\x03\x00\x00\x00x", io.ErrUnexpectedEOF)
	f(true, "\x00\x00\x00\x02\x0a\x09", errFrame)
	f(true, `{"type":"ADDED","object":{}}`, errFrame)

	f(false, "", io.EOF)
	f(false, `{"type":"ADDED","object":{"a":1}}`+"\n"+` {"type":"DELETED","object":2}`, io.EOF, `ADDED {"a":1}`, "DELETED 2")
	f(false, `{"type":"ADDED","object":{"a":1}}{"type":`, io.ErrUnexpectedEOF, `ADDED {"a":1}`)
	f(false, `{"type":1}`, errFrame)
	f(false, `[1]`, errFrame)
	f(false, `<html>`, errFrame)
	f(false, "\x00\x00\x00\x01", errFrame)
	f(false, `{"type":"`+strings.Repeat("x", maxFrame)+`"}`, errFrame)
}

// FuzzFrames: no stream does harm, none is read without end, and none takes more
// memory than it has bytes.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(framed(f, "ADDED", "one")+framed(f, "DELETED", "two")), true)
	f.Add([]byte(`{"type":"ADDED","object":{"a":1}}{}`), false)
	f.Add([]byte("\x03\xff\xff\xff\x0a"), true)
	f.Fuzz(func(t *testing.T, stream []byte, binary bool) {
		reader := &frameReader{from: bytes.NewReader(stream), binary: binary}
		for count := 0; ; count++ {
			next, err := reader.next()
			if err != nil {
				break
			}
			if len(next.object.body) > len(stream) || count > len(stream) {
				t.Fatalf("frame %d has %d bytes of %d", count, len(next.object.body), len(stream))
			}
		}
		if cap(reader.buffer) > 2*len(stream)+1<<20 {
			t.Errorf("a buffer of %d bytes for %d", cap(reader.buffer), len(stream))
		}
	})
}
