package kube

import (
	"os"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// podFrame is one ADDED event of a real kube-apiserver 1.36, as Table, 7.1 KB
// with managedFields, 4.3 KB without.
func podFrame(tb testing.TB) []byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/pod-frame.json")
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// endless is a stream of one frame again and again, in pieces as HTTP/2 brings them.
type endless struct {
	frame []byte
	pos   int
}

func (e *endless) Read(p []byte) (int, error) {
	p = p[:min(len(p), 16<<10)]
	n := 0
	for n < len(p) {
		c := copy(p[n:], e.frame[e.pos:])
		n += c
		e.pos = (e.pos + c) % len(e.frame)
	}
	return n, nil
}

// BenchmarkFrame is the whole way of one event from the connection's bytes to an
// object.Event that owns its memory.
func BenchmarkFrame(b *testing.B) {
	frame := podFrame(b)
	events := newFrames(&endless{frame: frame})
	d := &decoder{resource: object.Resource{Version: "v1", Name: "pods", Namespaced: true}}
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := nextEvent(events, d); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFrameJsontext is what encoding/json/jsontext takes for the validation
// alone, without finding or copying anything.
func BenchmarkFrameJsontext(b *testing.B) {
	frame := podFrame(b)
	d := jsontext.NewDecoder(&endless{frame: frame}, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.SkipValue(); err != nil {
			b.Fatal(err)
		}
	}
}

func TestFrameAllocations(t *testing.T) {
	frame := podFrame(t)
	d := &decoder{resource: object.Resource{Version: "v1", Name: "pods", Namespaced: true}}
	at := time.Now()
	allocations := testing.AllocsPerRun(100, func() {
		if _, _, _, err := d.decode(frame, at); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 2 { // the body with its cells, and the names
		t.Errorf("a frame takes %v allocations, want 2", allocations)
	}
}
