package source

import (
	"regexp"
	"sync"
	"time"
)

// Decoder reads what nodes say. It is safe for concurrent use. It is worth keeping: it
// remembers names, and gives all samples the same strings.
type Decoder struct {
	exclude *regexp.Regexp
	names   *interner
	cursors sync.Pool
}

// NewDecoder returns a Decoder that leaves the interfaces that exclude matches out of
// a node's network; nil for none.
func NewDecoder(exclude *regexp.Regexp) *Decoder {
	return &Decoder{
		exclude: exclude, names: newInterner(),
		cursors: sync.Pool{New: func() any { return newSummary() }},
	}
}

// NewSample returns an empty sample of node, with the memory of a released one.
// Without a name it gets the one that the summary says.
func NewSample(node string) *Sample {
	s := samples.Get().(*Sample)
	s.Node = node
	return s
}

// Summary adds to sample what a kubelet's /stats/summary says. It returns an error,
// and leaves sample without a set, if body is no whole summary, or one of another
// node. Sections that are null or missing are no fault; values that cannot be, such
// as negative ones, are left out.
//
// What has the same name comes once: the container, or the pod, that started last.
func (d *Decoder) Summary(body []byte, sample *Sample) error {
	s := d.cursors.Get().(*summary)
	defer d.cursors.Put(s)
	s.begin(d, body, sample, time.Now())
	s.document()
	return s.end()
}
