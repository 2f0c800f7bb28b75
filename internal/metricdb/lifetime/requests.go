package lifetime

import (
	"math/big"
	"slices"
	"sort"
	"time"
)

// Amounts are what is requested: millicores, bytes of memory, bytes of storage, GPUs.
type Amounts struct{ CPU, Memory, Storage, GPU int64 }

// Request is what was requested from Since on, until the next one.
type Request struct {
	Since time.Time
	Amounts
}

func (r Request) equal(q Request) bool { return r.Since.Equal(q.Since) && r.Amounts == q.Amounts }

// Sums are amounts × time, exact: millicores, bytes, bytes and GPUs × nanoseconds.
type Sums struct{ CPU, Memory, Storage, GPU *big.Int }

// requests are ascending in time; the first one holds for all that is before, too.
// They are what was observed: two in a row may say the same. They are never
// changed in place.
type requests []Request

// before is how many of them are from before t.
func (r requests) before(t time.Time) int {
	return sort.Search(len(r), func(i int) bool { return !r[i].Since.Before(t) })
}

// at is what is requested at t; r has at least one.
func (r requests) at(t time.Time) Amounts {
	i := r.before(t)
	if i < len(r) && r[i].Since.Equal(t) || i == 0 {
		return r[i].Amounts
	}
	return r[i-1].Amounts
}

// learn returns r with what was seen at a time. To learn something again changes nothing,
// and the order in which things are learned does not matter.
func (r requests) learn(seen time.Time, amounts Amounts) requests {
	if len(r) > 0 && r.at(seen) == amounts {
		return r
	}
	i := r.before(seen)
	r = slices.Clone(r)
	if i < len(r) && r[i].Since.Equal(seen) {
		r[i].Amounts = amounts
		return r
	}
	return slices.Insert(r, i, Request{seen, amounts})
}

// since returns r without what was over at t.
func (r requests) since(t time.Time) requests {
	if i := r.before(t.Add(1)); i > 1 {
		return slices.Clone(r[i-1:])
	}
	return r
}

// sums are the amounts over [from, to).
func (r requests) sums(from, to time.Time) Sums {
	all := Sums{new(big.Int), new(big.Int), new(big.Int), new(big.Int)}
	for i := range r {
		begin, end := from, to
		if i > 0 && r[i].Since.After(begin) {
			begin = r[i].Since
		}
		if i+1 < len(r) && r[i+1].Since.Before(end) {
			end = r[i+1].Since
		}
		if !begin.Before(end) {
			continue
		}
		took := big.NewInt(int64(end.Sub(begin)))
		a := &r[i].Amounts
		for _, s := range []struct {
			sum    *big.Int
			amount int64
		}{{all.CPU, a.CPU}, {all.Memory, a.Memory}, {all.Storage, a.Storage}, {all.GPU, a.GPU}} {
			s.sum.Add(s.sum, new(big.Int).Mul(took, big.NewInt(s.amount)))
		}
	}
	return all
}
