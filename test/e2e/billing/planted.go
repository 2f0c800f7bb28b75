package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// liar is a transport that doubles the first integral of an answer that speaks of a name.
type liar struct {
	name string
	lied int
}

var integral = regexp.MustCompile(`("integral":)([0-9.]+)`)

// RoundTrip implements http.RoundTripper.
func (l *liar) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if err := response.Body.Close(); err != nil {
		return nil, err
	}
	lines := strings.Split(string(body), "\n")
	for i, text := range lines {
		if !strings.Contains(text, l.name) {
			continue
		}
		lines[i] = integral.ReplaceAllStringFunc(text, func(found string) string {
			parts := integral.FindStringSubmatch(found)
			value, _ := strconv.ParseFloat(parts[2], 64)
			l.lied++
			return parts[1] + strconv.FormatFloat(2*value, 'g', -1, 64)
		})
		break
	}
	body = []byte(strings.Join(lines, "\n"))
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return response, nil
}

// plantedPart has the comparison look at what is counted twice: it must notice that, and
// nothing else.
func plantedPart(ctx context.Context, s *side) error {
	if err := plantedLie(ctx, s); err != nil {
		return fmt.Errorf("a doubled figure: %w", err)
	}
	return plantedTwin(ctx, s)
}

// plantedLie doubles one figure of an answer.
func plantedLie(ctx context.Context, s *side) error {
	l, c := &liar{name: `"month-beta"`}, &checker{}
	for _, agg := range []string{"all-pod", "all-namespace"} {
		q := question{metric: "cpu/usage_rate", agg: agg, from: s.month.begin, to: s.month.end()}
		checkRows(ctx, c, newAsker(s.api.base, l), s.month, q)
	}
	if len(c.wrong) != 2 || l.lied != 2 {
		return fmt.Errorf("of %d lies these were noticed: %q", l.lied, c.wrong)
	}
	for _, wrong := range c.wrong {
		if !strings.Contains(wrong, "month-beta") || !strings.Contains(wrong, "integral") {
			return fmt.Errorf("this was noticed: %s", wrong)
		}
	}
	return nil
}

// plantedTwin looks at the story whose one pod is in the database twice.
func plantedTwin(ctx context.Context, s *side) error {
	of := s.planted
	for _, metric := range []string{"cpu/usage_rate", "memory/usage", "cpu/usage", "filesystem/usage"} {
		for _, agg := range []string{"all-namespace", "all-pod"} {
			c := &checker{}
			checkRows(ctx, c, s.api, of, question{metric: metric, agg: agg, from: of.begin, to: of.end()})
			if err := onlyDoubled(c, metric != "filesystem/usage"); err != nil {
				return fmt.Errorf("%s %s of a pod that was written twice: %w", metric, agg, err)
			}
		}
	}
	for _, by := range []string{"namespace", "pod"} {
		c := &checker{}
		checkReport(ctx, c, s.api, of, reportQuestion{by: by, from: of.begin, to: of.end()})
		if err := onlyDoubled(c, true); err != nil {
			return fmt.Errorf("a report by %s with a pod that was written twice: %w", by, err)
		}
	}
	return nil
}

// onlyDoubled says whether the checks noticed the doubled namespace, and blamed no other.
func onlyDoubled(c *checker, some bool) error {
	if len(c.wrong) > 0 != some {
		return fmt.Errorf("%d of %d figures are said to be wrong: %q", len(c.wrong), c.figures, c.wrong)
	}
	for _, wrong := range c.wrong {
		if strings.Contains(wrong, "planted-honest") {
			return fmt.Errorf("an honest figure is said to be wrong: %s", wrong)
		}
	}
	return nil
}
