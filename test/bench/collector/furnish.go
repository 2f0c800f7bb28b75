package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kubernetes-resource-monitor/krm/aggregator"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
	"github.com/kubernetes-resource-monitor/krm/internal/store"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// resources are what the collector needs.
func resources() []object.Resource {
	return []object.Resource{
		{Version: "v1", Name: "namespaces", Kind: "Namespace", Singular: "namespace", Short: "ns"},
		{Version: "v1", Name: "nodes", Kind: "Node", Singular: "node", Short: "no"},
		{Version: "v1", Name: "pods", Kind: "Pod", Singular: "pod", Short: "po", Namespaced: true},
	}
}

// furnish puts the objects of a file, one a line, into the resource's snapshot: as a
// streamer writes a complete list, merged by the aggregator itself. Nothing follows
// them afterwards.
func furnish(ctx context.Context, redis *store.Store, resource object.Resource, path string) (count int, err error) {
	items, err := read(path)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := redis.Log(resource)
	if _, err := log.Acquire(ctx); err != nil {
		return 0, err
	}
	if err := log.Report(ctx, object.Status{State: object.StateFollowing}); err != nil {
		return 0, err
	}
	g, running := errgroup.WithContext(ctx)
	stop, cancelAggregator := context.WithCancel(running)
	defer cancelAggregator()
	g.Go(func() error {
		return aggregator.New(resource, redis.Snapshot(resource), aggregator.Options{}, slog.New(slog.DiscardHandler)).Run(stop)
	})
	g.Go(func() error {
		defer cancelAggregator()
		if err := write(running, log, items); err != nil {
			return err
		}
		feed := redis.Feed(resource)
		return process.Poll(running, 5*time.Minute, "the snapshot of "+resource.Name, func(ctx context.Context) error {
			state, err := feed.State(ctx)
			if err != nil {
				return err
			}
			if !state.Synced || state.Objects != int64(len(items)) {
				return fmt.Errorf("%d of %d objects, synced: %v", state.Objects, len(items), state.Synced)
			}
			return nil
		})
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return 0, err
	}
	return len(items), log.Release(ctx)
}

// write writes items as a complete list. The lease outlives it: it is short.
func write(ctx context.Context, log *store.Log, items []object.LogItem) error {
	last := object.Version(strconv.Itoa(len(items)))
	now := time.Now().UTC()
	begin := object.LogItem{Kind: object.ItemResyncBegin, At: now, Resync: object.Resync{Lineage: "bench", ClusterUID: "bench", Schema: "bench", Expect: int64(len(items))}}
	if err := log.Append(ctx, []object.LogItem{begin}); err != nil {
		return err
	}
	for begun := time.Now(); len(items) > 0; {
		n := min(512, len(items))
		if err := log.Append(ctx, items[:n]); err != nil {
			return err
		}
		items = items[n:]
		if time.Since(begun) > time.Second {
			if _, err := log.Beat(ctx); err != nil {
				return err
			}
			begun = time.Now()
		}
	}
	return log.Append(ctx, []object.LogItem{{Kind: object.ItemResyncEnd, Version: last, At: now}})
}

// read reads objects, one a line.
func read(path string) (items []object.LogItem, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var meta metav1.PartialObjectMetadata
		if err := json.Unmarshal(lines.Bytes(), &meta); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		items = append(items, object.LogItem{Kind: object.ItemRecord, Record: object.Record{
			Head: object.Head{
				Key: object.Key{Namespace: meta.Namespace, Name: meta.Name}, UID: string(meta.UID),
				Version: object.Version(strconv.Itoa(len(items) + 1)), SeenAt: time.Now().UTC(),
			},
			Body: append([]byte(nil), lines.Bytes()...),
		}})
	}
	return items, lines.Err()
}
