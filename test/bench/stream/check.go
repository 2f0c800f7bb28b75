package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/test/bench/frames"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/compare"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/reader"
)

// check compares the whole mirror with what was sent.
func check(ctx context.Context, l *lab, r *result) error {
	began := time.Now()
	events, head := l.world.Now()
	var (
		group errgroup.Group
		list  compare.List
		want  map[string]compare.Object
	)
	group.Go(func() (err error) {
		list, err = reader.Fetch(ctx, l.http, l.api(), "/api/v1/pods")
		return err
	})
	group.Go(func() (err error) {
		want, err = l.expected(events)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if list.Version != fmt.Sprint(head) {
		l.say("the list is of version %s, the world's is %d", list.Version, head)
	}
	difference := compare.Diff(want, list.Objects)
	r.compared, r.different = len(want), difference.Total()+len(list.Twice)
	r.lists, r.watches, r.expired = l.source.Counts()
	l.say("compared %d objects in %.1f s: %v", r.compared, time.Since(began).Seconds(), difference)
	l.say("the streamer listed everything %d times and resumed %d times, of which %d were refused as too old", r.lists, r.watches, r.expired)
	return nil
}

// expected is what the mirror must say after events.
func (l *lab) expected(events []frames.Event) (map[string]compare.Object, error) {
	want := make(map[string]compare.Object, len(events))
	for i, e := range events {
		pod := l.world.Set().Pod(e)
		if i == 0 && l.cfg.planted {
			pod = bytes.Replace(pod, []byte(`"phase":"Running"`), []byte(`"phase":"Planted"`), 1)
		}
		_, o, err := compare.Canonical(pod)
		if err != nil {
			return nil, err
		}
		want[o.Key] = o
	}
	return want, nil
}
