package embedded

import (
	"cmp"
	"slices"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// pageSize is how many ids a selection keeps in one piece.
const pageSize = 256

// selection is which series a query wants, and which of them are pieces of one set. A
// series is looked at when a block of the query's interval has it: those of other
// times, which are most after a year, cost nothing. It is for one goroutine.
type selection struct {
	store  *Store
	all    []*series
	fits   func(metricdb.Tags) bool
	keep   func(metricdb.Tags) metricdb.Tags
	pages  [][]int32 // by id: 0 is not looked at yet, -1 not wanted, else its place in sets + 1
	places map[string]int32
	sets   []metricdb.Tags
	rank   []int32 // of sets, in the order of their tags; see ranks
}

// choose begins a selection of the series whose tags fit. What set a series belongs
// to, keep says.
func (s *Store) choose(fits func(metricdb.Tags) bool, keep func(metricdb.Tags) metricdb.Tags) *selection {
	return &selection{store: s, all: s.known(), fits: fits, keep: keep, places: map[string]int32{}}
}

func (s *Store) known() []*series {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.book.all
}

func (s *selection) wants(id uint64) bool { return s.place(id) >= 0 }

// place returns the set's place in sets, or -1 if the series is not wanted.
func (s *selection) place(id uint64) int32 {
	page := id / pageSize
	if page >= uint64(len(s.pages)) {
		if n := len(s.all); n == 0 || id > s.all[n-1].id {
			s.all = s.store.known() // it was written after the query began
		}
		if n := len(s.all); n == 0 || id > s.all[n-1].id {
			return -1
		}
		s.pages = append(s.pages, make([][]int32, page+1-uint64(len(s.pages)))...)
	}
	if s.pages[page] == nil {
		s.pages[page] = make([]int32, pageSize)
	}
	at := &s.pages[page][id%pageSize]
	if *at == 0 {
		*at = s.find(id)
	}
	return max(*at-1, -1)
}

// find looks at a series.
func (s *selection) find(id uint64) int32 {
	if n := len(s.all); n == 0 || id > s.all[n-1].id {
		s.all = s.store.known() // it was written after the query began
	}
	one := lookup(s.all, id)
	if one == nil {
		return -1
	}
	tags := one.tags()
	if !s.fits(tags) {
		return -1
	}
	tags = s.keep(tags)
	key := tags.Key()
	place, ok := s.places[key]
	if !ok {
		s.sets = append(s.sets, tags)
		place = int32(len(s.sets))
		s.places[key] = place
	}
	return place
}

// ranks returns the places of all sets so far in the order of their tags.
func (s *selection) ranks() []int32 {
	if len(s.rank) == len(s.sets) {
		return s.rank
	}
	order := make([]int32, len(s.sets))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return s.sets[a].Compare(s.sets[b]) })
	s.rank = make([]int32, len(order))
	for rank, place := range order {
		s.rank[place] = int32(rank)
	}
	return s.rank
}

// bySet puts the series of one set together. Their ids become the places of sets.
func (s *selection) bySet(columns []column) []column {
	sets := make([]column, len(columns))
	for i, one := range columns {
		sets[i] = one
		sets[i].id = uint64(s.place(one.id))
	}
	slices.SortStableFunc(sets, func(a, b column) int { return cmp.Compare(a.id, b.id) })
	merged := sets[:0]
	for _, one := range sets {
		n := len(merged)
		if n == 0 || merged[n-1].id != one.id {
			merged = append(merged, one)
			continue
		}
		into := &merged[n-1]
		into.times = append(into.times, one.times...)
		into.values = append(into.values, one.values...)
	}
	for i := range merged {
		merged[i].mend()
	}
	return merged
}
