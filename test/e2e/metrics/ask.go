package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// asker asks one address.
type asker struct {
	base string
	http *http.Client
}

func newAsker(base string, transport http.RoundTripper) *asker {
	return &asker{base: base, http: &http.Client{
		Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is what came.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *asker) ask(ctx context.Context, method, path string, headers ...string) (*answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, nil)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := a.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }() // all that matters has been read
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return &answer{response.StatusCode, response.Header, body}, nil
}

// get reads a 200's JSON into to.
func (a *asker) get(ctx context.Context, path string, to any) (*answer, error) {
	got, err := a.ask(ctx, http.MethodGet, path)
	if err != nil {
		return nil, err
	}
	if got.status != http.StatusOK {
		return got, fmt.Errorf("GET %s: %d %.200s", path, got.status, got.body)
	}
	if err := json.Unmarshal(got.body, to); err != nil {
		return got, fmt.Errorf("GET %s: %w in %.200s", path, err, got.body)
	}
	return got, nil
}

// series is what the model says of one metric.
type series struct {
	Metrics         []point
	LatestTimestamp time.Time
}

type point struct {
	Timestamp  time.Time
	Value      json.Number
	FloatValue *float64
}

// last is the newest point.
func (s series) last() (point, bool) {
	if len(s.Metrics) == 0 {
		return point{}, false
	}
	return s.Metrics[len(s.Metrics)-1], true
}

// check says what is wrong with the series whatever it is of: times ascend, lie on
// windows, and the latest is the last.
func (s series) check() error {
	if s.Metrics == nil {
		return fmt.Errorf("metrics is null")
	}
	for i, p := range s.Metrics {
		if !p.Timestamp.Equal(p.Timestamp.Truncate(resolution)) {
			return fmt.Errorf("%v is no window's end", p.Timestamp)
		}
		if i > 0 && !p.Timestamp.After(s.Metrics[i-1].Timestamp) {
			return fmt.Errorf("%v comes after %v", p.Timestamp, s.Metrics[i-1].Timestamp)
		}
		if strings.ContainsAny(p.Value.String(), "-.eE") {
			return fmt.Errorf("value %v is no unsigned integer", p.Value)
		}
	}
	if last, ok := s.last(); ok && !last.Timestamp.Equal(s.LatestTimestamp) || !ok && !s.LatestTimestamp.IsZero() {
		return fmt.Errorf("latestTimestamp is %v", s.LatestTimestamp)
	}
	return nil
}

// nodesAnswer is /krm/v1/metrics/nodes.
type nodesAnswer struct {
	At       time.Time
	Complete bool
	Nodes    []nodeAnswer
	Batches  []struct {
		At            time.Time
		Nodes, Failed int
	}
}

type nodeAnswer struct {
	Name            string
	Success         bool
	Reason, Message string
	LastAt          time.Time
}

// node finds one by name.
func (n *nodesAnswer) node(name string) (nodeAnswer, bool) {
	i := slices.IndexFunc(n.Nodes, func(a nodeAnswer) bool { return a.Name == name })
	if i < 0 {
		return nodeAnswer{}, false
	}
	return n.Nodes[i], true
}
