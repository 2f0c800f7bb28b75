package metrics

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"
)

// frameOf makes a frame of any body, so that faults are not only found by the checksum.
func frameOf(body []byte) []byte {
	frame := append([]byte(frameMagic), 0, 0, 0, 0, packNone)
	frame = binary.AppendUvarint(frame, uint64(len(body)))
	frame = append(frame, body...)
	binary.LittleEndian.PutUint32(frame[len(frameMagic):], crc32.Checksum(frame[frameFixed:], castagnoli))
	return frame
}

// frames are a few small batches' frames: their bodies.
func smallFrames(t testing.TB) (bodies [][]byte) {
	f := newFleet(2, 3)
	e := NewEncoder()
	unpacker := NewModel(0).unpacker
	add := func(frame []byte) {
		body, err := openFrame(frame, unpacker)
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	for range 3 {
		b := f.next(1)
		add(e.Encode(b))
		add(e.Keyframe(b))
		e.Commit(b)
	}
	return bodies
}

func FuzzFrame(f *testing.F) {
	bodies := smallFrames(f)
	for _, body := range bodies {
		f.Add(body)
	}
	first, delta := frameOf(bodies[0]), frameOf(bodies[2])
	f.Fuzz(func(t *testing.T, body []byte) {
		m := NewModel(15 * time.Minute)
		frame := frameOf(body)
		look(m, m.Apply(testStream, frame))
		if err := m.Apply(testStream, first); err == nil {
			look(m, m.Apply(testStream, frame))
		}
		look(m, m.Restore(testStream, first, [][]byte{frame, delta}))
		look(m, m.Restore(testStream, frame, [][]byte{first, delta}))
		look(m, m.Restore(testStream, nil, [][]byte{frame, frame}))
	})
}

// look reads all there is to read.
func look(m *Model, err error) {
	v := m.View(testStream.Cluster)
	if err != nil || v == nil {
		return
	}
	for set := range v.Each {
		set.Values(func(d *Descriptor, labels []Label, _ int64, _ time.Time) bool {
			v.Series(set.Key, d.Name, labels, time.Time{}, time.Time{})
			return true
		})
		v.MetricNames(set.Key)
		v.LabelSets(set.Key, "filesystem/usage")
	}
	v.Keys()
	m.Batch(testStream)
}

func TestFrameIsCorrupt(t *testing.T) {
	f := newFleet(2, 3)
	frame := NewEncoder().Encode(f.next(0))
	m := NewModel(time.Minute)
	g := func(what string, frame []byte) {
		t.Helper()
		if err := m.Apply(testStream, frame); err != ErrCorrupt { //nolint:errorlint // the sentinel itself is promised
			t.Errorf("%s: %v", what, err)
		}
		if err := m.Restore(testStream, frame, nil); err != ErrCorrupt { //nolint:errorlint // the sentinel itself is promised
			t.Errorf("restore %s: %v", what, err)
		}
	}
	g("nothing", nil)
	g("half", frame[:len(frame)/2])
	g("all but a byte", frame[:len(frame)-1])
	g("text", []byte("this is no frame, whatever it is"))
	for i := 0; i < len(frame); i += 7 {
		broken := append([]byte(nil), frame...)
		broken[i] ^= 4
		g("one bit", broken)
	}
	huge := append([]byte(frameMagic), 0, 0, 0, 0, packZstd)
	huge = append(binary.AppendUvarint(huge, maxFrameBody), frame[frameFixed+4:]...)
	binary.LittleEndian.PutUint32(huge[len(frameMagic):], crc32.Checksum(huge[frameFixed:], castagnoli))
	g("one that says it is huge", huge)
	if err := m.Apply(testStream, frame); err != nil {
		t.Errorf("the frame itself: %v", err)
	}
}
