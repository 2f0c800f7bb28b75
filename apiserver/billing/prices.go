package billing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/shopspring/decimal"
	"go.yaml.in/yaml/v3"
)

// Prices are what reports reckon with: (spec: billing, section 3). Decimals are those
// of github.com/shopspring/decimal: its values cannot be changed, sums and products are
// exact whatever their length, and a division says to how many digits.
type Prices struct {
	// Currency stands in reports.
	Currency string `yaml:"currency"`
	// Decimals is how many digits costs have after the point: 2 if it is not given.
	Decimals *int `yaml:"decimals"`
	// Prices are by the name of a report's column, such as cpu_billed_core_hours.
	Prices map[string]Price `yaml:"prices"`
	// Rules go before Prices. For each column the first rule holds that fits the pod and
	// names the column.
	Rules []Rule `yaml:"rules"`
}

// Rule has prices for some pods: those to which all of its conditions apply.
type Rule struct {
	Clusters   []string          `yaml:"clusters"`   // one of them; any if empty
	Namespaces []string          `yaml:"namespaces"` // one of them; any if empty
	Labels     map[string]string `yaml:"labels"`     // all of them
	Prices     map[string]Price  `yaml:"prices"`
}

// Price is a decimal number. It never was a float: it is read from its text.
type Price struct{ decimal.Decimal }

var priceText = regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]{1,15})?$`)

// UnmarshalYAML reads the price from the scalar's text, quoted or not.
func (p *Price) UnmarshalYAML(node *yaml.Node) (err error) {
	if node.Kind != yaml.ScalarNode || !priceText.MatchString(node.Value) {
		return fmt.Errorf("line %d: %q: want a price from 0 on, with a point, such as 0.035", node.Line, node.Value)
	}
	p.Decimal, err = decimal.NewFromString(node.Value)
	return err
}

// ReadPrices reads a file of prices, YAML.
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

// ParsePrices reads prices from YAML.
func ParsePrices(text []byte) (*Prices, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	p := &Prices{}
	if err := decoder.Decode(p); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is a second document: want one")
	}
	if p.Decimals == nil {
		two := 2
		p.Decimals = &two
	}
	return p, p.validate()
}

// validate returns all faults, joined.
func (p *Prices) validate() error {
	var faults []error
	if *p.Decimals < 0 || *p.Decimals > 9 {
		faults = append(faults, fmt.Errorf("decimals: %d: want 0 to 9", *p.Decimals))
	}
	if strings.TrimSpace(p.Currency) == "" || len(p.Currency) > 16 {
		faults = append(faults, fmt.Errorf("currency: %q: want one, such as CHF", p.Currency))
	}
	check := func(where string, prices map[string]Price) {
		if len(prices) == 0 {
			faults = append(faults, fmt.Errorf("%sprices: there are none", where))
		}
		for name := range prices {
			if !slices.Contains(amountNames(), name) {
				faults = append(faults, fmt.Errorf("%sprices: %q: want one of %s", where, name, strings.Join(amountNames(), ", ")))
			}
		}
	}
	if len(p.Rules) == 0 || p.Prices != nil {
		check("", p.Prices)
	}
	for i, rule := range p.Rules {
		where := fmt.Sprintf("rule %d: ", i+1)
		check(where, rule.Prices)
		if len(rule.Clusters)+len(rule.Namespaces)+len(rule.Labels) == 0 {
			faults = append(faults, fmt.Errorf("%swant clusters, namespaces or labels that it is for; prices for all stand in prices", where))
		}
	}
	return errors.Join(faults...)
}

// of is the price of a column for a pod; 0 if there is none.
func (p *Prices) of(m amount, cluster, namespace string, labels map[string]string) decimal.Decimal {
	name := m.String()
	for i := range p.Rules {
		if price, ok := p.Rules[i].Prices[name]; ok && p.Rules[i].fits(cluster, namespace, labels) {
			return price.Decimal
		}
	}
	return p.Prices[name].Decimal
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
func (p *Prices) cost(all *amounts, cluster, namespace string, labels map[string]string) decimal.Decimal {
	total := decimal.Zero
	for m := range numAmounts {
		price := p.of(m, cluster, namespace, labels)
		if price.IsZero() || all[m].Sign() == 0 {
			continue
		}
		product := decimal.NewFromBigInt(all[m], 0).Mul(price)
		total = total.Add(product.DivRound(decimal.NewFromBigInt(m.divisor(), 0), costDigits))
	}
	return total
}
