package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// raw writes a request as it is and returns the code of the answer: 400 if the server
// hangs up without one.
func (a *asker) raw(ctx context.Context, path string, headers []string, body string) (int, error) {
	dial := a.http.Transport.(*http.Transport).DialContext
	conn, err := dial(ctx, "tcp", strings.TrimPrefix(a.base, "http://"))
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }() // nothing is left to be said
	if err := conn.SetDeadline(time.Now().Add(deadline)); err != nil {
		return 0, err
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: krm\r\nConnection: close\r\n%s\r\nContent-Length: %d\r\n\r\n%s", path, strings.Join(headers, "\r\n"), len(body), body)
	if err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	var broken net.Error
	if errors.As(err, &broken) && broken.Timeout() {
		return 0, err
	}
	if err != nil {
		return http.StatusBadRequest, nil //nolint:nilerr // it was not even answered
	}
	defer func() { _ = response.Body.Close() }() // all of it was read
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// canary is a database beside KRM's, whose only measurement must stay as it is.
const canary = "krm_canary"

// query asks InfluxDB itself.
func (st *stage) query(ctx context.Context, base, user, password, q string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/query", strings.NewReader(url.Values{"q": {q}, "epoch": {"ns"}}.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(user, password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }() // all of it was read
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || strings.Contains(string(body), `"error"`)) {
		err = fmt.Errorf("%s: %s %s", q, response.Status, body)
	}
	return string(body), err
}

// plantCanary makes the canary's database.
func (st *stage) plantCanary(ctx context.Context) error {
	if _, err := st.query(ctx, st.cfg.influxURL, st.cfg.influxUser, st.cfg.influxPassword, "CREATE DATABASE "+canary); err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, st.cfg.influxURL+"/write?db="+canary, strings.NewReader("canary,tag=a sings=1i 1000000000\n"))
	if err != nil {
		return err
	}
	request.SetBasicAuth(st.cfg.influxUser, st.cfg.influxPassword)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // all of it was read
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("write the canary: %s", response.Status)
	}
	return nil
}

// canaries are what must be the same before and after: what is stored elsewhere, and what
// is answered of others.
func (s *side) canaries(ctx context.Context) (map[string]string, error) {
	seen := map[string]string{}
	for _, of := range []*story{s.month, &s.hostile.story} {
		q := question{metric: "memory/usage", agg: "all-pod", from: of.begin, to: of.end()}
		got, err := s.api.want(ctx, "/api/"+q.metric, q.body(of))
		if err != nil {
			return nil, err
		}
		seen[of.cluster] = string(got.body)
	}
	if s.name != influx {
		return seen, nil
	}
	for _, q := range []string{
		"SHOW DATABASES", "SHOW USERS", "SHOW MEASUREMENTS ON " + canary, "SELECT * FROM " + canary + "..canary", "SHOW CONTINUOUS QUERIES",
		"SHOW RETENTION POLICIES ON " + database, "SHOW SUBSCRIPTIONS",
	} {
		text, err := s.query(ctx, s.cfg.influxURL, s.cfg.influxUser, s.cfg.influxPassword, q)
		if err != nil {
			return nil, err
		}
		seen[q] = text
	}
	text, err := s.query(ctx, s.cfg.influxURL, s.cfg.influxUser, s.cfg.influxPassword, "SHOW MEASUREMENTS ON "+database)
	for _, word := range []string{"stolen", "canary", "canaries", "evil"} {
		if strings.Contains(text, word) {
			err = errors.Join(err, fmt.Errorf("there is a measurement with %q in its name: %.300s", word, text))
		}
	}
	return seen, err
}
