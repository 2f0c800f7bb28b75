package field

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Order sorts objects by the values at paths. The zero value keeps them as they are.
type Order struct {
	text string
	by   []criterion
}

type criterion struct {
	path       Path
	descending bool
}

// ParseOrder reads the parameter orderBy: paths as ParsePath takes them, between
// commas; a "-" before a path sorts that one from high to low.
//
//	-status.startTime,metadata.name
func ParseOrder(text string) (Order, error) {
	if strings.TrimSpace(text) == "" {
		return Order{}, nil
	}
	order := Order{text: text}
	err := list(text, func(s *scanner) error {
		s.space()
		descending := s.accept("-")
		path, err := s.path()
		order.by = append(order.by, criterion{path, descending})
		return err
	})
	if err != nil {
		return Order{}, fault(ParameterOrder, text, err,
			"paths between commas, each with - before it to sort from high to low, such as -metadata.creationTimestamp,metadata.name")
	}
	return order, nil
}

// Empty says whether o keeps objects as they are.
func (o Order) Empty() bool { return len(o.by) == 0 }

// String is the order as it was written.
func (o Order) String() string { return o.text }

// Sort returns the positions 0…n-1 in the order of their bodies. It reads each body
// once per path. Objects that are equal keep the order of their positions.
//
// An object counts with the first value at the path. Where there is none, or null,
// it comes first; then booleans, numbers, strings, and everything else by its text.
// The strings of a path are compared as timestamps if all of them are RFC 3339, as
// Kubernetes quantities, together with the numbers, if all of them are (100m < 1 <
// 1Ki), and otherwise byte by byte as kubectl --sort-by does. A "-" turns all of
// this round, so that absent values come last.
func (o Order) Sort(n int, body func(i int) []byte) []int {
	keys := make([]sortKey, n*len(o.by))
	for i := range n {
		bytes := body(i)
		for c := range o.by {
			keys[c*n+i] = newKey(o.by[c].path, bytes)
		}
	}
	for c := range o.by {
		interpret(keys[c*n : (c+1)*n])
	}
	positions := make([]int, n)
	for i := range positions {
		positions[i] = i
	}
	slices.SortStableFunc(positions, func(a, b int) int {
		for c := range o.by {
			result := keys[c*n+a].compare(&keys[c*n+b])
			if o.by[c].descending {
				result = -result
			}
			if result != 0 {
				return result
			}
		}
		return 0
	})
	return positions
}

// rank says what kind of value a key is; kinds sort in this order.
type rank int

const (
	rankAbsent rank = iota
	rankFalse
	rankTrue
	rankNumber
	rankHuge // a number that no quantity can hold
	rankString
	rankJSON
)

type sortKey struct {
	rank     rank
	text     string
	number   float64
	quantity resource.Quantity
	time     time.Time
}

func newKey(path Path, body []byte) sortKey {
	value, found := path.First(body)
	if !found {
		return sortKey{}
	}
	switch value.result.Type {
	case gjson.Null:
		return sortKey{}
	case gjson.False:
		return sortKey{rank: rankFalse}
	case gjson.True:
		return sortKey{rank: rankTrue}
	case gjson.Number:
		quantity, ok := parseQuantity(value.result.Raw)
		if !ok {
			return sortKey{rank: rankHuge, number: value.result.Num}
		}
		return sortKey{rank: rankNumber, quantity: quantity}
	case gjson.String:
		return sortKey{rank: rankString, text: value.result.Str}
	}
	return sortKey{rank: rankJSON, text: value.result.Raw}
}

// interpret makes the strings among keys timestamps or quantities if all of them are.
func interpret(keys []sortKey) {
	if readStrings(keys, func(key *sortKey) (ok bool) {
		key.time, ok = parseTime(key.text)
		return ok
	}) {
		return
	}
	quantities := readStrings(keys, func(key *sortKey) (ok bool) {
		key.quantity, ok = parseQuantity(key.text)
		return ok
	})
	for i := range keys {
		key := &keys[i]
		if key.time = (time.Time{}); quantities && key.rank == rankString {
			key.rank = rankNumber
		}
	}
}

// readStrings says whether read succeeds for each string; it stops at the first failure.
func readStrings(keys []sortKey, read func(*sortKey) bool) bool {
	for i := range keys {
		if keys[i].rank == rankString && !read(&keys[i]) {
			return false
		}
	}
	return true
}

func parseTime(text string) (time.Time, bool) {
	if len(text) < len("2006-01-02T15:04:05Z") || text[4] != '-' {
		return time.Time{}, false
	}
	parsed, err := time.Parse(time.RFC3339Nano, text)
	return parsed, err == nil
}

// parseQuantity reads a number with or without a suffix. Beyond 40 bytes nothing is
// a quantity that anyone wrote, and the arithmetic on it is dear.
func parseQuantity(text string) (resource.Quantity, bool) {
	if len(text) > 40 {
		return resource.Quantity{}, false
	}
	quantity, err := resource.ParseQuantity(text)
	return quantity, err == nil
}

func (k *sortKey) compare(other *sortKey) int {
	if k.rank != other.rank {
		return cmp.Compare(k.rank, other.rank)
	}
	switch k.rank {
	case rankNumber:
		return k.quantity.Cmp(other.quantity)
	case rankHuge:
		return cmp.Compare(k.number, other.number)
	case rankString, rankJSON:
		return cmp.Or(k.time.Compare(other.time), strings.Compare(k.text, other.text))
	}
	return 0
}
