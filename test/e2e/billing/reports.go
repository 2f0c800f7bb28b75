package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// reportQuestion is what POST /api/report is asked of one story: a month, or bounds.
type reportQuestion struct {
	by, month, timezone string
	from, to            time.Time // of the month, too
	text                [2]string // the bounds as they are sent; RFC 3339 if ""
}

func (q *reportQuestion) body(s *story, format string) map[string]any {
	fields := map[string]any{"by": q.by, "format": format, "cluster": s.cluster}
	if q.timezone != "" {
		fields["timezone"] = q.timezone
	}
	switch {
	case q.month != "":
		fields["month"] = q.month
	case q.text[0] != "":
		fields["timeBeginInterval"], fields["timeEndInterval"] = q.text[0], q.text[1]
	default:
		fields["timeBeginInterval"], fields["timeEndInterval"] = q.from.Format(time.RFC3339Nano), q.to.Format(time.RFC3339Nano)
	}
	return fields
}

func (q *reportQuestion) String() string {
	return fmt.Sprintf("report by %s %s %s [%s, %s)", q.by, q.month, q.timezone, q.from.UTC().Format("2006-01-02 15:04:05"), q.to.UTC().Format("2006-01-02 15:04:05"))
}

// reportQuestions are by everything, over days, odd seconds, gaps and zones.
func (s *story) reportQuestions() (all []reportQuestion) {
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		panic("BUG: " + err.Error())
	}
	local := func(t time.Time) time.Time { // the same clock time in Zurich
		return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, zurich)
	}
	in := s.intervals()
	for _, by := range []string{"namespace", "pod", "container", "label:team"} {
		for _, n := range []int{1, 3, 5, 6, 9, 13} {
			all = append(all, reportQuestion{by: by, from: in[n].from, to: in[n].to})
		}
		day := reportQuestion{by: by, timezone: "Europe/Zurich", from: local(in[1].from), to: local(in[1].to)}
		day.text = [2]string{in[1].from.Format(time.DateOnly), in[1].to.Format(time.DateOnly)}
		odd := reportQuestion{by: by, timezone: "Europe/Zurich", from: local(in[5].from.Truncate(time.Second)), to: local(in[5].to.Truncate(time.Second))}
		odd.text = [2]string{in[5].from.Format(time.DateTime), in[5].to.Format(time.DateTime)}
		all = append(all, day, odd)
		if s.cluster == monthCluster {
			for _, zone := range []*time.Location{time.UTC, zurich} {
				if (by == "pod" || by == "container") != (zone == zurich) && by != "namespace" {
					continue // each by in a zone, namespaces in both
				}
				of := s.begin
				begin := time.Date(of.Year(), of.Month(), 1, 0, 0, 0, 0, zone)
				end := time.Date(of.Year(), of.Month()+1, 1, 0, 0, 0, 0, zone)
				all = append(all, reportQuestion{by: by, month: of.Format("2006-01"), timezone: zone.String(), from: begin, to: end})
			}
		}
	}
	return all
}

// reportAnswer is the JSON form of a report.
type reportAnswer struct {
	Begin, End          time.Time
	Month, Timezone, By string
	Complete            bool
	Lines               []map[string]any
	Subtotal, Total     map[string]any
}

// folding says that hours may be changing: nothing is said of completeness.
const folding = true

// checkReport asks for a report and compares every figure of every line with the truth;
// the CSV must say the same.
func checkReport(ctx context.Context, c *checker, a *asker, s *story, q reportQuestion, open ...bool) {
	name := s.cluster + " " + q.String()
	got, err := a.want(ctx, "/api/report", q.body(s, "json"))
	var report reportAnswer
	if err == nil {
		err = decode(got.body, &report)
	}
	if err != nil {
		c.ok(name, err)
		return
	}
	c.count(report.Begin.Equal(q.from) && report.End.Equal(q.to), "%s: it is of [%v, %v)", name, report.Begin, report.End)
	if len(open) == 0 {
		c.is(name+": complete", report.Complete, true)
	}
	truth, subtotal, shares := s.report(&q)
	for _, line := range report.Lines {
		key := lineKey(line)
		want := truth[key]
		if want == nil {
			c.count(false, "%s: there is a line of %v, which should not be", name, key)
			continue
		}
		delete(truth, key)
		checkLine(c, fmt.Sprintf("%s: %v", name, key), line, want, key.kind == "pods" || key.kind == "claims")
	}
	for key := range truth {
		c.count(false, "%s: the line of %v is missing", name, key)
	}
	checkTotals(c, name, &report, subtotal, shares)
	checkCSV(ctx, c, a, s, &q, name, &report)
}

