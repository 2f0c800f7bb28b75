package billing

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/shopspring/decimal"
)

// Prices are what reports reckon with: (spec: billing, section 3). Decimals are those
// of github.com/shopspring/decimal: its values cannot be changed, sums and products are
// exact whatever their length, and a division says to how many digits.
type Prices struct {
	// Currency stands in reports.
	Currency string
	// Decimals is how many digits costs have after the point.
	Decimals int
	// Tariffs ascend in From; each holds until the next one begins.
	Tariffs []Tariff
}

// Tariff is the prices from a date on.
type Tariff struct {
	// From is the first day, in the time zone of the report; the zero Date is since ever.
	From Date
	// Prices are by the name of a report's column, such as cpu_billed_core_hours.
	Prices map[string]decimal.Decimal
	// Rules go before Prices. For each column the first rule holds that fits the pod and
	// names the column.
	Rules []Rule
}

// Rule has prices for some pods: those to which all of its conditions apply.
type Rule struct {
	Clusters   []string          // one of them; any if empty
	Namespaces []string          // one of them; any if empty
	Labels     map[string]string // all of them
	Prices     map[string]decimal.Decimal
}

// Date is a day of the calendar.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// String is the date as "2006-01-02".
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// compare orders dates.
func (d Date) compare(e Date) int {
	return slices.Compare([]int{d.Year, int(d.Month), d.Day}, []int{e.Year, int(e.Month), e.Day})
}

// ReadPrices reads a file of prices, YAML; see ParsePrices.
func ReadPrices(file string) (*Prices, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the prices: %w", err)
	}
	prices, err := ParsePrices(text)
	if err != nil {
		return nil, fmt.Errorf("read the prices from %s: %w", file, err)
	}
	return prices, nil
}

// tariff is the one that holds in all of [from, to); nil if there are no prices, or none
// yet. It fails if another one begins in between: costs of a day that two tariffs share
// would be a guess.
func (p *Prices) tariff(from, to time.Time, zone *time.Location) (holds *Tariff, err error) {
	if p == nil {
		return nil, nil
	}
	for i := range p.Tariffs {
		t := &p.Tariffs[i]
		begin := time.Time{}
		if t.From != (Date{}) {
			begin = dayBegin(t.From, zone)
		}
		switch {
		case !begin.After(from):
			holds = t
		case begin.Before(to):
			at := begin.In(zone).Format(time.RFC3339)
			return nil, faultf(http.StatusBadRequest, "the prices change on %v, within [%s, %s): ask for two reports, with %s and %s, one until %s and one from there on",
				t.From, rfc3339(from), rfc3339(to), beginField, endField, at)
		}
	}
	return holds, nil
}

// of is the price of a column for a pod; 0 if there is none.
func (t *Tariff) of(m amount, cluster, namespace string, labels map[string]string) decimal.Decimal {
	name := m.String()
	for i := range t.Rules {
		if price, ok := t.Rules[i].Prices[name]; ok && t.Rules[i].fits(cluster, namespace, labels) {
			return price
		}
	}
	return t.Prices[name]
}

func (r *Rule) fits(cluster, namespace string, labels map[string]string) bool {
	if len(r.Clusters) > 0 && !slices.Contains(r.Clusters, cluster) || len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, namespace) {
		return false
	}
	for key, value := range r.Labels {
		if has, ok := labels[key]; !ok || has != value {
			return false
		}
	}
	return true
}

// costDigits is to how many digits the cost of each pod's column is reckoned, before
// anything is rounded to what is paid.
const costDigits = 18

// cost is what a pod's amounts come to.
func (t *Tariff) cost(all *amounts, cluster, namespace string, labels map[string]string) decimal.Decimal {
	total := decimal.Zero
	for m := range numAmounts {
		price := t.of(m, cluster, namespace, labels)
		if price.IsZero() || all[m].Sign() == 0 {
			continue
		}
		product := decimal.NewFromBigInt(all[m], 0).Mul(price)
		total = total.Add(product.DivRound(decimal.NewFromBigInt(m.divisor(), 0), costDigits))
	}
	return total
}
