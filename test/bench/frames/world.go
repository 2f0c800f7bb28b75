package frames

import (
	"math/rand/v2"
	"sync"
)

// FirstVersion is the resourceVersion of the first pod: all versions have ten digits.
const FirstVersion = 1_000_000_001

// history is how many events are kept for those who resume.
const history = 1 << 20

// World is the history of the pods: what happened, and what is. It is safe for
// concurrent use.
type World struct {
	set *Set

	mu      sync.Mutex
	random  *rand.Rand
	slots   []Event // the last event of each slot
	dead    []uint32
	ring    []Event // the event of version v stands at v % history
	head    uint64  // the version of the last event
	first   uint64  // the version of the first event that the ring can hold
	changed chan struct{}
}

// NewWorld creates all pods of set, one version after the other.
func NewWorld(set *Set, seed uint64) *World {
	w := &World{
		set: set, random: rand.New(rand.NewPCG(seed, 7)),
		slots: make([]Event, set.Len()), ring: make([]Event, history), changed: make(chan struct{}),
		head: FirstVersion - 1,
	}
	for i := range w.slots {
		w.head++
		w.slots[i] = Event{Type: Added, Slot: uint32(i), Version: w.head}
	}
	w.first = w.head + 1
	return w
}

// Advance lets count events happen and returns the version of the last: 80 % of them
// updates, 10 % creations and 10 % deletions.
func (w *World) Advance(count int) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range count {
		w.step()
	}
	close(w.changed)
	w.changed = make(chan struct{})
	return w.head
}

// step needs mu.
func (w *World) step() {
	w.head++
	var e Event
	dice := w.random.IntN(10)
	if dice == 0 && len(w.dead) > 0 {
		at := w.random.IntN(len(w.dead))
		e = w.slots[w.dead[at]]
		w.dead[at] = w.dead[len(w.dead)-1]
		w.dead = w.dead[:len(w.dead)-1]
		e.Type, e.Life, e.Step = Added, e.Life+1, e.Step+1
	} else {
		e = w.slots[w.live()]
		e.Type, e.Step = Modified, e.Step+1
		// Deletions bring as many pods down as creations bring back up.
		if dice == 1 && len(w.dead) < len(w.slots)/10 {
			e.Type = Deleted
			w.dead = append(w.dead, e.Slot)
		}
	}
	e.Version = w.head
	w.slots[e.Slot] = e
	w.ring[e.Version%history] = e
}

// live chooses a slot whose pod exists.
func (w *World) live() uint32 {
	for {
		if slot := uint32(w.random.IntN(len(w.slots))); w.slots[slot].Type != Deleted {
			return slot
		}
	}
}

// Head is the version of the last event.
func (w *World) Head() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.head
}

// Now returns the last event of each pod that exists, and the version at which that
// is the whole truth.
func (w *World) Now() ([]Event, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	events := make([]Event, 0, len(w.slots))
	for _, e := range w.slots {
		if e.Type != Deleted {
			events = append(events, e)
		}
	}
	return events, w.head
}

// After appends the events after version to events, at most count. ok is false if
// they are no longer kept. changed is closed when there are more.
func (w *World) After(version uint64, count int, events []Event) (_ []Event, changed <-chan struct{}, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if version < w.first-1 || w.head-min(version, w.head) >= history {
		return events, w.changed, false
	}
	for v := version + 1; v <= w.head && count > 0; v++ {
		events = append(events, w.ring[v%history])
		count--
	}
	return events, w.changed, true
}

// Set is how the pods look.
func (w *World) Set() *Set { return w.set }
