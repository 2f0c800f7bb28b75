package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// series is the model API's answer.
type series struct {
	Metrics []struct {
		Timestamp time.Time
		Value     int64
	}
	LatestTimestamp time.Time
}

func (t target) path() string {
	return "/api/v1/model/namespaces/" + t.namespace + "/pods/" + t.pod + "/containers/" + t.container + "/metrics/"
}

// series reads a container's metric.
func (l *lab) series(ctx context.Context, who target, metric string, from, to time.Time) (s series, err error) {
	_, err = l.get(ctx, who.path()+metric+"?"+url.Values{"start": {from.Format(time.RFC3339)}, "end": {to.Format(time.RFC3339)}}.Encode(), func(body io.Reader) error {
		return json.NewDecoder(body).Decode(&s)
	})
	return s, err
}

// list reads an array of strings.
func (l *lab) list(ctx context.Context, path string) (names []string, took time.Duration, err error) {
	took, err = l.get(ctx, path, func(body io.Reader) error { return json.NewDecoder(body).Decode(&names) })
	return names, took, err
}

// get reads a path to its end and returns how long that took, decoding included.
func (l *lab) get(ctx context.Context, path string, decode func(io.Reader) error) (took time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.base+path, nil)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	response, err := l.http.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return 0, fmt.Errorf("GET %s: %s: %s", path, response.Status, text)
	}
	if err := decode(response.Body); err != nil {
		return 0, fmt.Errorf("GET %s: %w", path, err)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return time.Since(began), err
}

// count counts the bytes of an answer.
func count(n *int64) func(io.Reader) error {
	return func(body io.Reader) (err error) {
		*n, err = io.Copy(io.Discard, body)
		return err
	}
}

// samples are how long single reads took.
type samples []time.Duration

// quantile is the nearest rank; 0 without samples.
func (s samples) quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
