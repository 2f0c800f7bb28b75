package kube

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// What is handed out must stay as it is while the stream goes on.
func TestRecordsOwnTheirMemory(t *testing.T) {
	var text strings.Builder
	for i := range 2000 {
		text.WriteString(podEvent("ADDED", fmt.Sprint("pod-", i), fmt.Sprint(i+1)))
	}
	c, _ := serve(t, Options{}, say(text.String()))
	var records []object.Record
	for e, err := range c.Watch(t.Context(), pods, "10", 0) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, e.Record)
	}
	for i, r := range records {
		name := fmt.Sprint("pod-", i)
		if r.Key.Name != name || string(r.Body) != cutPod(name, fmt.Sprint(i+1)) || string(r.Cells) != fmt.Sprintf("[%q]", name) {
			t.Fatalf("record %d is now %v %s %s", i, r.Key, r.Body, r.Cells)
		}
		if cap(r.Body) != len(r.Body) {
			t.Fatal("appending to the body would write to the cells")
		}
	}
	if len(records) != 2000 {
		t.Errorf("%d records", len(records))
	}
}

// The way in which a stream is cut into reads must not matter.
func TestFramesInPieces(t *testing.T) {
	pretty := strings.ReplaceAll(podEvent("MODIFIED", "y", "12"), ",", ",\n  ")
	large := strings.Replace(podEvent("ADDED", "z", "13"), `"spec":{}`, `"spec":{"x":"`+strings.Repeat("y", 3<<20)+`"}`, 1)
	stream := podEvent("ADDED", "x", "11") + pretty + large + mark("14", "") + pretty
	for _, size := range []int{1, 3, 100, 4096, 1 << 20} {
		if size < 100 && testing.Short() {
			continue
		}
		events := newFrames(&inPieces{text: []byte(stream), size: size})
		d := &decoder{resource: pods}
		var got []string
		for {
			_, e, err := nextEvent(events, d)
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			if err != nil {
				t.Fatalf("pieces of %d: %v", size, err)
			}
			got = append(got, fmt.Sprintf("%v%v%v", e.Type, e.Record.Key, e.Version))
		}
		if want := "[ADDEDa/x MODIFIEDa/y ADDEDa/z BOOKMARK14 MODIFIEDa/y]"; fmt.Sprint(got) != want {
			t.Errorf("pieces of %d: %v", size, got)
		}
	}
}

// inPieces is a reader that gives at most size bytes at once.
type inPieces struct {
	text []byte
	size int
}

func (r *inPieces) Read(p []byte) (int, error) {
	if len(r.text) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.size)], r.text)
	r.text = r.text[n:]
	return n, nil
}
