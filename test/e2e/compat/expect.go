package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// expectation is a request that KRM answers in a way of its own.
type expectation struct {
	method string
	path   string
	header http.Header
	status []int // any of these
	reason string
	holds  func(context.Context, *side, answer) error // nil: nothing more
}

func (e expectation) String() string { return e.method + " " + clip(e.path) }

// check sends the request to KRM and says what is not as expected.
func (e expectation) check(ctx context.Context, s *side) error {
	path, err := resolve(ctx, s, e.path)
	if err != nil {
		return err
	}
	got, err := s.ask(ctx, e.method, path, e.header)
	if err != nil && slices.Contains(e.status, http.StatusRequestHeaderFieldsTooLarge) && strings.Contains(err.Error(), "peer's advertised limit") {
		return nil // in HTTP/2 the server says beforehand how much it takes
	}
	if err != nil {
		return err
	}
	if !slices.Contains(e.status, got.status) {
		return fmt.Errorf("status %d, want %v: %s", got.status, e.status, clip(string(got.body)))
	}
	if e.reason != "" {
		var status struct{ Kind, Reason string }
		if err := json.Unmarshal(got.body, &status); err != nil || status.Kind != "Status" || status.Reason != e.reason {
			return fmt.Errorf("want a Status with reason %s: %s", e.reason, clip(string(got.body)))
		}
	}
	if e.holds != nil {
		return e.holds(ctx, s, got)
	}
	return nil
}

// expectations are what the API server would answer otherwise: it writes, and it
// knows no conditional reads.
func expectations() (all []expectation) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		for _, path := range []string{shopPods, oneLone, shopGadgets + "/gadget-00"} {
			all = append(all, expectation{method: method, path: path, status: []int{405}, reason: "MethodNotAllowed"})
		}
	}
	for _, path := range []string{oneLone, shopPods, "/api/v1/namespaces/shop/secrets/password", shopGadgets} {
		all = append(all,
			expectation{method: http.MethodGet, path: path, status: []int{200}, holds: notModified},
			expectation{method: http.MethodHead, path: path, status: []int{200}, holds: headOnly})
	}
	// API servers answer some of these with 500, and take 00 for 0.
	for _, path := range []string{oneLone + "?resourceVersion=abc", shopPods + "?watch=1&timeoutSeconds=1&resourceVersion=abc", shopPods + "?resourceVersion=00"} {
		all = append(all, expectation{method: http.MethodGet, path: path, status: []int{400}, reason: "BadRequest"})
	}
	accepting := func(path, accept string, status int, reason string) {
		all = append(all, expectation{method: http.MethodGet, path: path, header: http.Header{"Accept": {accept}}, status: []int{status}, reason: reason})
	}
	accepting(oneLone, "application/*", 200, "") // the API server takes */* alone
	accepting(shopPods, "application/json;as=Table;v=v1beta1;g=meta.k8s.io", 406, "NotAcceptable")
	accepting("/version", asProtobuf, 406, "NotAcceptable")                                // there as protobuf
	accepting(shopPods+"?watch=1&timeoutSeconds=1&resourceVersion=0", asMetaList, 200, "") // there nothing comes
	// There such a watch stays silent.
	all = append(all, expectation{method: http.MethodGet, path: shopPods + "?watch=1&timeoutSeconds=1&resourceVersion=99999999", status: []int{504}, reason: "Timeout"})
	// Without pass-through there are no subresources.
	for _, path := range []string{oneLone + "/log", oneLone + "/status", "/apis/apps/v1/namespaces/shop/deployments/web/scale"} {
		all = append(all, expectation{method: http.MethodGet, path: path, status: []int{404}, reason: "NotFound"})
	}
	foreign := map[string]string{ // tokens of another list, and made-up ones
		"another namespace": "/api/v1/namespaces/billing/pods?continue={token}", "another selector": shopPods + "?labelSelector=env&continue={token}",
		"another resource": shopGadgets + "?continue={token}",
	}
	for _, path := range foreign {
		all = append(all, expectation{method: http.MethodGet, path: path, status: []int{400, 410}})
	}
	long := strings.Repeat("x", 1<<20)
	return append(all,
		expectation{method: http.MethodGet, path: shopPods + "?labelSelector=" + long, status: []int{400, 414, 431}},
		expectation{method: http.MethodGet, path: shopPods, header: http.Header{"X-Long": {long}}, status: []int{431}},
		expectation{method: http.MethodHead, path: shopPods + "/no-such", status: []int{404}},
		expectation{method: http.MethodGet, path: shopPods, status: []int{200}, holds: fresh},
	)
}

// notModified asks again with the answer's own ETag, and with another one.
func notModified(ctx context.Context, s *side, got answer) error {
	tag := got.header.Get("Etag")
	if tag == "" {
		return fmt.Errorf("no ETag")
	}
	path := got.path
	again, err := s.ask(ctx, http.MethodGet, path, http.Header{"If-None-Match": {tag}})
	if err != nil {
		return err
	}
	if again.status != http.StatusNotModified || len(again.body) != 0 || again.header.Get("Etag") != tag {
		return fmt.Errorf("with If-None-Match: %s it answers %d with %d bytes and the ETag %s", tag, again.status, len(again.body), again.header.Get("Etag"))
	}
	other, err := s.ask(ctx, http.MethodGet, path, http.Header{"If-None-Match": {`W/"another"`}})
	if err != nil {
		return err
	}
	if other.status != http.StatusOK {
		return fmt.Errorf("with another ETag it answers %d", other.status)
	}
	table, err := s.ask(ctx, http.MethodGet, path, http.Header{"If-None-Match": {tag}, "Accept": {asTable}})
	if err != nil {
		return err
	}
	if table.status != http.StatusOK {
		return fmt.Errorf("with the ETag of another form it answers %d", table.status)
	}
	return nil
}

// headOnly compares a HEAD with the GET of the same path.
func headOnly(ctx context.Context, s *side, got answer) error {
	full, err := s.ask(ctx, http.MethodGet, got.path, nil)
	if err != nil {
		return err
	}
	if len(got.body) > 0 || len(full.body) == 0 {
		return fmt.Errorf("a HEAD brings %d bytes, a GET %d", len(got.body), len(full.body))
	}
	for _, name := range []string{"Content-Type", "Etag"} {
		if got.header.Get(name) != full.header.Get(name) {
			return fmt.Errorf("%s is %q for a HEAD and %q for a GET", name, got.header.Get(name), full.header.Get(name))
		}
	}
	return nil
}

// fresh checks that an answer says how fresh it is.
func fresh(_ context.Context, _ *side, got answer) error {
	var faults []string
	for _, name := range []string{"Krm-Resource-Version", "Krm-Streamed-At", "Krm-Verified-At", "Krm-Verified-Resource-Version", "Etag"} {
		if got.header.Get(name) == "" {
			faults = append(faults, name)
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("no %s", strings.Join(faults, ", "))
	}
	return nil
}
