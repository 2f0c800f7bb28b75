package billing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
	"go.yaml.in/yaml/v3"
)

// ParsePrices reads prices from YAML. All faults are returned, joined, each with its
// line, its field, the value and what is accepted. Numbers may stand with or without
// quotes: a price is read from its text and never is a float.
//
//	currency: CHF
//	decimals: 2              # of costs; 2 by default
//	prices: {cpu_billed_core_hours: "0.031"}
//	rules:                   # the first that fits goes before prices
//	- {namespaces: [research], labels: {team: red}, clusters: [default], prices: {cpu_billed_core_hours: "0.020"}}
//	tariffs:                 # each replaces prices and rules from its date on
//	- {from: 2026-11-01, prices: {cpu_billed_core_hours: "0.035"}}
func ParsePrices(text []byte) (*Prices, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is a second document: want one")
	}
	root := &yaml.Node{Kind: yaml.MappingNode, Line: 1}
	if len(document.Content) > 0 {
		root = document.Content[0]
	}
	p, s := &Prices{Decimals: 2}, &sheet{}
	s.prices(root, p)
	return p, errors.Join(s.faults...)
}

// sheet reads a file of prices and collects its faults.
type sheet struct{ faults []error }

func (s *sheet) fail(n *yaml.Node, field, want string) {
	s.failf(n, field, "%s: want %s", shown(n), want)
}

func (s *sheet) failf(n *yaml.Node, field, format string, values ...any) {
	if field != "" {
		field += ": "
	}
	s.faults = append(s.faults, fmt.Errorf("line %d: %s%s", n.Line, field, fmt.Sprintf(format, values...)))
}

// shown is a node's value for a message.
func shown(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return quoted(n.Value)
}

// fields has each key's reader called with its value and the field's name.
func (s *sheet) fields(n *yaml.Node, field string, readers map[string]func(n *yaml.Node, field string)) {
	s.each(n, field, "one of "+strings.Join(slices.Sorted(maps.Keys(readers)), ", "), func(key string, value *yaml.Node, field string) bool {
		if readers[key] != nil {
			readers[key](value, field)
		}
		return readers[key] != nil
	})
}

// each goes through a mapping whose keys are among want; use says whether one is.
func (s *sheet) each(n *yaml.Node, field, want string, use func(key string, value *yaml.Node, field string) bool) {
	if n = followed(n); n.Kind != yaml.MappingNode {
		s.fail(n, field, "a mapping, whose keys are "+want)
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], followed(n.Content[i+1])
		below := strings.TrimPrefix(field+"."+key.Value, ".")
		switch {
		case seen[key.Value]:
			s.failf(key, below, "it is already given: want each key once")
		case key.Kind != yaml.ScalarNode || !use(key.Value, value, below):
			s.failf(key, field, "%s: unknown: want %s", shown(key), want)
		}
		seen[key.Value] = true
	}
}

