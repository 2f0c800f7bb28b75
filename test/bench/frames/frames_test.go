package frames

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

type pod struct {
	Kind     string
	Metadata struct {
		Namespace, Name, UID, ResourceVersion string
		Annotations                           map[string]string
		ManagedFields                         []any
	}
}

type table struct {
	Type   string
	Object struct {
		Kind     string
		Metadata struct{ ResourceVersion string }
		Rows     []struct {
			Cells  []any
			Object json.RawMessage
		}
	}
}

func decode[T any](t *testing.T, text []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func TestFrameSaysWhatTheEventSays(t *testing.T) {
	set := New(100, true, 1)
	for slot := range uint32(100) {
		e := Event{Type: Modified, Slot: slot, Life: 3, Step: 77, Version: 1234567890}
		frame := decode[table](t, set.Append(nil, e))
		row := frame.Object.Rows[0]
		p := decode[pod](t, row.Object)
		if frame.Type != "MODIFIED" || frame.Object.Metadata.ResourceVersion != "1234567890" || p.Metadata.ResourceVersion != "1234567890" {
			t.Fatalf("frame %+v", frame)
		}
		if p.Metadata.Annotations["bench.krm.test/step"] != "0000000077" || len(p.Metadata.ManagedFields) != 2 {
			t.Fatalf("pod %+v", p)
		}
		if namespace, name := set.Key(e); namespace != p.Metadata.Namespace || name != p.Metadata.Name || row.Cells[0] != name || len(row.Cells) != 9 {
			t.Fatalf("key %s/%s of %+v, cells %v", namespace, name, p.Metadata, row.Cells)
		}
		if !bytes.Equal(set.Pod(e), row.Object) {
			t.Fatalf("pod %s\nframe %s", set.Pod(e), row.Object)
		}
		if bytes.ContainsAny(set.Append(nil, e), "\x01\x02\x03\x04\x05") {
			t.Fatal("a place was not filled in")
		}
	}
}

func TestPodsDiffer(t *testing.T) {
	set := New(2000, false, 1)
	names, uids := map[string]bool{}, map[string]bool{}
	for slot := range uint32(2000) {
		for life := range uint32(3) {
			p := decode[pod](t, set.Pod(Event{Slot: slot, Life: life, Version: FirstVersion}))
			names[p.Metadata.Namespace+"/"+p.Metadata.Name] = true
			uids[p.Metadata.UID] = true
		}
	}
	if len(names) != 6000 || len(uids) != 6000 {
		t.Errorf("%d names and %d uids of 6000 pods", len(names), len(uids))
	}
}

func TestSizes(t *testing.T) {
	with, without := New(500, true, 1).Sizes(), New(500, false, 1).Sizes()
	if with.Kept != without.Kept || without.Pod != without.Kept || with.Pod <= with.Kept {
		t.Errorf("with managedFields %+v, without %+v", with, without)
	}
	if with.Kept < 5000 || with.Kept > 5400 {
		t.Errorf("a pod has %d bytes, want about 5,200", with.Kept)
	}
}

// What a reader of the events holds at the end is what the world says.
func TestWorldFollowedFromTheBeginning(t *testing.T) {
	w := NewWorld(New(50, false, 1), 1)
	events, version := w.Now()
	held := map[uint32]Event{}
	for _, e := range events {
		held[e.Slot] = e
	}
	kinds := map[Type]int{}
	for range 100 {
		w.Advance(30)
		got, _, ok := w.After(version, 1000, nil)
		if !ok || len(got) != 30 {
			t.Fatalf("%d events, %v", len(got), ok)
		}
		for _, e := range got {
			if version++; e.Version != version {
				t.Fatalf("version %d, want %d", e.Version, version)
			}
			before, there := held[e.Slot]
			if (e.Type == Added) == there || there && e.Life != before.Life {
				t.Fatalf("%v after %v", e, before)
			}
			held[e.Slot] = e
			if e.Type == Deleted {
				delete(held, e.Slot)
			}
			kinds[e.Type]++
		}
	}
	events, head := w.Now()
	if head != version || len(events) != len(held) {
		t.Fatalf("head %d of %d pods, held %d of %d", head, len(events), version, len(held))
	}
	for _, e := range events {
		if held[e.Slot] != e {
			t.Errorf("%v, held %v", e, held[e.Slot])
		}
	}
	if kinds[Modified] < 2000 || kinds[Added] < 100 || kinds[Deleted] < 100 {
		t.Errorf("events: %v", kinds)
	}
}

func TestHistoryEnds(t *testing.T) {
	w := NewWorld(New(10, false, 1), 1)
	if _, _, ok := w.After(FirstVersion, 1, nil); ok {
		t.Error("what came before the first list is kept")
	}
	start := w.Head()
	w.Advance(history + 5)
	if _, _, ok := w.After(start, 1, nil); ok {
		t.Error("history has no end")
	}
	if events, _, ok := w.After(w.Head()-3, 10, nil); !ok || len(events) != 3 {
		t.Errorf("%d of the last 3 events", len(events))
	}
}

func TestDigits(t *testing.T) {
	text := make([]byte, 10)
	digits(text, 42)
	if n, err := strconv.Atoi(strings.TrimLeft(string(text), "0")); err != nil || n != 42 || len(fmt.Sprint(FirstVersion)) != versionWidth {
		t.Errorf("%s", text)
	}
}

func BenchmarkAppend(b *testing.B) {
	set := New(1000, true, 1)
	buffer := make([]byte, 0, 16<<10)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		buffer = set.Append(buffer[:0], Event{Type: Modified, Slot: uint32(i % 1000), Version: FirstVersion + uint64(i)})
	}
}
