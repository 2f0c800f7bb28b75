package store

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// place is an object.LogID as numbers.
type place struct {
	tenure uint64 // the millisecond at which the writer took over
	n      uint64 // counts the tenure's entries from 1
}

// parsePlace reads a LogID; "" is the zero place, before the first entry.
func parsePlace(id object.LogID) (place, error) {
	if id == "" {
		return place{}, nil
	}
	tenure, n, found := strings.Cut(string(id), "-")
	if !found {
		return place{}, fmt.Errorf("log ID %q: want TENURE-N", string(id))
	}
	var p place
	var err error
	if p.tenure, err = strconv.ParseUint(tenure, 10, 64); err != nil {
		return place{}, fmt.Errorf("log ID %q: want TENURE-N", string(id))
	}
	if p.n, err = strconv.ParseUint(n, 10, 64); err != nil {
		return place{}, fmt.Errorf("log ID %q: want TENURE-N", string(id))
	}
	return p, nil
}

func (p place) id() object.LogID {
	if p == (place{}) {
		return ""
	}
	return object.LogID(strconv.FormatUint(p.tenure, 10) + "-" + strconv.FormatUint(p.n, 10))
}

func (p place) compare(other place) int {
	return cmp.Or(cmp.Compare(p.tenure, other.tenure), cmp.Compare(p.n, other.n))
}
