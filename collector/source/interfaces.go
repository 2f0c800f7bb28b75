package source

import "regexp"

// networkInterface adds an interface to sum. If the sum is not needed it is not looked
// whether the interface counts.
func (s *summary) networkInterface(sum *traffic, exclude *regexp.Regexp, needless bool) {
	if needless {
		s.skip()
		return
	}
	if !s.enter('{') {
		return
	}
	var one traffic
	excluded := false
	for s.field() {
		if string(s.name) == "name" {
			name := s.quoted()
			excluded = exclude != nil && exclude.Match(name)
		} else if !s.counters(&one) {
			s.skip()
		}
	}
	if excluded {
		return
	}
	for i, n := range one.n {
		if one.has&(1<<i) == 0 {
			continue
		}
		total, ok := addUp(sum.n[i], n)
		if !ok {
			sum.bad |= 1 << i
			continue
		}
		sum.n[i] = total
		sum.has |= 1 << i
	}
}
