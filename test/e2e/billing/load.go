package main

import (
	"cmp"
	"slices"
)

// piece is a straight line over windows: window k of [from, to) has the value
// first + slope × (k - from). Sums and maxima of lines are known without looking at each.
type piece struct{ from, to, first, slope int64 }

func (p piece) at(k int64) int64 { return p.first + p.slope*(k-p.from) }

// cut is the part of p within [from, to); empty if there is none.
func (p piece) cut(from, to int64) piece {
	from, to = max(from, p.from), min(to, p.to)
	return piece{from, max(from, to), p.at(from), p.slope}
}

func (p piece) len() int64 { return p.to - p.from }

// sum is Gauss': n × first + slope × n(n-1)/2.
func (p piece) sum() int64 {
	n := p.len()
	return n*p.first + p.slope*(n*(n-1)/2)
}

func (p piece) max() int64 { return max(p.first, p.at(p.to-1)) }

// atLeast is the sum of max(value, least): the line is cut where it crosses least.
func (p piece) atLeast(least int64) int64 {
	n := p.len()
	if n <= 0 {
		return 0
	}
	low, high := p.first, p.at(p.to-1)
	switch {
	case min(low, high) >= least:
		return p.sum()
	case max(low, high) <= least:
		return n * least
	case p.slope > 0: // the first window above least
		above := p.from + (least-p.first)/p.slope + 1
		return (above-p.from)*least + p.cut(above, p.to).sum()
	}
	below := p.from + (p.first-least)/-p.slope // the last window at or above least
	return p.cut(p.from, below+1).sum() + (p.to-below-1)*least
}

// load is what something uses over time: pieces, ascending, none over another. Between
// them there is nothing: no value, which is not the value 0.
type load []piece

func constant(from, to, value int64) load { return load{{from, to, value, 0}} }

func line(from, to, first, slope int64) load { return load{{from, to, first, slope}} }

// sawtooth rises from low by slope in each window, and begins anew every so often.
func sawtooth(from, to, low, slope, every int64) (l load) {
	for at := from; at < to; at += every {
		l = append(l, piece{at, min(at+every, to), low, slope})
	}
	return l
}

// hills goes up for half of every and then down again.
func hills(from, to, low, slope, every int64) (l load) {
	half := every / 2
	for at := from; at < to; at += every {
		l = append(l, piece{at, min(at+half, to), low, slope})
		if at+half < to {
			l = append(l, piece{at + half, min(at+2*half, to), low + slope*half, -slope})
		}
	}
	return l
}

// then is l and after it m.
func (l load) then(m load) load { return append(slices.Clone(l), m...) }

// span is the windows [from, to).
type span struct{ from, to int64 }

// on is the part of l that is within spans.
func (l load) on(spans []span) (part load) {
	for _, s := range spans {
		first, _ := slices.BinarySearchFunc(l, s.from, func(p piece, k int64) int { return cmp.Compare(p.to, k+1) })
		for _, p := range l[first:] {
			if p.from >= s.to {
				break
			}
			if c := p.cut(s.from, s.to); c.len() > 0 {
				part = append(part, c)
			}
		}
	}
	return part
}

// at is the value of a window.
func (l load) at(k int64) (value int64, ok bool) {
	i, _ := slices.BinarySearchFunc(l, k, func(p piece, k int64) int { return cmp.Compare(p.to, k+1) })
	if i == len(l) || l[i].from > k {
		return 0, false
	}
	return l[i].at(k), true
}

func (l load) sum() (sum int64) {
	for _, p := range l {
		sum += p.sum()
	}
	return sum
}

func (l load) count() (n int64) {
	for _, p := range l {
		n += p.len()
	}
	return n
}

func (l load) max() (most int64) {
	for _, p := range l {
		most = max(most, p.max())
	}
	return most
}

func (l load) atLeast(least int64) (sum int64) {
	for _, p := range l {
		sum += p.atLeast(least)
	}
	return sum
}

// times is l with each value multiplied.
func (l load) times(factor int64) load {
	m := slices.Clone(l)
	for i := range m {
		m[i].first *= factor
		m[i].slope *= factor
	}
	return m
}

// plus adds loads up. There is a value where one of them has one.
func plus(loads ...load) (sum load) {
	var ends []int64
	for _, l := range loads {
		for _, p := range l {
			ends = append(ends, p.from, p.to)
		}
	}
	slices.Sort(ends)
	ends = slices.Compact(ends)
	at := make([]int, len(loads)) // the piece of each load that may be next
	for i := 0; i+1 < len(ends); i++ {
		from, to := ends[i], ends[i+1]
		total, any := piece{from: from, to: to}, false
		for n, l := range loads {
			for at[n] < len(l) && l[at[n]].to <= from {
				at[n]++
			}
			if at[n] < len(l) && l[at[n]].from <= from {
				p := l[at[n]]
				total.first += p.at(from)
				total.slope += p.slope
				any = true
			}
		}
		if any {
			sum = append(sum, total)
		}
	}
	return sum
}

// counter counts what l uses in each window, from the start of l, and from 0 again at
// each of resets, which are windows.
type counter struct {
	load   load
	factor int64 // of a window's value
	resets []int64
}

// since is the window at which the counter was 0 last before k's end.
func (c *counter) since(k int64) int64 {
	begin := c.load[0].from
	for _, reset := range c.resets {
		if reset <= k {
			begin = reset
		}
	}
	return begin
}

// at is the counter at the end of window k.
func (c *counter) at(k int64) int64 {
	return c.factor * c.load.on([]span{{c.since(k), k + 1}}).sum()
}

// increase is how much the counter rose at the windows of spans, as the contract says:
// between one sample and the next, from 0 after a fall, and from before, the last sample
// not long before the first one; -1 if there is none.
func (c *counter) increase(before int64, spans []span) (rise int64) {
	last := before
	for _, s := range spans {
		if last >= 0 {
			rise += c.step(last, s.from)
		}
		at := s.from
		for _, reset := range c.resets { // within a span each reset is seen
			if reset > s.from && reset < s.to {
				rise += c.at(reset-1) - c.at(at) + c.at(reset)
				at = reset
			}
		}
		rise += c.at(s.to-1) - c.at(at)
		last = s.to - 1
	}
	return rise
}

// step is the rise from a sample to the next one.
func (c *counter) step(from, to int64) int64 {
	if now, was := c.at(to), c.at(from); now >= was {
		return now - was
	}
	return c.at(to)
}
