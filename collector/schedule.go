package collector

import (
	"cmp"
	"hash/fnv"
	"time"
)

// Schedule says when what is done. All of it follows from the resolution.
type Schedule struct {
	Resolution time.Duration // windows end at its multiples
	Offset     time.Duration // from a window's end to its scrape, so that kubelets have measured it
	Timeout    time.Duration // of one node
}

// NewSchedule fills in what is 0: the offset is a sixth of the resolution, at most 5 s,
// and a node has a third of it, at most 20 s.
func NewSchedule(resolution, offset, timeout time.Duration) Schedule {
	return Schedule{
		Resolution: resolution,
		Offset:     cmp.Or(offset, min(5*time.Second, resolution/6)),
		Timeout:    cmp.Or(timeout, min(20*time.Second, resolution/3)),
	}
}

// First returns the end of the newest window whose scrape was due at now: the first
// batch need not wait for the next one.
func (s Schedule) First(now time.Time) time.Time {
	return now.Add(-s.Offset).UTC().Truncate(s.Resolution)
}

// Next returns the end of the window after the one that ended at last, and how many
// were missed between them. Windows are missed only if now is a whole window later
// than the scrape was due: after the machine slept, or because the work takes longer
// than a window. If the clock was set back it goes on from what the clock says now.
func (s Schedule) Next(last, now time.Time) (end time.Time, missed int) {
	newest := s.First(now)
	switch end = last.Add(s.Resolution); {
	case newest.After(end):
		return newest, int(newest.Sub(end) / s.Resolution)
	case end.Sub(newest) > 2*s.Resolution: // the clock was set back
		return newest.Add(s.Resolution), 0
	}
	return end, 0
}

// Start returns when the window that ended at end is scraped.
func (s Schedule) Start(end time.Time) time.Time { return end.Add(s.Offset) }

// Span returns the time over which the scrapes of so many nodes are spread: 8 ms a
// node, at most a sixth of the resolution.
func (s Schedule) Span(nodes int) time.Duration {
	return min(time.Duration(nodes)*8*time.Millisecond, s.Resolution/6)
}

// Limit returns how long after Start a batch is closed, whoever is missing: in time for
// what is left to do before the next one.
func (s Schedule) Limit(nodes int) time.Duration {
	return min(s.Span(nodes)+s.Timeout+s.Resolution/10, s.Resolution*4/5)
}

// Delay returns a node's own moment within span. It is the same in every window, so
// that the time between two scrapes of a node is.
func Delay(node string, span time.Duration) time.Duration {
	if span <= 0 {
		return 0
	}
	return time.Duration(hash("delay", node) % uint64(span))
}

// Shard is one of the collectors that divide the nodes. The zero Shard has all nodes.
type Shard struct{ Index, Count int }

// Owns says whether the node is this shard's. Of any number of collectors with the same
// Count exactly one owns a node, and when Count changes few nodes change their owner:
// each goes to the shard with the highest hash of shard and node.
func (s Shard) Owns(node string) bool {
	if s.Count < 2 {
		return true
	}
	own := weight(s.Index, node)
	for i := range s.Count {
		if w := weight(i, node); w > own || w == own && i < s.Index {
			return false
		}
	}
	return true
}

func weight(shard int, node string) uint64 {
	return hash(string([]byte{byte(shard), byte(shard >> 8)}), node)
}

// hash is FNV-1a with its bits mixed, for names that differ in their last letter only.
func hash(kind, name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(kind)) // never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(name))
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
