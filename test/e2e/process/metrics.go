package process

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Metrics are the series of one scrape, by their text: name{label="value"}.
type Metrics map[string]float64

// Scrape reads /metrics of the process at base, such as http://127.0.0.1:8080.
func Scrape(ctx context.Context, base string) (Metrics, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("scrape: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("scrape %s: %s", base, answer.Status)
	}
	m := Metrics{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		series, value, found := cutLast(lines.Text(), " ")
		if !found || strings.HasPrefix(series, "#") {
			continue
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			m[series] = n
		}
	}
	return m, lines.Err()
}

func cutLast(text, separator string) (before, after string, found bool) {
	at := strings.LastIndex(text, separator)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(separator):], true
}

// Sum adds up all series of a name whose labels contain each of labels, such as
// resource="pods".
func (m Metrics) Sum(name string, labels ...string) (sum float64) {
	for series, value := range m {
		if is(series, name, labels) {
			sum += value
		}
	}
	return sum
}

func is(series, name string, labels []string) bool {
	rest, ok := strings.CutPrefix(series, name)
	if !ok || rest != "" && rest[0] != '{' {
		return false
	}
	return !slices.ContainsFunc(labels, func(label string) bool { return !strings.Contains(rest, label) })
}

// Quantile estimates a quantile of what was added to a histogram since an earlier
// scrape, as Prometheus does: linear within a bucket. It is NaN if nothing was.
func (m Metrics) Quantile(q float64, before Metrics, name string, labels ...string) float64 {
	type bucket struct{ le, count float64 }
	var buckets []bucket
	for series := range m {
		if !is(series, name+"_bucket", labels) {
			continue
		}
		_, rest, _ := strings.Cut(series, `le="`)
		text, _, _ := strings.Cut(rest, `"`)
		if le, err := strconv.ParseFloat(text, 64); err == nil {
			buckets = append(buckets, bucket{le, m[series] - before[series]})
		}
	}
	slices.SortFunc(buckets, func(a, b bucket) int {
		if a.le < b.le {
			return -1
		}
		return 1
	})
	if len(buckets) == 0 || buckets[len(buckets)-1].count == 0 {
		return math.NaN()
	}
	rank := q * buckets[len(buckets)-1].count
	lower := bucket{}
	for _, b := range buckets {
		if b.count >= rank {
			if math.IsInf(b.le, 1) || b.count == lower.count {
				return lower.le
			}
			return lower.le + (b.le-lower.le)*(rank-lower.count)/(b.count-lower.count)
		}
		lower = b
	}
	return lower.le
}
