package store

import (
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// ring remembers the size and age of a stream's entries, oldest first, so that
// its writer knows where to trim. It is safe for concurrent use.
type ring struct {
	maxEntries int // 0: no cap
	maxBytes   int64
	maxAge     time.Duration

	mu      sync.Mutex
	entries []ringEntry // what lies before start is gone
	start   int
	bytes   int64
}

type ringEntry struct {
	place place
	bytes int64
	at    time.Time
}

func newRing(maxEntries int, maxBytes int64, maxAge time.Duration) *ring {
	return &ring{maxEntries: maxEntries, maxBytes: maxBytes, maxAge: maxAge}
}

// embeddedEntries caps a stream of an embedded Redis, which walks through all of
// it to read the end; its readers are in this process and never far behind.
const embeddedEntries = 4000

func (s *Store) ring(maxBytes int64, maxAge time.Duration) *ring {
	maxEntries := 0
	if s.options.Embedded {
		maxEntries = embeddedEntries
	}
	return newRing(maxEntries, maxBytes, maxAge)
}

// clear makes the ring empty.
func (r *ring) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries, r.start, r.bytes = nil, 0, 0
}

// add appends an entry.
func (r *ring) add(e ringEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.start > 1024 && r.start > len(r.entries)/2 {
		r.entries = append(r.entries[:0], r.entries[r.start:]...)
		r.start = 0
	}
	r.entries = append(r.entries, e)
	r.bytes += e.bytes
}

// overflow returns the first entry that the caps let live when incoming bytes
// are on their way, or "" if all of them may. The last entry always may.
func (r *ring) overflow(now time.Time, incoming int64) object.LogID {
	r.mu.Lock()
	defer r.mu.Unlock()
	bytes, first := r.bytes+incoming, r.start
	for first < len(r.entries)-1 {
		e := r.entries[first]
		few := r.maxEntries == 0 || len(r.entries)-first <= r.maxEntries
		if few && bytes <= r.maxBytes && now.Sub(e.at) <= r.maxAge {
			break
		}
		bytes -= e.bytes
		first++
	}
	if first == r.start {
		return ""
	}
	return r.entries[first].place.id()
}

// forget drops the entries before from, which were trimmed.
func (r *ring) forget(from place) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.start < len(r.entries) && r.entries[r.start].place.compare(from) < 0 {
		r.bytes -= r.entries[r.start].bytes
		r.start++
	}
}

// size returns how much the stream holds.
func (r *ring) size() (entries int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.entries) - r.start, r.bytes
}

// last returns the newest entry, "" if there is none.
func (r *ring) last() object.LogID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) == r.start {
		return ""
	}
	return r.entries[len(r.entries)-1].place.id()
}
