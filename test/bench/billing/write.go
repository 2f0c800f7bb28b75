package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/dbtest"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/embedded"
)

// A batch of this many pods with all that a kubelet says of them is 100,000 points.
const (
	writePods   = 5000
	writePoints = 100_000
)

// write times batches of 100,000 points until they are acknowledged, each of a window
// of its own, into a database that nothing is read from.
func (l *lab) write(ctx context.Context, r *result) error {
	for _, s := range r.sides {
		var db metricdb.DB
		var err error
		if s.name == onEmbedded {
			db, err = embedded.Open(embedded.Options{Dir: l.path("written")}, slog.New(slog.DiscardHandler))
		} else {
			db, err = l.openInflux("written", 1)
		}
		if err != nil {
			return err
		}
		if err := errors.Join(l.writeTo(ctx, s, db), db.Close()); err != nil {
			return err
		}
		l.say("  %s: %d points written in %v", s.name, writePoints, s.write.median().Round(time.Millisecond))
	}
	return nil
}

func (l *lab) writeTo(ctx context.Context, s *side, db metricdb.DB) error {
	load := dbtest.NewLoad(writePods, 50)
	load.Everything = true
	at := l.world.now.Add(-time.Hour)
	for run := range l.cfg.runs + 1 {
		b := load.Next(at.Add(time.Duration(run)*resolution), resolution)
		began := time.Now()
		if err := db.Write(ctx, b); err != nil {
			return fmt.Errorf("write a batch: %w", err)
		}
		if run > 0 {
			s.write = append(s.write, time.Since(began))
		}
	}
	return nil
}
