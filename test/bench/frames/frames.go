// Package frames makes the watch frames of many varied pods cheaply: each pod's
// frame is written once, and an event only fills in its version, time and the like.
package frames

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"time"
)

// Type is the type of an event.
type Type uint8

// The types of events.
const (
	Added Type = iota
	Modified
	Deleted
)

func (t Type) String() string { return [...]string{"ADDED", "MODIFIED", "DELETED"}[t] }

// Event says what happened to one slot, which holds one pod after the other.
type Event struct {
	Type    Type
	Slot    uint32
	Life    uint32 // which pod of the slot it is: another name and UID
	Step    uint32 // how often that slot's pods were changed
	Version uint64 // resourceVersion
}

// spot is a place of a frame that changes.
type spot struct {
	at   uint32
	kind byte
}

type template struct {
	text       []byte // everything of a frame behind its type
	spots      []spot
	start, end uint32 // of the pod within text
}

// Set holds the frames of all slots. Rendering does not change it.
type Set struct {
	templates []template
	began     time.Time // the time of step 0
}

// New writes the frames of count pods. The same seed makes the same pods.
func New(count int, managedFields bool, seed uint64) *Set {
	s := &Set{templates: make([]template, count), began: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)}
	for i := range s.templates {
		w := &writer{random: rand.New(rand.NewPCG(seed, uint64(i)))}
		w.frame(newPlan(w, i), managedFields)
		s.templates[i] = newTemplate([]byte(w.String()))
	}
	return s
}

func newTemplate(text []byte) template {
	t := template{text: text}
	for i := 0; i < len(text); i++ {
		width := widthOf(text[i])
		if width > 0 {
			t.spots = append(t.spots, spot{uint32(i), text[i]})
			i += width - 1
		}
	}
	const before, after = `"object":{"kind":"Pod"`, "}]}}\n"
	t.start = uint32(bytes.Index(text, []byte(before)) + len(`"object":`))
	t.end = uint32(len(text) - len(after))
	return t
}

func widthOf(kind byte) int {
	switch kind {
	case markVersion:
		return versionWidth
	case markStep:
		return stepWidth
	case markSuffix:
		return suffixWidth
	case markUID:
		return uidWidth
	case markTime:
		return timeWidth
	}
	return 0
}

// Len is the number of slots.
func (s *Set) Len() int { return len(s.templates) }

// Append appends the frame of e, with its newline, to b.
func (s *Set) Append(b []byte, e Event) []byte {
	b = append(b, `{"type":"`...)
	b = append(b, e.Type.String()...)
	b = append(b, '"')
	t := &s.templates[e.Slot]
	from := len(b)
	b = append(b, t.text...)
	s.fill(b[from:], t.spots, e)
	return b
}

// Pod returns the pod that e tells of, as the API server has it.
func (s *Set) Pod(e Event) []byte {
	t := &s.templates[e.Slot]
	text := bytes.Clone(t.text)
	s.fill(text, t.spots, e)
	return text[t.start:t.end]
}

// Key is the namespace and name of the pod that e tells of.
func (s *Set) Key(e Event) (namespace, name string) {
	frame := string(s.Append(nil, e))
	return between(frame, `"namespace":"`), between(frame, `"metadata":{"name":"`)
}

func between(text, before string) string {
	_, rest, _ := strings.Cut(text, before)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// fill writes e's values into a copy of a template.
func (s *Set) fill(text []byte, spots []spot, e Event) {
	for _, spot := range spots {
		place := text[spot.at:]
		switch spot.kind {
		case markVersion:
			digits(place[:versionWidth], e.Version)
		case markStep:
			digits(place[:stepWidth], uint64(e.Step))
		case markSuffix:
			letters(place[:suffixWidth], uint64(e.Slot)*2654435761+uint64(e.Life)*40503)
		case markUID:
			hex(place[:uidWidth], uint64(e.Slot)<<24|uint64(e.Life))
		case markTime:
			s.began.Add(time.Duration(e.Step)*time.Second).AppendFormat(place[:0], "2006-01-02T15:04:05Z")
		}
	}
}

// digits writes n with leading zeros. Versions have none, being ten digits long.
func digits(to []byte, n uint64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = byte('0' + n%10)
		n /= 10
	}
}

func letters(to []byte, n uint64) {
	const alphabet = "bcdfghjklmnpqrstvwxz2456789"
	for i := range to {
		to[i] = alphabet[n%uint64(len(alphabet))]
		n /= uint64(len(alphabet))
	}
}

func hex(to []byte, n uint64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = "0123456789abcdef"[n&15]
		n >>= 4
	}
}

// Sizes are averages over all slots, in bytes.
type Sizes struct {
	Frame int // as sent
	Pod   int // the pod within it, managedFields included
	Kept  int // the pod without managedFields
}

// Sizes returns the averages.
func (s *Set) Sizes() (sizes Sizes) {
	for i := range s.templates {
		t := &s.templates[i]
		pod := t.text[t.start:t.end]
		sizes.Frame += len(t.text) + len(`{"type":"MODIFIED"`)
		sizes.Pod += len(pod)
		sizes.Kept += len(pod)
		if from := bytes.Index(pod, []byte(`,"managedFields":`)); from >= 0 {
			sizes.Kept -= bytes.Index(pod, []byte(`]},"spec":`)) + 1 - from
		}
	}
	count := max(1, len(s.templates))
	return Sizes{sizes.Frame / count, sizes.Pod / count, sizes.Kept / count}
}
