package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// The original grouped the samples themselves, by a query of the database. This does
// the same, straight on influxd: InfluxQL and Flux, one sum and nothing else.
type peer struct {
	base, user, password string
	http                 *http.Client
}

// peered is how long the peer took, by what was asked.
type peered struct {
	what string
	took samples
}

// comparePeer times the peer's answers to the hour's questions, and to those of the day of
// samples that there is.
func (l *lab) comparePeer(ctx context.Context, r *result) error {
	p := &peer{base: l.cfg.influx, user: l.cfg.influxUser, password: l.cfg.influxPassword, http: &http.Client{Timeout: 10 * time.Minute}}
	w, cpu := l.world, measured()[0].name
	for _, one := range []struct {
		what     string
		by       []string
		from, to time.Time
		runs     int
		ask      func(context.Context, string, []string, time.Time, time.Time) (int64, error)
	}{
		{"InfluxQL, hour by namespace", []string{"namespace_name"}, w.now.Add(-time.Hour), w.now, l.cfg.runs, p.influxQL},
		{"InfluxQL, hour by pod", []string{"namespace_name", "pod_name"}, w.now.Add(-time.Hour), w.now, l.cfg.runs, p.influxQL},
		{"Flux, hour by namespace", []string{"namespace_name"}, w.now.Add(-time.Hour), w.now, l.cfg.runs, p.flux},
		{"Flux, hour by pod", []string{"namespace_name", "pod_name"}, w.now.Add(-time.Hour), w.now, l.cfg.runs, p.flux},
		{"InfluxQL, day by namespace", []string{"namespace_name"}, w.raw, w.closed, 2, p.influxQL},
		{"InfluxQL, day by pod", []string{"namespace_name", "pod_name"}, w.raw, w.closed, 2, p.influxQL},
	} {
		done := peered{what: one.what}
		want := int64(0)
		for _, f := range w.truth(cpu, one.from, one.to, func(p pod) string { return p.uid }) {
			want += f.sum
		}
		for run := range one.runs + 1 {
			began := time.Now()
			got, err := one.ask(ctx, cpu, one.by, one.from, one.to)
			if err != nil {
				return fmt.Errorf("%s: %w", one.what, err)
			}
			if run > 0 {
				done.took = append(done.took, time.Since(began))
			}
			if got != want {
				return fmt.Errorf("%s: all groups together are %d, want %d", one.what, got, want)
			}
		}
		l.say("  straight from samples: %s: %v", done.what, done.took.median().Round(time.Millisecond))
		r.peers = append(r.peers, done)
		if err := process.Pause(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// influxQL returns the sum of all groups' sums.
func (p *peer) influxQL(ctx context.Context, metric string, by []string, from, to time.Time) (sum int64, err error) {
	query := fmt.Sprintf(`SELECT sum("value") FROM "default"."%s" WHERE "type" = 'pod' AND time >= %d AND time < %d GROUP BY "%s"`,
		metric, from.UnixNano(), to.UnixNano(), strings.Join(by, `", "`))
	text, err := p.do(ctx, http.MethodGet, "/query?"+url.Values{"db": {influxDatabase}, "q": {query}}.Encode(), "", "")
	if err != nil {
		return 0, err
	}
	var answer struct {
		Results []struct {
			Series []struct{ Values [][2]json.RawMessage }
			Error  string
		}
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, err
	}
	for _, result := range answer.Results {
		if result.Error != "" {
			return 0, errors.New(result.Error)
		}
		for _, series := range result.Series {
			var value int64
			if len(series.Values) != 1 {
				return 0, fmt.Errorf("%d values of a group", len(series.Values))
			}
			if err := json.Unmarshal(series.Values[0][1], &value); err != nil {
				return 0, err
			}
			sum += value
		}
	}
	return sum, nil
}

// flux does the same by Flux.
func (p *peer) flux(ctx context.Context, metric string, by []string, from, to time.Time) (sum int64, err error) {
	// The first ns beyond an interval still counts on 1.8.
	script := fmt.Sprintf(`from(bucket: "%s/default") |> range(start: %s, stop: %s) |> filter(fn: (r) => r._measurement == "%s" and r._field == "value" and r.type == "pod") |> group(columns: ["%s"]) |> sum()`,
		influxDatabase, from.Format(time.RFC3339Nano), to.Add(-time.Nanosecond).Format(time.RFC3339Nano), metric, strings.Join(by, `", "`))
	text, err := p.do(ctx, http.MethodPost, "/api/v2/query", "application/vnd.flux", script)
	if err != nil {
		return 0, err
	}
	at := -1
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimRight(line, "\r\n"), ",")
		if len(cells) < 3 || strings.HasPrefix(line, "#") {
			continue
		}
		if cells[1] == "result" {
			for i, name := range cells {
				if name == "_value" {
					at = i
				}
			}
			continue
		}
		var value int64
		if at < 0 || at >= len(cells) {
			return 0, fmt.Errorf("the answer %.200s", line)
		}
		if _, err := fmt.Sscan(cells[at], &value); err != nil {
			return 0, err
		}
		sum += value
	}
	return sum, nil
}

func (p *peer) do(ctx context.Context, method, path, media, body string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, p.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if media == "" {
		request.SetBasicAuth(p.user, p.password)
	} else {
		request.Header.Set("Content-Type", media)
		request.Header.Set("Accept", "application/csv")
		request.Header.Set("Authorization", "Token "+p.user+":"+p.password)
	}
	answer, err := p.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.300s", answer.Status, text)
	}
	return text, err
}
