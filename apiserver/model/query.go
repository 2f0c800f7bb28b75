package model

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// span is the part of a series that is asked for.
type span struct {
	from, to time.Time       // both ends are in it; a zero one is no bound
	labels   []metrics.Label // of a labelled metric: all of its labels, by key
	list     bool            // not the series is asked for, but the label sets that there are
}

// parseSpan reads the query of a series, in the words that Heapster refused it.
func parseSpan(raw string) (s span, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return s, badRequest(fmt.Errorf("query cannot be parsed: %w", err))
	}
	if s.from, err = parseTime(values.Get("start")); err != nil {
		return s, badRequest(err)
	}
	if s.to, err = parseTime(values.Get("end")); err != nil {
		return s, badRequest(err)
	}
	if s.labels, err = parseLabels(values.Get("labels")); err != nil {
		return s, badRequest(err)
	}
	switch list := values.Get("list"); list {
	case "":
	case "labels":
		s.list = true
	default:
		return s, badRequest(fmt.Errorf("parameter list=%q: want labels", list))
	}
	return s, nil
}

func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("timestamp argument cannot be parsed: %w", err)
	}
	return at, nil
}

// parseLabels reads "KEY:VALUE,KEY:VALUE"; a value may have colons. Labels come by
// key; of a key that comes twice the last one counts.
func parseLabels(text string) (all []metrics.Label, err error) {
	if text == "" {
		return nil, nil
	}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, found := strings.Cut(pair, ":")
		if !found || key == "" || value == "" {
			return nil, fmt.Errorf("invalid label pair %q", pair)
		}
		all = slices.DeleteFunc(all, func(l metrics.Label) bool { return l.Key == key })
		all = append(all, metrics.Label{Key: key, Value: value})
	}
	slices.SortFunc(all, func(a, b metrics.Label) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

// The errors that the model answers with as bare text.
var (
	errNoPage        = &textError{404, "404: Page Not Found"}
	errMethod        = &textError{405, "405: Method Not Allowed"}
	errNotAcceptable = &textError{406, "406: Not Acceptable"}
)

// textError is an answer that is no JSON.
type textError struct {
	code int
	text string
}

func (e *textError) Error() string { return e.text }

func badRequest(err error) error { return &textError{400, err.Error()} }

// asText returns the text that err is answered with, if it is bare text.
func asText(err error) (*textError, bool) {
	var text *textError
	return text, errors.As(err, &text)
}
