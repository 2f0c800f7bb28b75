package embedded

import (
	"cmp"
	"hash/maphash"
	"slices"
	"unique"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// series is the tags of one series. A series has samples of many metrics. Its labels
// are shared: the roll-ups of a pod repeat them many times.
type series struct {
	id     uint64
	labels []unique.Handle[metrics.Label]
	next   *series // in the book, with the same hash
}

// tags returns the series' tags. They are the caller's to keep.
func (s *series) tags() metricdb.Tags {
	tags := make(metricdb.Tags, len(s.labels))
	for i, label := range s.labels {
		tags[i] = label.Value()
	}
	return tags
}

func (s *series) is(tags metricdb.Tags) bool {
	return slices.EqualFunc(s.labels, tags, func(label unique.Handle[metrics.Label], tag metrics.Label) bool { return label.Value() == tag })
}

// book is all series. Whoever changes it holds Store.writing, and Store.mu for it;
// the holder of one of them may read it.
type book struct {
	seed   maphash.Seed
	byHash map[uint64]*series
	// all ascends by id. Readers keep it: it is only appended to, or replaced.
	all []*series
	// next is the id of the next series. No id is given twice, not even after the series
	// is gone or could not be written: a reader may still know whose it was.
	next uint64
}

func newBook() book { return book{seed: maphash.MakeSeed(), byHash: map[uint64]*series{}} }

func (b *book) hash(tags metricdb.Tags) uint64 {
	var h maphash.Hash
	h.SetSeed(b.seed)
	for _, label := range tags {
		_, _ = h.WriteString(label.Key)
		_ = h.WriteByte(0)
		_, _ = h.WriteString(label.Value)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// find returns the series with just these tags, or nil.
func (b *book) find(tags metricdb.Tags) *series {
	one := b.byHash[b.hash(tags)]
	for one != nil && !one.is(tags) {
		one = one.next
	}
	return one
}

// add puts a series in. Ids ascend.
func (b *book) add(id uint64, tags metricdb.Tags) *series {
	one := &series{id: id, labels: make([]unique.Handle[metrics.Label], len(tags))}
	for i, label := range tags {
		one.labels[i] = unique.Make(label)
	}
	hash := b.hash(tags)
	one.next, b.byHash[hash] = b.byHash[hash], one
	b.all = append(b.all, one)
	b.next = max(b.next, id+1)
	return one
}

// remove takes series out, which ascend by id.
func (b *book) remove(ids []uint64) {
	if len(ids) == 0 {
		return
	}
	left := make([]*series, 0, max(len(b.all)-len(ids), 0))
	for _, one := range b.all {
		if _, gone := slices.BinarySearch(ids, one.id); !gone {
			left = append(left, one)
			continue
		}
		hash := b.hash(one.tags())
		at := b.byHash[hash]
		if at == one {
			if one.next == nil {
				delete(b.byHash, hash)
			} else {
				b.byHash[hash] = one.next
			}
			continue
		}
		for at.next != one {
			at = at.next
		}
		at.next = one.next
	}
	b.all = left
}

// lookup finds a series by its id among some that ascend.
func lookup(all []*series, id uint64) *series {
	i, ok := slices.BinarySearchFunc(all, id, func(one *series, id uint64) int { return cmp.Compare(one.id, id) })
	if !ok {
		return nil
	}
	return all[i]
}
