package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// plantedChurn is how long the informers follow spoiled servers.
const plantedChurn = 15 * time.Second

// plantAfter is how old an informer's watch is before an event is swallowed: what is
// missing shortly after a list may have been overtaken.
const plantAfter = excuse + time.Second

// plantedPart puts a proxy that spoils answers in front of the second side: each part of
// the suite must report each fault.
func plantedPart(ctx context.Context, h *house, r *result) error {
	missed := 0
	miss := func(part string, what plant) {
		missed++
		r.fault("planted: %s did not notice %q", part, what)
	}
	for _, what := range plants() {
		found, err := h.plantedAnswers(ctx, what)
		if err != nil {
			return err
		}
		for _, part := range []string{partKubectl, partRequests} {
			if !found[part] {
				miss(part, what)
			}
		}
	}
	if len(h.cfg.informers) == 0 {
		return errors.New("no --informers: hack/test-compat.sh builds them")
	}
	found, err := h.plantedInformers(ctx)
	if err != nil {
		return err
	}
	for _, what := range plants() {
		if !found[what] {
			miss(partInformers, what)
		}
	}
	if missed == 0 {
		r.planted = "found"
		h.say("every planted fault was found by every part")
	}
	return nil
}

// plantedAnswers plants a fault about one pod of the shop, and one of the stage, and says
// which parts found it.
func (h *house) plantedAnswers(ctx context.Context, what plant) (map[string]bool, error) {
	found := map[string]bool{}
	server, spoiled, err := newPlanter(h.second, what, "lone-07", 0, h.dir)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	note := func(part string) func(string, ...any) {
		return func(string, ...any) { found[part] = true }
	}
	// Without a fault planted they must be equal, else a finding would tell nothing.
	var faults []error
	bad := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("without a planted fault: "+format, args...))
	}
	if what != swallow {
		lines := []command{{line: "get pods -n shop -l number=7"}, {line: "get pods -n shop -o json -l app=lone"}}
		lists := []request{{path: shopPods}, {path: shopPods, accept: asTable}}
		h.compareCommands(ctx, h.truth, h.second, lines, bad)
		compareRequests(ctx, h.truth, h.second, lists, bad)
		h.compareCommands(ctx, h.truth, spoiled, lines, note(partKubectl))
		compareRequests(ctx, h.truth, spoiled, lists, note(partRequests))
		return found, errors.Join(faults...)
	}
	watches := []request{{path: shopPods + "?watch=1&timeoutSeconds=1&resourceVersion=0"}}
	compareRequests(ctx, h.truth, h.second, watches, bad)
	compareRequests(ctx, h.truth, spoiled, watches, note(partRequests))
	stage, spoiledStage, err := newPlanter(h.second, what, "actor-1", 0, h.dir)
	if err != nil {
		return nil, err
	}
	defer stage.Close()
	_, err = h.compareWatching(ctx, h.truth, spoiledStage, []command{{line: "get pods -n stage -w"}}, note(partKubectl))
	return found, errors.Join(append(faults, err)...)
}

// plantedInformers lets the first build follow one server per fault, and says which of
// the faults it found. Where nothing is planted it must find nothing.
func (h *house) plantedInformers(ctx context.Context) (map[plant]bool, error) {
	servers := []*side{h.truth, h.second}
	for _, what := range plants() {
		server, spoiled, err := newPlanter(h.second, what, "churn-03", plantAfter, h.dir)
		if err != nil {
			return nil, err
		}
		defer server.Close()
		servers = append(servers, spoiled)
	}
	journals, writes, err := h.followChurn(ctx, servers, follow{builds: h.cfg.informers[:1], lasts: plantedChurn, settle: 3 * time.Second, favour: "churn-03", cut: func() {}})
	if err != nil {
		return nil, err
	}
	found := map[plant]bool{}
	var faults []error
	_, err = h.judgeJournals(ctx, journals, writes, len(servers), func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		for _, what := range plants() {
			if strings.Contains(text, "at "+string(what)+"-") {
				found[what] = true
			}
		}
		for _, s := range servers[:2] {
			if strings.Contains(text, " at "+s.name+":") {
				faults = append(faults, fmt.Errorf("without a planted fault: %s", text))
			}
		}
	})
	return found, errors.Join(append(faults, err)...)
}
