package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// requestsPart goes through the table of requests, and then through what takes several.
func requestsPart(ctx context.Context, s *side, r *result) {
	from := s.month.begin
	fill := strings.NewReplacer("BEGIN", from.Format(time.DateOnly), "NEXT", from.Add(day).Format(time.DateOnly), "MONTH", from.Format("2006-01"))
	judge := func(name string, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.requests.add(err == nil)
		if err != nil {
			r.faults = append(r.faults, fmt.Sprintf("request %s: %v", excerpt(name), err))
		}
	}
	// What krm follows of the cluster may not be there yet, just after its start.
	err := process.Poll(ctx, 40*time.Second, "the cluster's state", func(ctx context.Context) error {
		_, err := s.api.get(ctx, "/api/v1/pods", nil)
		if err == nil {
			_, err = s.api.get(ctx, "/api", nil)
		}
		return err
	})
	if err != nil {
		r.fault("%v", err)
	}
	for _, one := range conditions() {
		one.body = fill.Replace(one.body)
		for i := range one.has {
			one.has[i] = fill.Replace(one.has[i])
		}
		for i := range one.says {
			one.says[i] = fill.Replace(one.says[i])
		}
		judge(one.name, one.check(ctx, s.api))
	}
	for name, err := range credentialChecks(ctx, s.api) {
		judge(name, err)
	}
}

func excerpt(text string) string {
	if len(text) > 120 {
		return text[:120] + "…"
	}
	return text
}

// check asks and compares.
func (one *condition) check(ctx context.Context, a *asker) error {
	method, path, code := one.method, one.path, one.code
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = "/api/cpu/usage_rate"
	}
	if code == 0 {
		code = http.StatusOK
	}
	headers := one.headers
	if !one.anyone {
		headers = append([]string{"X-USERNAME", username, "X-PASSWORD", password}, headers...)
	}
	got, err := a.do(ctx, method, path, one.body, headers...)
	if err != nil {
		return err
	}
	if got.code != code {
		return fmt.Errorf("%d, want %d: %.200s", got.code, code, got.body)
	}
	for _, text := range one.says {
		if !saysText(got.body, text) {
			return fmt.Errorf("it does not say %s: %.300s", text, got.body)
		}
	}
	for i := 0; i+1 < len(one.has); i += 2 {
		if value := got.header.Get(one.has[i]); value != one.has[i+1] && (one.has[i+1] != "*" || value == "") {
			return fmt.Errorf("%s: %q, want %q", one.has[i], value, one.has[i+1])
		}
	}
	if one.empty && strings.TrimSpace(string(got.body)) != "[]" {
		return fmt.Errorf("want [], not %.200s", got.body)
	}
	if code >= 400 && method != http.MethodHead {
		return isFault(got)
	}
	return nil
}

// saysText looks for text in a body, or in the message of an error.
func saysText(body []byte, text string) bool {
	var fault struct{ Message string }
	return strings.Contains(string(body), text) || json.Unmarshal(body, &fault) == nil && strings.Contains(fault.Message, text)
}

// isFault checks the form of an error.
func isFault(got reply) error {
	var fault map[string]any
	if err := json.Unmarshal(got.body, &fault); err != nil {
		return fmt.Errorf("the error is no JSON: %.200s", got.body)
	}
	message, _ := fault["message"].(string)
	if fault["code"] != float64(got.code) || message == "" || got.header.Get("Content-Type") != "application/json" {
		return fmt.Errorf("the error is %s: %.200s", got.header.Get("Content-Type"), got.body)
	}
	return nil
}

// addresses are the last address of 127.64.0.0/10 that was asked from.
var addresses atomic.Uint32 //nolint:gochecknoglobals // refusals are counted by address: each needs one of its own

// elsewhere is the same server, asked from an address that was never asked from.
func (a *asker) elsewhere() *asker {
	n := addresses.Add(1)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 64+byte(n>>16), byte(n>>8), byte(n))}, Timeout: 10 * time.Second}
	return newAsker(a.base, &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true})
}

// credentialChecks are about who asks: refused ones come from addresses of their own.
func credentialChecks(ctx context.Context, a *asker) func(func(string, error) bool) {
	return func(yield func(string, error) bool) {
		messages := map[string]bool{}
		for _, one := range []struct {
			name    string
			headers []string
		}{
			{"no credentials", nil},
			{"no password", []string{"X-USERNAME", username}},
			{"no user name", []string{"X-PASSWORD", password}},
			{"a wrong password", []string{"X-USERNAME", username, "X-PASSWORD", "no"}},
			{"a wrong user name", []string{"X-USERNAME", "no", "X-PASSWORD", password}},
			{"empty credentials", []string{"X-USERNAME", "", "X-PASSWORD", ""}},
			{"a longer password", []string{"X-USERNAME", username, "X-PASSWORD", password + "x"}},
			{"Basic", []string{"Authorization", "Basic YmlsbDpzM2NyZXQgb2YgYmlsbGluZw=="}},
		} {
			refused := condition{path: "/api/cpu/usage_rate", anyone: true, headers: one.headers, code: http.StatusUnauthorized}
			err := refused.check(ctx, a.elsewhere())
			if err == nil {
				got, _ := a.elsewhere().do(ctx, http.MethodPost, "/api/report", "", one.headers...)
				messages[string(got.body)] = true
				if len(messages) != 1 || got.code != http.StatusUnauthorized {
					err = fmt.Errorf("the messages differ: %v", messages)
				}
			}
			if !yield(one.name, err) {
				return
			}
		}
		yield("many refusals", manyRefusals(ctx, a.elsewhere(), a))
	}
}

// manyRefusals guesses until the address has to wait; others do not.
func manyRefusals(ctx context.Context, guesser, other *asker) error {
	for range 40 {
		got, err := guesser.do(ctx, http.MethodPost, "/api/cpu/usage_rate", "", "X-USERNAME", username, "X-PASSWORD", "guess")
		if err != nil {
			return err
		}
		if got.code == http.StatusUnauthorized {
			continue
		}
		after, err := strconv.Atoi(got.header.Get("Retry-After"))
		if got.code != http.StatusTooManyRequests || err != nil || after < 1 {
			return fmt.Errorf("%d with Retry-After %q, want 429: %.200s", got.code, got.header.Get("Retry-After"), got.body)
		}
		if got, err = guesser.post(ctx, "/api/cpu/usage_rate", ""); err == nil && got.code != http.StatusTooManyRequests {
			err = fmt.Errorf("right credentials at once after: %d, want 429", got.code)
		}
		if err == nil {
			_, err = other.want(ctx, "/api/cpu/usage_rate", "")
		}
		return err
	}
	return fmt.Errorf("40 guesses were answered 401")
}