// followed is what an alias stands for.
func followed(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func (s *sheet) list(n *yaml.Node, field string, use func(n *yaml.Node, field string)) {
	if n.Kind != yaml.SequenceNode {
		s.fail(n, field, "a list")
		return
	}
	for i, item := range n.Content {
		use(followed(item), fmt.Sprintf("%s[%d]", field, i))
	}
}

func (s *sheet) text(n *yaml.Node, field, want string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || strings.TrimSpace(n.Value) == "" {
		s.fail(n, field, want)
	}
	return n.Value
}

func (s *sheet) prices(root *yaml.Node, p *Prices) {
	ever := Tariff{}
	given := false
	own := s.tariffFields(&ever)
	readers := map[string]func(*yaml.Node, string){
		"currency": func(n *yaml.Node, field string) { p.Currency = s.text(n, field, "one, such as CHF") },
		"decimals": func(n *yaml.Node, field string) {
			var err error
			if p.Decimals, err = strconv.Atoi(n.Value); n.Kind != yaml.ScalarNode || err != nil || p.Decimals < 0 || p.Decimals > 9 {
				s.fail(n, field, "a whole number from 0 to 9")
			}
		},
		"tariffs": func(n *yaml.Node, field string) {
			s.list(n, field, func(n *yaml.Node, field string) { p.Tariffs = append(p.Tariffs, s.tariff(n, field)) })
		},
	}
	for _, name := range []string{"prices", "rules"} {
		readers[name] = func(n *yaml.Node, field string) { given = true; own[name](n, field) }
	}
	s.fields(root, "", readers)
	if strings.TrimSpace(p.Currency) == "" || len(p.Currency) > 16 {
		s.failf(root, "currency", "%q: want one of at most 16 letters, such as CHF", p.Currency)
	}
	if given {
		p.Tariffs = slices.Insert(p.Tariffs, 0, ever)
	}
	if len(p.Tariffs) == 0 || given && len(s.faults) == 0 && len(ever.Prices)+len(ever.Rules) == 0 {
		s.failf(root, "prices", "there are none: want prices, rules or tariffs")
	}
	for i := 1; i < len(p.Tariffs); i++ {
		if p.Tariffs[i-1].From.compare(p.Tariffs[i].From) >= 0 {
			s.failf(root, "tariffs", "%v comes after %v: want ascending dates, each once", p.Tariffs[i].From, p.Tariffs[i-1].From)
		}
	}
}

// tariffFields are the readers of the fields of a tariff's prices.
func (s *sheet) tariffFields(t *Tariff) map[string]func(*yaml.Node, string) {
	return map[string]func(*yaml.Node, string){
		"prices": func(n *yaml.Node, field string) { t.Prices = s.amounts(n, field) },
		"rules": func(n *yaml.Node, field string) {
			s.list(n, field, func(n *yaml.Node, field string) { t.Rules = append(t.Rules, s.rule(n, field)) })
		},
	}
}

func (s *sheet) tariff(n *yaml.Node, field string) (t Tariff) {
	readers := s.tariffFields(&t)
	readers["from"] = func(n *yaml.Node, field string) {
		day, err := time.Parse("2006-01-02", n.Value)
		if n.Kind != yaml.ScalarNode || err != nil || day.Before(earliest.AddDate(0, 0, 2)) || !day.Before(latest) {
			s.fail(n, field, "a date from 1970-01-03 to 2199-12-31, as 2006-01-02")
			return
		}
		t.From = Date{day.Year(), day.Month(), day.Day()}
	}
	before := len(s.faults)
	s.fields(n, field, readers)
	switch {
	case len(s.faults) > before:
	case t.From == (Date{}):
		s.failf(n, field, "from is missing: want the date that the tariff begins on, as 2006-01-02")
	case len(t.Prices)+len(t.Rules) == 0:
		s.failf(n, field, "there are no prices in it: want prices or rules")
	}
	return t
}

func (s *sheet) rule(n *yaml.Node, field string) (r Rule) {
	texts := func(to *[]string) func(*yaml.Node, string) {
		return func(n *yaml.Node, field string) {
			s.list(n, field, func(n *yaml.Node, field string) { *to = append(*to, s.text(n, field, "a name")) })
		}
	}
	before := len(s.faults)
	s.fields(n, field, map[string]func(*yaml.Node, string){
		"clusters":   texts(&r.Clusters),
		"namespaces": texts(&r.Namespaces),
		"labels": func(n *yaml.Node, field string) {
			r.Labels = map[string]string{}
			s.each(n, field, "the names of labels", func(key string, value *yaml.Node, field string) bool {
				if value.Kind != yaml.ScalarNode {
					s.fail(value, field, "the label's value")
				}
				r.Labels[key] = value.Value
				return key != ""
			})
		},
		"prices": func(n *yaml.Node, field string) { r.Prices = s.amounts(n, field) },
	})
	switch {
	case len(s.faults) > before:
	case len(r.Prices) == 0:
		s.failf(n, field, "there are no prices in it: want prices")
	case len(r.Clusters)+len(r.Namespaces)+len(r.Labels) == 0:
		s.failf(n, field, "want clusters, namespaces or labels that it is for; prices for all stand in prices")
	}
	return r
}

var priceText = regexp.MustCompile(`^[0-9]{1,15}(\.[0-9]{1,15})?$`)

// amounts reads prices by the names of columns.
func (s *sheet) amounts(n *yaml.Node, field string) map[string]decimal.Decimal {
	prices := map[string]decimal.Decimal{}
	s.each(n, field, "one of "+strings.Join(amountNames(), ", "), func(key string, value *yaml.Node, field string) bool {
		price, err := decimal.NewFromString(value.Value)
		if value.Kind != yaml.ScalarNode || !priceText.MatchString(value.Value) || err != nil {
			s.fail(value, field, "a price from 0 on, of digits and a point, such as 0.035")
		}
		prices[key] = price
		return slices.Contains(amountNames(), key)
	})
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		s.failf(n, field, "there are none")
	}
	return prices
}