// report is the truth of a report: its lines, what pods came to, and what all nodes did beside.
func (s *story) report(q *reportQuestion) (lines map[billKey]*bill, subtotal, shares *bill) {
	lines, subtotal, shares = map[billKey]*bill{}, newBill(), newBill()
	put := func(key billKey, b *bill) {
		if lines[key] == nil {
			lines[key] = newBill()
		}
		lines[key].add(b)
		subtotal.add(b)
	}
	for key, b := range s.bills(q.from, q.to, q.by == "container") {
		b.cost = priceOf(key.namespace, b)
		switch q.by {
		case "namespace":
			key = billKey{kind: key.kind, namespace: key.namespace}
		case "label:team":
			key = billKey{kind: key.kind, label: key.label}
		default:
			key.label = ""
		}
		put(key, b)
	}
	for _, claim := range s.claims {
		held := s.held(claim.born, claim.ended, q.from, q.to)
		if held <= 0 {
			continue
		}
		b := newBill()
		b.put(claimsRequested, claim.bytes, held)
		b.cost = priceOf(claim.namespace, b)
		switch q.by {
		case "namespace":
			put(billKey{kind: "pods", namespace: claim.namespace}, b)
		case "label:team":
			put(billKey{kind: "pods"}, b)
		default:
			put(billKey{kind: "claims", namespace: claim.namespace}, b)
		}
	}
	pods := subtotal
	system, idle := s.shares(pods, s.window(q.from), s.window(q.to))
	if s.measured(q.from, q.to) {
		lines[billKey{kind: "system"}], lines[billKey{kind: "idle"}] = system, idle
		shares.add(system)
		shares.add(idle)
	}
	return lines, subtotal, shares
}

func lineKey(line map[string]any) billKey {
	text := func(name string) string {
		value, _ := line[name].(string)
		return value
	}
	key := billKey{kind: text("kind"), namespace: text("namespace_name"), pod: text("pod_name"), uid: text("pod_uid"), container: text("container_name"), label: text("label")}
	if key.kind == "claims" {
		key.uid = "" // several of a namespace are on one line
	}
	return key
}

const digits = 1000000 // amounts have six

// checkLine compares a line. Its amounts may be rounded up where others' are rounded down,
// so that lines add up, but only where there is something to round.
func checkLine(c *checker, name string, line map[string]any, want *bill, pods bool) {
	near := func(what string, exact *big.Rat, scale int64) {
		got, ok := new(big.Rat).SetString(fmt.Sprint(line[what]))
		if !ok {
			c.count(false, "%s: %s: %v is no number", name, what, line[what])
			return
		}
		off := new(big.Rat).Sub(got, exact)
		off.Mul(off.Abs(off), big.NewRat(scale, 1))
		whole := new(big.Rat).Mul(exact, big.NewRat(scale, 1)).IsInt()
		right := off.Cmp(big.NewRat(1, 1)) < 0 && (!whole || off.Sign() == 0)
		c.count(right, "%s: %s: %v, want %s", name, what, line[what], exact.FloatString(9))
	}
	for i, what := range amountNames {
		near(what, want.amounts[i], digits)
	}
	near("cost", want.cost, 100)
	if pods {
		for what, n := range map[string]int64{"samples": want.samples, "expected": want.expected, "estimated_pods": want.estimated} {
			c.is(name+": "+what, fmt.Sprint(line[what]), fmt.Sprint(n))
		}
		ratio := big.NewRat(1, 1)
		if want.expected > 0 {
			ratio = big.NewRat(want.samples, want.expected)
		}
		number, _ := line["coverage"].(json.Number)
		c.nearest(name+": coverage", number, ratio)
	}
}

