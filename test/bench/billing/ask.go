package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// The credentials of the server.
const (
	username = "bench"
	password = "bench-password"
)

// errTooSlow comes when the server says that the database takes too long. How long that
// took comes with it.
var errTooSlow = errors.New("the server says that its database is too slow")

// question is what POST /api/{metric} is asked.
type question struct {
	metric   metric
	agg      string // all-namespace or all-pod
	from, to time.Time
}

// key is the group of a pod in the question's answer.
func (q question) key(p pod) string {
	if q.agg == "all-namespace" {
		return p.namespace
	}
	return p.namespace + "/" + p.name + "/" + p.uid
}

// row is a row of an answer.
type row struct {
	Namespace string      `json:"namespace_name"`
	Pod       string      `json:"pod_name"`
	UID       string      `json:"pod_uid"`
	Sum       json.Number `json:"sum"`
	Integral  float64     `json:"integral"`
	Mean      float64     `json:"mean"`
	Max       json.Number `json:"max"`
	Samples   int64       `json:"samples"`
	Expected  int64       `json:"expected"`
}

func (r *row) key() string {
	if r.Pod == "" {
		return r.Namespace
	}
	return r.Namespace + "/" + r.Pod + "/" + r.UID
}

// ask answers a question, and says how long it took to the answer's last byte.
func (s *server) ask(ctx context.Context, q question) ([]row, time.Duration, error) {
	body, err := json.Marshal(map[string]any{
		"agg": q.agg, "timeBeginInterval": q.from.Format(time.RFC3339), "timeEndInterval": q.to.Format(time.RFC3339),
	})
	if err != nil {
		return nil, 0, err
	}
	text, took, err := s.post(ctx, "/api/"+q.metric.name, body)
	if err != nil {
		return nil, took, err
	}
	var rows []row
	if err := json.Unmarshal(text, &rows); err != nil {
		return nil, 0, fmt.Errorf("decode the answer of %s: %w", q.metric.name, err)
	}
	return rows, took, nil
}

// post sends a request of the billing API.
func (s *server) post(ctx context.Context, path string, body []byte) ([]byte, time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	request.Header.Set("X-USERNAME", username)
	request.Header.Set("X-PASSWORD", password)
	began := time.Now()
	answer, err := s.http.Do(request)
	if err != nil {
		return nil, 0, fmt.Errorf("POST %s: %w", path, err)
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	var text bytes.Buffer
	_, err = text.ReadFrom(answer.Body)
	took := time.Since(began)
	if err == nil && answer.StatusCode == http.StatusServiceUnavailable {
		return nil, took, errTooSlow
	}
	if err != nil || answer.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("POST %s %s: %s: %.300s (%w)", path, body, answer.Status, text.Bytes(), err)
	}
	return text.Bytes(), took, nil
}

// check compares every figure of an answer with the truth, and returns how many it
// compared and how many are wrong.
func (q question) check(w *world, rows []row) (compared, wrong int) {
	want := w.truth(q.metric.name, q.from, q.to, q.key)
	judge := func(right bool) {
		compared++
		if !right {
			wrong++
		}
	}
	judge(len(rows) == len(want))
	for i := range rows {
		got := &rows[i]
		is, known := want[got.key()]
		judge(known)
		judge(got.Sum.String() == strconv.FormatInt(is.sum, 10))
		judge(got.Max.String() == strconv.FormatInt(is.max, 10))
		judge(got.Samples == is.samples)
		judge(got.Expected == is.samples)
		judge(deviation(got.Mean, float64(is.sum)/float64(is.samples)) < 1e-14)
		judge(deviation(got.Integral, float64(is.sum)*resolution.Seconds()/q.metric.divisor) < 1e-14)
	}
	return compared, wrong
}

// deviation is how far a is from b, as a share of b.
func deviation(a, b float64) float64 {
	switch {
	case a == b:
		return 0
	case b == 0:
		return math.Inf(1)
	}
	return math.Abs(a-b) / math.Abs(b)
}

// report is as much of the report's answer as is checked.
type report struct {
	Complete bool
	Lines    []struct {
		Kind      string
		Namespace string  `json:"namespace_name"`
		CPU       float64 `json:"cpu_used_core_hours"`
		Memory    float64 `json:"memory_used_gib_hours"`
		Hours     float64 `json:"pod_hours"`
	}
}

// report asks for the report of the month by namespace, and checks it.
func (s *server) report(ctx context.Context, w *world) (took time.Duration, compared, wrong int, err error) {
	body, err := json.Marshal(map[string]any{
		"by": "namespace", "timeBeginInterval": w.month.Format(time.RFC3339), "timeEndInterval": w.monthEnd.Format(time.RFC3339),
	})
	if err != nil {
		return 0, 0, 0, err
	}
	text, took, err := s.post(ctx, "/api/report", body)
	if err != nil {
		return took, 0, 0, err
	}
	var got report
	if err := json.Unmarshal(text, &got); err != nil {
		return 0, 0, 0, fmt.Errorf("decode the report: %w", err)
	}
	judge := func(right bool) {
		compared++
		if !right {
			wrong++
		}
	}
	const rounding = 1.5e-6 // of six digits, of which the last makes lines add up
	pods := map[string]int{}
	for _, p := range w.pods {
		pods[p.namespace]++
	}
	by := func(p pod) string { return p.namespace }
	cpu := w.truth(measured()[0].name, w.month, w.monthEnd, by)
	memory := w.truth(measured()[1].name, w.month, w.monthEnd, by)
	lines := 0
	for _, line := range got.Lines {
		if line.Kind != "pods" {
			continue
		}
		lines++
		judge(math.Abs(line.CPU-float64(cpu[line.Namespace].sum)*resolution.Seconds()/measured()[0].divisor) < rounding)
		judge(math.Abs(line.Memory-float64(memory[line.Namespace].sum)*resolution.Seconds()/measured()[1].divisor) < rounding)
		judge(math.Abs(line.Hours-float64(pods[line.Namespace])*w.monthEnd.Sub(w.month).Hours()) < rounding)
	}
	judge(lines == len(pods))
	judge(got.Complete)
	return took, compared, wrong, nil
}
