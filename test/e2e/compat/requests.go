package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// requestTries is how often a request is sent again if its answers differ: the world
// may have changed between the two. A real difference stays.
const requestTries = 3

// request is one GET that both sides must answer alike.
type request struct {
	path   string // may hold {rv}, {rv-gadgets}, {token} and {token-gadgets}
	accept string
	token  string // of somebody else than the suite; "" for the suite itself
	gzip   bool
	bare   bool // only the HTTP status is compared: nobody reads more of it
	loose  bool // the wording of the error may differ; its status, reason and type may not
	// steps, if there are any, ask several times; what they return is compared.
	steps func(context.Context, *side) (string, error)
}

func (r request) String() string {
	text := r.path
	if r.accept != "" {
		text += " as " + r.accept
	}
	if r.gzip {
		text += " gzip"
	}
	if r.token != "" {
		text += " with a token of " + map[bool]string{true: "nobody", false: "shop/clerk"}[r.token == "nonsense"]
	}
	return text
}

// requestsPart sends every request to both addresses.
func requestsPart(ctx context.Context, h *house, r *result) error {
	var chosen []request
	token, err := clerkToken(ctx, h.truth.config)
	if err != nil {
		return err
	}
	for _, q := range append(requests(h.world), authRequests(token)...) {
		if strings.Contains(q.String(), h.cfg.only) {
			chosen = append(chosen, q)
		}
	}
	r.requests = compareRequests(ctx, h.truth, h.second, chosen, r.fault)
	if h.cfg.second == "krm" {
		for _, e := range expectations() {
			if !strings.Contains(e.String(), h.cfg.only) {
				continue
			}
			r.requests.total++
			if err := e.check(ctx, h.second); err != nil {
				r.fault("%v: %v", e, clip(err.Error()))
				continue
			}
			r.requests.equal++
		}
	}
	h.say("%v requests are answered alike", r.requests)
	return nil
}

// compareRequests sends each request to both sides and reports those whose answers
// differ.
func compareRequests(ctx context.Context, a, b *side, all []request, report func(string, ...any)) (t tally) {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(10) // most of the time of a watch is waiting
	for _, q := range all {
		group.Go(func() error {
			fault := ""
			for try := range requestTries {
				if try > 0 && process.Pause(ctx, 200*time.Millisecond) != nil {
					return nil
				}
				if fault = compareOne(ctx, a, b, q); fault == "" {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			t.total++
			if fault != "" {
				report("GET %v: %s", q, fault)
				return nil
			}
			t.equal++
			return nil
		})
	}
	_ = group.Wait() // its functions return nil
	return t
}

func compareOne(ctx context.Context, a, b *side, q request) string {
	var texts [2]string
	var errs [2]error
	var group sync.WaitGroup
	for i, s := range []*side{a, b} {
		group.Go(func() { texts[i], errs[i] = q.run(ctx, s) })
	}
	group.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return err.Error()
	}
	return differ(texts[0], texts[1])
}

// run sends the request and returns the answer in its normal form.
func (r request) run(ctx context.Context, s *side) (string, error) {
	if r.steps != nil {
		return r.steps(ctx, s)
	}
	path, err := resolve(ctx, s, r.path)
	if err != nil {
		return "", err
	}
	if r.token != "" {
		if s, err = s.as(r.token); err != nil {
			return "", err
		}
	}
	got, err := s.ask(ctx, http.MethodGet, path, r.header())
	if err != nil {
		return "", err
	}
	if r.gzip {
		if err := unzip(&got); err != nil {
			return "", err
		}
	}
	if r.bare {
		return fmt.Sprintf("HTTP %d", got.status), nil
	}
	if r.loose {
		return shortOf(got), nil
	}
	return normal(got)
}

func (r request) header() http.Header {
	header := http.Header{"Accept-Encoding": {"identity"}}
	if r.gzip {
		header.Set("Accept-Encoding", "gzip")
	}
	if r.accept != "" {
		header.Set("Accept", r.accept)
	}
	return header
}

// shortOf is an error without its wording.
func shortOf(a answer) string {
	var status struct {
		Kind, Status, Reason string
		Code                 int
	}
	_ = json.Unmarshal(a.body, &status) // it may be no Status, and then differs
	return fmt.Sprintf("HTTP %d\nContent-Type: %s\n%+v", a.status, a.header.Get("Content-Type"), status)
}

// resolve fills in what only an answer of the same side can tell.
func resolve(ctx context.Context, s *side, path string) (string, error) {
	lists := map[string]string{"": "/api/v1/namespaces/shop/pods", "-gadgets": "/apis/compat.krm.test/v1/namespaces/shop/gadgets"}
	for suffix, list := range lists {
		for _, want := range []string{"rv", "token"} {
			mark := "{" + want + suffix + "}"
			if !strings.Contains(path, mark) {
				continue
			}
			meta, err := listMeta(ctx, s, list+"?limit=3")
			if err != nil {
				return "", err
			}
			path = strings.ReplaceAll(path, mark, url.QueryEscape(map[string]string{"rv": meta.ResourceVersion, "token": meta.Continue}[want]))
		}
	}
	return path, nil
}

type listHead struct {
	ResourceVersion    string `json:"resourceVersion"`
	Continue           string `json:"continue"`
	RemainingItemCount *int64 `json:"remainingItemCount"`
}

func listMeta(ctx context.Context, s *side, path string) (listHead, error) {
	page, err := listPage(ctx, s, path)
	return page.Metadata, err
}

// page is one part of a list.
type page struct {
	Metadata listHead
	Items    []struct {
		Metadata struct {
			Namespace, Name, UID, ResourceVersion string
		}
	}
}

func listPage(ctx context.Context, s *side, path string) (p page, err error) {
	got, err := s.ask(ctx, http.MethodGet, path, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return p, err
	}
	if got.status != http.StatusOK {
		return p, fmt.Errorf("%s: GET %s: %d %s", s.name, path, got.status, clip(string(got.body)))
	}
	if err := json.Unmarshal(got.body, &p); err != nil {
		return p, fmt.Errorf("%s: GET %s: %w", s.name, path, err)
	}
	return p, nil
}