// checkTotals: lines add up to the last digit, and each sum is rounded once.
func checkTotals(c *checker, name string, report *reportAnswer, subtotal, shares *bill) {
	for i, what := range append(amountNames[:], "cost") {
		sums := [2]*big.Rat{new(big.Rat), new(big.Rat)} // of pods and claims, of all
		for _, line := range report.Lines {
			value, ok := new(big.Rat).SetString(fmt.Sprint(line[what]))
			if !ok {
				continue // it was told above
			}
			sums[1].Add(sums[1], value)
			if line["kind"] == "pods" || line["kind"] == "claims" {
				sums[0].Add(sums[0], value)
			}
		}
		places, exact, rest := 6, subtotal.cost, shares.cost
		if i < amountsN {
			exact, rest = subtotal.amounts[i], shares.amounts[i]
		} else {
			places = 2
		}
		said := fmt.Sprint(report.Subtotal[what])
		c.is(name+": the lines' "+what+" add up to the subtotal", sums[0].FloatString(places), said)
		c.is(name+": subtotal "+what, said, halfUp(exact, places).FloatString(places))
		said = fmt.Sprint(report.Total[what])
		c.is(name+": the lines' "+what+" add up to the total", sums[1].FloatString(places), said)
		c.is(name+": total "+what, said, new(big.Rat).Add(halfUp(exact, places), halfUp(rest, places)).FloatString(places))
	}
	for what, n := range map[string]int64{"samples": subtotal.samples, "expected": subtotal.expected, "estimated_pods": subtotal.estimated} {
		c.is(name+": total "+what, fmt.Sprint(report.Total[what]), fmt.Sprint(n))
	}
}

// halfUp rounds to so many digits after the point.
func halfUp(exact *big.Rat, places int) *big.Rat {
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)
	scaled := new(big.Rat).Mul(exact, new(big.Rat).SetInt(scale))
	scaled.Add(scaled, big.NewRat(1, 2))
	floor := new(big.Int).Div(scaled.Num(), scaled.Denom())
	return new(big.Rat).SetFrac(floor, scale)
}

// checkCSV compares the CSV form with the JSON form, cell by cell.
func checkCSV(ctx context.Context, c *checker, a *asker, s *story, q *reportQuestion, name string, report *reportAnswer) {
	got, err := a.want(ctx, "/api/report", q.body(s, "csv"))
	if err != nil {
		c.ok(name+" as CSV", err)
		return
	}
	rows, err := csv.NewReader(strings.NewReader(string(got.body))).ReadAll()
	lines := append(append([]map[string]any(nil), report.Lines...), report.Subtotal, report.Total)
	if err != nil || len(rows) != len(lines)+1 {
		c.count(false, "%s as CSV: %d rows, want %d and a head: %v", name, len(rows), len(lines), err)
		return
	}
	for i, line := range lines {
		for k, column := range rows[0] {
			want := ""
			if line[column] != nil {
				want = fmt.Sprint(line[column])
			}
			c.is(fmt.Sprintf("%s as CSV, line %d, %s", name, i+1, column), rows[i+1][k], want)
		}
	}
}

// reportsPart compares every figure of every report about a story with the truth.
func reportsPart(ctx context.Context, c *checker, a *asker, s *story) error {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, q := range s.reportQuestions() {
		g.Go(func() error {
			checkReport(inner, c, a, s, q)
			return inner.Err()
		})
	}
	return g.Wait()
}

// measured says whether nodes have samples in [from, to).
func (s *story) measured(from, to time.Time) bool {
	for _, one := range s.series {
		if one.level == nodeLevel && len(s.sampled(one, s.window(from), s.window(to))) > 0 {
			return true
		}
	}
	return false
}
