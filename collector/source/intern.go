package source

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	internShards = 64
	internFor    = 10 * time.Minute
	internLength = 512 // longer names are copied: they come from nothing that is sane
)

// interner makes strings of bytes, the same string for the same bytes, so that names
// which come with every scrape cost no memory. It forgets what was not asked for
// in between internFor and twice as long.
type interner struct {
	seed   maphash.Seed
	shards [internShards]struct {
		sync.Mutex
		at         time.Time
		young, old map[string]string
	}
}

func newInterner() *interner {
	in := &interner{seed: maphash.MakeSeed()}
	for i := range in.shards {
		in.shards[i].young = map[string]string{}
	}
	return in
}

// get returns the string; now says how the time goes.
func (in *interner) get(name []byte, now time.Time) string {
	if len(name) > internLength {
		return string(name)
	}
	s := &in.shards[maphash.Bytes(in.seed, name)%internShards]
	s.Lock()
	defer s.Unlock()
	if now.Sub(s.at) > internFor {
		s.at, s.old, s.young = now, s.young, make(map[string]string, len(s.young))
	}
	if known, ok := s.young[string(name)]; ok {
		return known
	}
	known, ok := s.old[string(name)]
	if !ok {
		known = string(name)
	}
	s.young[known] = known
	return known
}
