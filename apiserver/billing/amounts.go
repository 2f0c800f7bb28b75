package billing

import (
	"math/big"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// amount is one column of a report.
type amount int

const (
	cpuUsed amount = iota
	cpuRequested
	cpuBilled
	memoryUsed
	memoryRequested
	memoryBilled
	gpuTime
	gpuMemory
	ephemeralUsed
	claimsRequested
	networkIn
	networkOut
	podTime
	numAmounts
)

// String is the column's name, in reports and in the file of prices.
func (m amount) String() string {
	return [...]string{
		"cpu_used_core_hours", "cpu_requested_core_hours", "cpu_billed_core_hours",
		"memory_used_gib_hours", "memory_requested_gib_hours", "memory_billed_gib_hours",
		"gpu_hours", "gpu_memory_gib_hours", "ephemeral_used_gib_hours", "claims_requested_gib_hours",
		"network_in_gib", "network_out_gib", "pod_hours",
	}[m]
}

func amountNames() (names []string) {
	for m := range numAmounts {
		names = append(names, m.String())
	}
	return names
}

// divisor is what an amount's whole number (value × nanoseconds; bytes of the network)
// is divided by to come to its unit.
func (m amount) divisor() *big.Int {
	hour := big.NewInt(int64(time.Hour))
	switch m {
	case cpuUsed, cpuRequested, cpuBilled:
		return hour.Mul(hour, big.NewInt(1000))
	case gpuTime, podTime:
		return hour
	case gpuMemory:
		return hour.Mul(hour, big.NewInt(1<<10))
	case networkIn, networkOut:
		return big.NewInt(1 << 30)
	}
	return hour.Mul(hour, big.NewInt(1<<30))
}

// amounts are all columns of a line, as whole numbers: sums of them are exact.
type amounts [numAmounts]*big.Int

func newAmounts() (all amounts) {
	for m := range all {
		all[m] = new(big.Int)
	}
	return all
}

func (a *amounts) add(b *amounts) {
	for m := range a {
		a[m].Add(a[m], b[m])
	}
}

// addAmount adds n to a column.
func (a *amounts) addAmount(m amount, n *big.Int) { a[m].Add(a[m], n) }

// nanosOf is the sum of a group's value × nanoseconds.
func nanosOf(g *metricdb.Group) *big.Int {
	total := new(big.Int)
	for _, step := range g.Steps {
		part := whole(step.Sum)
		total.Add(total, part.Mul(part, big.NewInt(int64(step.Every))))
	}
	return total
}

// presenceOf is how long a group's samples stand for, in nanoseconds.
func presenceOf(g *metricdb.Group) *big.Int {
	total := new(big.Int)
	for _, step := range g.Steps {
		part := big.NewInt(step.Count)
		total.Add(total, part.Mul(part, big.NewInt(int64(step.Every))))
	}
	return total
}

// whole is a total as a whole number. Sums of floats are of capacities, which are
// whole themselves.
func whole(t metricdb.Total) *big.Int {
	if t.Exact {
		return big.NewInt(t.Int)
	}
	exact := exactly(t)
	return new(big.Int).Quo(exact.Num(), exact.Denom())
}

// apportion rounds parts, each divided by divisor, to so many digits, in units of the
// last one. The total is rounded once, half up; parts are rounded down, and the units
// that are then left over go one each to the parts that lost most, the earlier first.
// So parts add up to the total, and the total does not depend on what it was parted by.
func apportion(parts []*big.Int, divisor *big.Int, digits int) (rounded []*big.Int, total *big.Int) {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	sum, floors := new(big.Int), new(big.Int)
	lost := make([]*big.Int, len(parts))
	for i, part := range parts {
		sum.Add(sum, part)
		units, rest := new(big.Int), new(big.Int)
		units.DivMod(new(big.Int).Mul(part, scale), divisor, rest)
		rounded, lost[i] = append(rounded, units), rest
		floors.Add(floors, units)
	}
	total = sum.Mul(sum, scale)
	total.Add(total.Lsh(total, 1), divisor)
	total.Div(total, new(big.Int).Lsh(divisor, 1))
	left := int(new(big.Int).Sub(total, floors).Int64())
	for _, i := range greatest(lost, left) {
		rounded[i].Add(rounded[i], big.NewInt(1))
	}
	return rounded, total
}

// greatest returns the places of the n greatest, the earlier first among equal ones.
func greatest(of []*big.Int, n int) []int {
	places := make([]int, len(of))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(i, j int) int { return of[j].Cmp(of[i]) })
	return places[:min(max(n, 0), len(places))]
}
