package source

import "sync"

// What is larger is left to the garbage collector.
const (
	maxPooledSets = 8 << 10
	maxPooledSlab = 64 << 10
)

// samples and bodies are kept for reuse only: they hold no state.
var samples = sync.Pool{New: func() any { return new(Sample) }}

// slab is memory for many small slices that live and end together.
type slab[T any] struct{ items []T }

// begin returns where the next slice begins.
func (s *slab[T]) begin() int { return len(s.items) }

func (s *slab[T]) add(item T) { s.items = append(s.items, item) }

// since returns what was added since begin returned from. Slices that were handed
// out stay good when the slab grows.
func (s *slab[T]) since(from int) []T { return s.items[from:len(s.items):len(s.items)] }

// copy returns a copy of items.
func (s *slab[T]) copy(items []T) []T {
	from := s.begin()
	s.items = append(s.items, items...)
	return s.since(from)
}

func (s *slab[T]) reset() {
	if cap(s.items) > maxPooledSlab {
		s.items = nil
		return
	}
	clear(s.items)
	s.items = s.items[:0]
}
