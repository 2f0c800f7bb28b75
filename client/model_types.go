package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// Series are the values of a metric, ascending by time.
type Series struct {
	Points []MetricPoint `json:"metrics"`
	Latest time.Time     `json:"latestTimestamp"` // the last point's; the zero time if there is none
}

// UnmarshalJSON refuses what is no series.
func (s *Series) UnmarshalJSON(text []byte) error {
	var fields struct {
		Metrics *[]MetricPoint `json:"metrics"`
		Latest  time.Time      `json:"latestTimestamp"`
	}
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	if fields.Metrics == nil {
		return fmt.Errorf("a series without metrics (is this KRM's address?): %s", excerpt(text))
	}
	s.Points, s.Latest = *fields.Metrics, fields.Latest.UTC()
	return nil
}

// MetricPoint is a value of a series.
type MetricPoint struct {
	// Time is the end of the window in which it was measured, UTC.
	Time time.Time `json:"timestamp"`
	// Value is the value without what is behind the point, and never below 0.
	Value uint64 `json:"value"`
	// FloatValue is the whole value of a metric that is no whole number, nil of others.
	FloatValue *float64 `json:"floatValue,omitempty"`
}

// Number is the value, whichever way it came.
func (p MetricPoint) Number() float64 {
	if p.FloatValue != nil {
		return *p.FloatValue
	}
	return float64(p.Value)
}

// MetricLabel is a label of a metric.
type MetricLabel struct{ Key, Value string }

// MetricsFreshness says how far metrics may be trusted.
type MetricsFreshness struct {
	// At is when the newest batch was measured, UTC; zero if there is none.
	At time.Time
	// Partial says what is missing: "points=2" of sums that lack pods whose node did not
	// answer, "nodes=1" of lists. It is "" if nothing is.
	Partial string
	// Warnings are what the server wants a person to read, such as that no new metrics
	// come.
	Warnings []string
}

func metricsFreshness(header http.Header) MetricsFreshness {
	at, _ := parseTime(header, "Krm-Metrics-At") // it is for people where it is no time
	return MetricsFreshness{At: at, Partial: header.Get("Krm-Partial"), Warnings: parseWarnings(header)}
}

func spanQuery(start, end time.Time, labels []MetricLabel) (url.Values, error) {
	format := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	var pairs []string
	for _, l := range labels {
		if l.Key == "" || l.Value == "" || strings.ContainsAny(l.Key, ",:") || strings.Contains(l.Value, ",") {
			return nil, fmt.Errorf("label %q: %q: want a key without commas and colons, and a value without commas, neither of them empty", l.Key, l.Value)
		}
		pairs = append(pairs, l.Key+":"+l.Value)
	}
	return queryOf("start", format(start), "end", format(end), "labels", strings.Join(pairs, ",")), nil
}

func checkName(what, name string) error {
	if faults := content.IsPathSegmentName(name); name == "" || len(faults) > 0 {
		return fmt.Errorf("%s %q: want a name that is one part of a path", what, name)
	}
	return nil
}

// NodeCollections says how the newest collection of each node of a cluster went.
type NodeCollections struct {
	Cluster    string           `json:"cluster"`
	At         time.Time        `json:"at,omitzero"`          // the newest batch's, UTC; zero if there is none
	Resolution string           `json:"resolution,omitempty"` // how long a batch's window is: "30s"
	Complete   bool             `json:"complete"`             // the newest sums lack nothing
	Message    string           `json:"message,omitempty"`    // why this may not be the newest state
	Nodes      []NodeCollection `json:"nodes"`                // by name
	Batches    []MetricsBatch   `json:"batches"`              // what is kept, ascending by time
}

// NodeCollection says how the newest collection of a node went.
type NodeCollection struct {
	Name    string    `json:"name"`
	Success bool      `json:"success"`
	Reason  string    `json:"reason,omitempty"`  // in a word: "timeout", "forbidden", …
	Message string    `json:"message,omitempty"` // for people, with what to do
	Seconds float64   `json:"seconds"`           // from the request to the last byte
	LastAt  time.Time `json:"lastAt,omitzero"`   // when it last answered, UTC; zero if never
}

// MetricsBatch is what is known of a batch.
type MetricsBatch struct {
	At     time.Time `json:"at"`
	Nodes  int       `json:"nodes"`  // how many it tried
	Failed int       `json:"failed"` // how many of these did not answer
}

// Collections tells how the newest collection of each node went.
func (m Model) Collections(ctx context.Context) (*NodeCollections, MetricsFreshness, error) {
	answer := new(NodeCollections)
	scope := m.ModelScope
	fresh, err := scope.get(ctx, m.prefix+"/krm/v1/metrics/nodes", nil, answer)
	if err == nil && answer.Nodes == nil {
		err = fmt.Errorf("GET /krm/v1/metrics/nodes: the answer has no nodes (is this KRM's address?)")
	}
	if err != nil {
		return nil, fresh, err
	}
	return answer, fresh, nil
}
