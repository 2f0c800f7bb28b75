package objects

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// parseQuantity reads an amount as Kubernetes writes it: of cpu in thousandths, of
// all else whole, rounded up. ok is false if it is none.
func parseQuantity(name, text string) (value int64, ok bool) {
	if value, ok := plainQuantity(name == "cpu", text); ok {
		return value, true
	}
	q, err := resource.ParseQuantity(text)
	if err != nil {
		return 0, false
	}
	return quantityValue(name, q), true
}

func quantityValue(name string, q resource.Quantity) int64 {
	if name == "cpu" {
		return q.MilliValue()
	}
	return q.Value()
}

// plainQuantity reads what nearly all quantities look like: digits with "m" or a
// binary suffix.
func plainQuantity(milli bool, text string) (value int64, ok bool) {
	digits := 0
	for digits < len(text) && '0' <= text[digits] && text[digits] <= '9' {
		value = 10*value + int64(text[digits]-'0')
		digits++
	}
	if digits == 0 || digits > 9 { // larger ones might overflow
		return 0, false
	}
	switch suffix := text[digits:]; {
	case suffix == "" && milli:
		return 1000 * value, true
	case suffix == "":
		return value, true
	case suffix == "m" && milli:
		return value, true
	case suffix == "m":
		return (value + 999) / 1000, true
	case milli:
		return 0, false
	case suffix == "Ki":
		return value << 10, true
	case suffix == "Mi":
		return value << 20, true
	case suffix == "Gi":
		return value << 30, true
	}
	return 0, false
}

// most returns the larger amount of each resource that any of the lists has.
func most(lists ...[]Quantity) (all []Quantity) {
	for _, list := range lists {
		if all == nil {
			all = list
			continue
		}
		if len(list) == 0 || slices.Equal(all, list) {
			continue
		}
		all = slices.Clone(all)
		for _, q := range list {
			i := slices.IndexFunc(all, func(a Quantity) bool { return a.Resource == q.Resource })
			if i < 0 {
				all = append(all, q)
			} else {
				all[i].Value = max(all[i].Value, q.Value)
			}
		}
	}
	slices.SortFunc(all, byResource)
	return all
}

func byResource(a, b Quantity) int { return strings.Compare(a.Resource, b.Resource) }

// inForce returns the resources that count while a container or pod is or may be
// resized in place (KEP-1287), as the scheduler counts them: what is wanted, what the
// node has allocated and what the runtime has set up, whichever is most; without what
// is wanted if the node cannot ever give it. actual is nil if the status says nothing.
func inForce(wanted Resources, actual *Resources, allocated []Quantity, infeasible bool) Resources {
	if actual == nil && allocated == nil {
		return wanted
	}
	if actual == nil {
		actual = &Resources{Limits: wanted.Limits}
	}
	if infeasible {
		return Resources{Requests: most(actual.Requests, allocated), Limits: actual.Limits}
	}
	return Resources{
		Requests: most(wanted.Requests, actual.Requests, allocated),
		Limits:   most(wanted.Limits, actual.Limits),
	}
}

// podLevel is inForce for the resources of a pod as a whole. Its status may also tell
// the sums of its containers: only what the spec names is the pod's own.
func podLevel(wanted Resources, actual *Resources, allocated []Quantity, infeasible bool) Resources {
	all := inForce(wanted, actual, allocated, infeasible)
	return Resources{Requests: only(all.Requests, wanted.Requests), Limits: only(all.Limits, wanted.Limits)}
}

// only returns what of list is of a resource that named has, too.
func only(list, named []Quantity) (some []Quantity) {
	for _, q := range list {
		if slices.ContainsFunc(named, func(n Quantity) bool { return n.Resource == q.Resource }) {
			some = append(some, q)
		}
	}
	return some
}
