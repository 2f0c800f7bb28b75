package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// liar is a transport that alters what comes from one path.
type liar struct {
	path     string // that the request's path ends with
	from, to string // in the body
	lied     int
}

// RoundTrip implements http.RoundTripper.
func (l *liar) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil || !strings.HasSuffix(request.URL.Path, l.path) {
		return response, err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if err := response.Body.Close(); err != nil {
		return nil, err
	}
	altered := strings.ReplaceAll(string(body), l.from, l.to)
	if altered != string(body) {
		l.lied++
	}
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader([]byte(altered))), int64(len(altered))
	response.Header.Set("Content-Length", strconv.Itoa(len(altered)))
	return response, nil
}

// plantedPart lies to the checks of each part about one thing: they must notice that,
// and nothing else.
func plantedPart(ctx context.Context, h *house, r *result) error {
	for _, plant := range []struct {
		name   string
		liar   liar
		caught func(*asker) []string // what the checks object to
		want   string                // what each objection must say
	}{
		{
			"a value",
			liar{path: "/pods/web-0/metrics/cpu/usage_rate", from: "255", to: "254"},
			func(from *asker) (caught []string) {
				for _, v := range vectors() {
					if err := v.check(ctx, from); err != nil {
						caught = append(caught, err.Error())
					}
				}
				return caught
			}, "254, want 255",
		},
		{
			"a name",
			liar{path: fixturesRoot + "/namespaces/default/pods/", from: `"web-1"`, to: `"web-2"`},
			func(from *asker) (caught []string) {
				for _, e := range append(recordedEndpoints(), modelEndpoints()...) {
					if err := e.run(ctx, from); err != nil {
						caught = append(caught, err.Error())
					}
				}
				return caught
			}, `want ["web-0" "web-1"]`,
		},
		{
			// A kubelet that is well, of which an absurd rate is told.
			"a rate",
			liar{path: "/nodes/" + nodeOf("big") + "/metrics/cpu/usage_rate", from: `"value": `, to: `"value": 18446744073709`},
			func(from *asker) (caught []string) {
				for _, f := range kubeletFaults() {
					if !f.rates {
						continue
					}
					if err := f.judge(ctx, from); err != nil {
						caught = append(caught, err.Error())
					}
				}
				return caught
			}, "millicores",
		},
		{
			// All kubelets are well: those that should fail do not.
			"health",
			liar{path: "/", from: "\x00", to: ""},
			func(from *asker) (caught []string) {
				for _, f := range kubeletFaults() {
					if f.kind != "error" {
						continue
					}
					if err := f.judge(ctx, from); err != nil {
						caught = append(caught, err.Error())
					}
				}
				return caught
			}, "success true",
		},
	} {
		caught := plant.caught(newAsker(h.model.base, &plant.liar))
		if len(caught) != 1 || !strings.Contains(caught[0], plant.want) || plant.name != "health" && plant.liar.lied == 0 {
			return fmt.Errorf("a false %s was noticed so: %q", plant.name, caught)
		}
	}
	r.planted = "found"
	h.say("each planted fault was noticed, and nothing else")
	return nil
}
