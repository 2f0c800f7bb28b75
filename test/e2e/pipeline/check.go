package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kubernetes-resource-monitor/krm/client"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/compare"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/reader"
)

// strictSamples is how many objects of each kind are read singly as well.
const strictSamples = 5

// comparison is what KRM gets wrong about one moment of the API server, by kind.
type comparison struct {
	objects int
	diffs   map[kind]compare.Difference
}

func (c comparison) total() (n int) {
	for _, d := range c.diffs {
		n += d.Total()
	}
	return n
}

// counts sums up the differences by their nature.
func (c comparison) counts() (missing, extra, different int) {
	for _, d := range c.diffs {
		missing += len(d.Missing)
		extra += len(d.Extra)
		different += len(d.Different)
	}
	return missing, extra, different
}

func (c comparison) String() string {
	text := ""
	for _, k := range kinds() {
		if d := c.diffs[k]; d.Total() > 0 {
			text += fmt.Sprintf(" %s: %v;", k.name(), d)
		}
	}
	if text == "" {
		return fmt.Sprintf("%d objects, equal", c.objects)
	}
	return fmt.Sprintf("%d objects,%s", c.objects, text)
}

// settle returns once nothing changes any more and KRM has been told of all that did.
func (h *house) settle(ctx context.Context) error {
	calm := 0
	last := map[kind]compare.List{}
	err := process.Poll(ctx, time.Minute, "the cluster to calm down", func(ctx context.Context) error {
		for _, k := range kinds() {
			list, err := reader.FetchMetadata(ctx, h.direct, h.truth.Host, k.list())
			if err != nil {
				return err
			}
			before, seen := last[k]
			last[k] = list
			if d := compare.Diff(before.Objects, list.Objects); !seen || d.Total() > 0 {
				calm = 0
				return fmt.Errorf("%s still change: %v", k.name(), d)
			}
		}
		if calm++; calm < 10 {
			return errors.New("calm for less than a second")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return h.catchUp(ctx, 90*time.Second)
}

// compareAll compares every object of every kind with the API server's own list.
// If the API server itself changes meanwhile, it compares again.
func (h *house) compareAll(ctx context.Context) (comparison, error) {
	for try := 0; ; try++ {
		c := comparison{diffs: map[kind]compare.Difference{}}
		calm := true
		for _, k := range kinds() {
			before, err := reader.Fetch(ctx, h.direct, h.truth.Host, k.list())
			if err != nil {
				return c, fmt.Errorf("the API server's list: %w", err)
			}
			ours, err := reader.Fetch(ctx, h.http, h.krmURL(), k.list())
			if err != nil {
				return c, fmt.Errorf("KRM's list: %w", err)
			}
			after, err := reader.Fetch(ctx, h.direct, h.truth.Host, k.list())
			if err != nil {
				return c, fmt.Errorf("the API server's list: %w", err)
			}
			calm = calm && compare.Diff(before.Objects, after.Objects).Total() == 0
			d := compare.Diff(before.Objects, ours.Objects)
			d.Extra = append(d.Extra, ours.Twice...)
			c.diffs[k] = d
			c.objects += len(before.Objects)
		}
		if calm {
			return c, nil
		}
		if try == 5 {
			return c, errors.New("the API server's lists change all the time")
		}
		if err := h.settle(ctx); err != nil {
			return c, err
		}
	}
}

// mustEqual compares everything, and some objects byte by byte as single answers,
// and notes what differs.
func (h *house) mustEqual(ctx context.Context, r *result, when string) error {
	c, err := h.compareAll(ctx)
	if err != nil {
		return err
	}
	r.compared++
	r.objects = max(r.objects, c.objects)
	r.different += c.total()
	h.say("%s: %v", when, c)
	if c.total() > 0 {
		r.fault("%s: %v", when, c)
	}
	for _, k := range kinds() {
		if err := h.compareSingly(ctx, r, k); err != nil {
			return err
		}
	}
	return nil
}

// compareSingly compares the answers to GET of single objects, apiVersion and kind
// included, which lists leave out.
func (h *house) compareSingly(ctx context.Context, r *result, k kind) error {
	list, err := reader.Fetch(ctx, h.direct, h.truth.Host, k.list())
	if err != nil {
		return err
	}
	samples := 0
	for key := range list.Objects {
		if samples++; samples > strictSamples {
			break
		}
		theirs, err := reader.FetchOne(ctx, h.direct, h.truth.Host, k.one(key))
		if err != nil {
			return err
		}
		ours, err := reader.FetchOne(ctx, h.http, h.krmURL(), k.one(key))
		if err != nil {
			r.different++
			r.fault("GET of one of %s: %v", k.name(), err)
			continue
		}
		if same, err := compare.SameAnswer(theirs, ours); err != nil || !same {
			r.different++
			r.fault("GET %s: the answers differ (%v)\nAPI server: %s\nKRM:        %s", k.one(key), err, theirs, ours)
		}
	}
	return nil
}

// verify forces a verification of every kind and returns once all are adopted.
func (h *house) verify(ctx context.Context, full bool) error {
	status, err := h.client.Status(ctx)
	if err != nil {
		return err
	}
	before, asked := byName(status), time.Now()
	for _, k := range kinds() {
		if err := h.client.Verify(ctx, k.name(), client.VerifyOptions{Full: full}); err != nil {
			return fmt.Errorf("ask for a verification of %s: %w", k.name(), err)
		}
	}
	return process.Poll(ctx, time.Minute, "the verification", func(ctx context.Context) error {
		status, err := h.client.Status(ctx)
		if err != nil {
			return err
		}
		after := byName(status)
		for _, k := range kinds() {
			s := after[k.name()]
			if s.VerifiedRounds <= before[k.name()].VerifiedRounds || s.Freshness.VerifiedAt.Before(asked.Add(-time.Second)) {
				return fmt.Errorf("%s: %d rounds, the last at %s", k.name(), s.VerifiedRounds, s.Freshness.VerifiedAt.Format(time.TimeOnly))
			}
		}
		return nil
	})
}

func byName(status *client.Status) map[string]client.ResourceStatus {
	m := map[string]client.ResourceStatus{}
	for _, s := range status.Resources {
		m[s.Resource] = s
	}
	return m
}

// drift sums up what verification has found so far, and its late rounds.
func (h *house) drift(ctx context.Context) (sum client.Drift, late int64, err error) {
	status, err := h.client.Status(ctx)
	if err != nil {
		return sum, 0, err
	}
	known := byName(status)
	for _, k := range kinds() {
		s, ok := known[k.name()]
		if !ok {
			return sum, 0, fmt.Errorf("the status does not name %s", k.name())
		}
		sum.Missing += s.Drift.Missing
		sum.Stale += s.Drift.Stale
		sum.Ghost += s.Drift.Ghost
		sum.Altered += s.Drift.Altered
		late += s.Late
	}
	return sum, late, nil
}

// readersStory asks those who followed KRM all the time whether they hold the truth
// and were never told anything that cannot be.
func readersStory(ctx context.Context, h *house, r *result) error {
	r.informer = h.informer
	for _, k := range kinds() {
		journal := h.journals[k]
		var d compare.Difference
		err := process.Poll(ctx, 15*time.Second, "the reader of "+k.name(), func(ctx context.Context) error {
			truth, err := reader.Fetch(ctx, h.direct, h.truth.Host, k.list())
			if err != nil {
				return err
			}
			if d = compare.Diff(truth.Objects, journal.Now()); d.Total() > 0 {
				return fmt.Errorf("it holds something else: %v", d)
			}
			return nil
		})
		if err != nil {
			r.different += d.Total()
			r.fault("%v", err)
		}
		r.readerUpdates += journal.Updates()
		for _, fault := range journal.Faults() {
			r.readerFaults++
			r.fault("reader: %s", fault)
		}
	}
	h.say("the readers noted %d answers, %d broken promises", r.readerUpdates, r.readerFaults)
	return nil
}
