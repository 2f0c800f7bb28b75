package billing

import (
	"cmp"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"
)

// The kinds of lines, in their order.
const (
	kindPods   = "pods"   // of a group
	kindClaims = "claims" // of a namespace: storage that no pod can be named for
	kindSystem = "system" // what nodes use beside their pods
	kindIdle   = "idle"   // what nobody used, requested or is billed for
)

// lineKey names a line. What the report is not by is "".
type lineKey struct{ kind, cluster, namespace, pod, uid, container, label string }

func (k lineKey) compare(l lineKey) int {
	order := []string{kindPods, kindClaims, kindSystem, kindIdle}
	return cmp.Or(
		cmp.Compare(slices.Index(order, k.kind), slices.Index(order, l.kind)),
		strings.Compare(k.cluster, l.cluster), strings.Compare(k.namespace, l.namespace), strings.Compare(k.pod, l.pod),
		strings.Compare(k.uid, l.uid), strings.Compare(k.container, l.container), strings.Compare(k.label, l.label),
	)
}

// line is a line of a report.
type line struct {
	lineKey
	amounts
	samples, expected, estimated int64
	cost                         decimal.Decimal
	rounded                      [numAmounts]*big.Int // in millionths
	paid                         *big.Int             // in the last of Prices.Decimals digits
}

// keyOf is the line that an entry belongs to.
func (b *books) keyOf(key entryKey, e *entry) lineKey {
	k := lineKey{kind: kindPods, cluster: key.cluster, namespace: key.namespace}
	switch b.asked.by {
	case "label":
		return lineKey{kind: kindPods, label: e.labels[b.asked.label]}
	case "namespace":
		return k
	}
	if key.pod == "" {
		k.kind = kindClaims
		return k
	}
	k.pod, k.uid = key.pod, key.uid
	if b.asked.by == "container" {
		k.container = key.container
	}
	return k
}

// lines sums the entries up into the report's lines, and adds those of the nodes'
// shares.
func (b *books) lines() []*line {
	all := map[lineKey]*line{}
	for key, e := range b.entries {
		k := b.keyOf(key, e)
		l := all[k]
		if l == nil {
			l = &line{lineKey: k, amounts: newAmounts()}
			all[k] = l
		}
		l.add(&e.amounts)
		l.samples += e.samples
		l.expected += e.expected
		l.cost = l.cost.Add(e.cost)
		if e.estimated {
			l.estimated++
		}
	}
	lines := slices.SortedFunc(maps.Values(all), func(l, m *line) int { return l.compare(m.lineKey) })
	shares := b.shares()
	slices.SortFunc(shares, func(l, m *line) int { return l.compare(m.lineKey) })
	return append(lines, shares...)
}

// columnsOf are the columns of CPU (0) or memory (1): used, requested, billed.
func columnsOf(which int) [3]amount {
	return [2][3]amount{{cpuUsed, cpuRequested, cpuBilled}, {memoryUsed, memoryRequested, memoryBilled}}[which]
}

// shares are the lines of what the nodes' capacity went to beside pods. With them
// lines add up to the capacity, unless pods are billed beyond it.
func (b *books) shares() (lines []*line) {
	for cluster, both := range b.nodes {
		system := &line{lineKey: lineKey{kind: kindSystem, cluster: cluster}, amounts: newAmounts()}
		idle := &line{lineKey: lineKey{kind: kindIdle, cluster: cluster}, amounts: newAmounts()}
		for which, n := range both {
			columns := columnsOf(which)
			pods := b.podsOf(cluster, columns)
			used, requested, billed := columns[0], columns[1], columns[2]
			system.amounts[used].Set(rest(n.used, pods[0]))
			if n.allocatable.Sign() > 0 {
				system.amounts[requested].Set(rest(n.capacity, n.allocatable))
			}
			system.amounts[billed].Set(system.amounts[used])
			longest(system.amounts[billed], system.amounts[requested])
			for i, m := range columns {
				idle.amounts[m].Set(rest(n.capacity, pods[i], system.amounts[m]))
			}
		}
		lines = append(lines, system, idle)
	}
	return lines
}

// podsOf sums what a cluster's pods came to, what was estimated of them too: the nodes
// measured it, though no scrape told whose it was.
func (b *books) podsOf(cluster string, columns [3]amount) (sums [3]*big.Int) {
	for i := range sums {
		sums[i] = new(big.Int)
	}
	for key, e := range b.entries {
		if key.cluster != cluster {
			continue
		}
		for i, m := range columns {
			sums[i].Add(sums[i], e.amounts[m])
		}
	}
	return sums
}

// rest is what is left of whole, at least 0.
func rest(whole *big.Int, parts ...*big.Int) *big.Int {
	left := new(big.Int).Set(whole)
	for _, part := range parts {
		left.Sub(left, part)
	}
	if left.Sign() < 0 {
		left.SetInt64(0)
	}
	return left
}

// amountDigits is how many digits a report's amounts have after the point.
const amountDigits = 6

// round rounds all lines so that they add up, and returns two more: the sum of the lines
// of pods and claims, which does not depend on what the report is by, and that of all.
func (b *books) round(lines []*line, decimals int) (subtotal, total *line) {
	own := slices.IndexFunc(lines, func(l *line) bool { return l.kind == kindSystem || l.kind == kindIdle })
	if own < 0 {
		own = len(lines)
	}
	subtotal, total = newSum("subtotal"), newSum("total")
	for i, part := range [][]*line{lines[:own], lines[own:]} {
		for m := range numAmounts {
			values := make([]*big.Int, len(part))
			for k, l := range part {
				values[k] = l.amounts[m]
			}
			rounded, sum := apportion(values, m.divisor(), amountDigits)
			for k, l := range part {
				l.rounded[m] = rounded[k]
			}
			if i == 0 {
				subtotal.rounded[m].Set(sum)
			}
			total.rounded[m].Add(total.rounded[m], sum)
		}
		b.pay(part, decimals, total)
		if i == 0 {
			subtotal.paid.Set(total.paid)
		}
		for _, l := range part {
			for _, sum := range []*line{subtotal, total} {
				sum.samples, sum.expected, sum.estimated = sum.samples+l.samples, sum.expected+l.expected, sum.estimated+l.estimated
			}
		}
	}
	return subtotal, total
}

func newSum(kind string) *line {
	l := &line{lineKey: lineKey{kind: kind}, paid: new(big.Int)}
	for m := range l.rounded {
		l.rounded[m] = new(big.Int)
	}
	return l
}

// pay rounds the lines' costs.
func (b *books) pay(lines []*line, decimals int, total *line) {
	values := make([]*big.Int, len(lines))
	for i, l := range lines {
		values[i] = l.cost.Shift(costDigits).BigInt()
	}
	one := new(big.Int).Exp(big.NewInt(10), big.NewInt(costDigits), nil)
	paid, sum := apportion(values, one, decimals)
	for i, l := range lines {
		l.paid = paid[i]
	}
	total.paid.Add(total.paid, sum)
}

// fixed writes units of the last of so many digits.
func fixed(units *big.Int, digits int) string {
	return decimal.NewFromBigInt(units, -int32(digits)).StringFixed(int32(digits))
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
