package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// writeSize is how many records are written at a time.
const writeSize = 10000

// recorder is a database that remembers the records that are written to it.
type recorder struct {
	metricdb.DB
	mu      sync.Mutex
	records []metricdb.Record
}

// WriteRecords writes and remembers.
func (r *recorder) WriteRecords(ctx context.Context, records []metricdb.Record) error {
	if err := r.DB.WriteRecords(ctx, records); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, records...)
	return nil
}

// fillSamples writes the samples since times.raw.
func (w *world) fillSamples(ctx context.Context, db metricdb.DB, say func(string, ...any), after func(at time.Time) error) (samples int, err error) {
	namespaces := map[string]bool{}
	for _, p := range w.pods {
		namespaces[p.namespace] = true
	}
	err = w.stream(len(w.pods), len(namespaces), func(b *metrics.Batch) error {
		if err := after(b.Time); err != nil {
			return err
		}
		if done := b.Time.Sub(w.raw); done > 0 && done%(6*time.Hour) == 0 {
			say("    samples of %v of %v written", done, w.now.Sub(w.raw))
		}
		samples += len(measured()) * len(w.pods)
		return db.Write(ctx, b)
	})
	return samples, err
}

// rollUp has the real engine close all hours and days that are over.
func (w *world) rollUp(ctx context.Context, db metricdb.DB, back time.Duration) error {
	return rollup.New(db, rollup.Options{
		Backfill: back, LateFor: back,
		Now: func() time.Time { return w.closed.Add(3 * time.Minute) },
	}, slog.New(slog.DiscardHandler)).Pass(ctx)
}

// template is what the engine wrote of the hours of a day, from times.raw on.
func (w *world) template(records []metricdb.Record) map[time.Time][]metricdb.Record {
	hours := map[time.Time][]metricdb.Record{}
	sets := []string{rollup.HourSet, rollup.FloatSet, rollup.RolledSet, rollup.HoursSet}
	for _, r := range records {
		if slices.Contains(sets, r.Set) && !r.Time.Before(w.raw) && r.Time.Before(w.raw.Add(day)) {
			hours[r.Time] = append(hours[r.Time], r)
		}
	}
	return hours
}

// empty returns what the engine wrote of metrics without samples.
func (w *world) empty(template map[time.Time][]metricdb.Record) (records []metricdb.Record) {
	for _, hour := range template {
		for _, r := range hour {
			named := func(m metric) bool { return m.name == r.Tags.Get(rollup.TagMetric) }
			if r.Set == rollup.RolledSet && !slices.ContainsFunc(measured(), named) {
				records = append(records, r)
			}
		}
	}
	return records
}

// fillHours writes the roll-ups of all hours before times.raw, as the engine wrote
// those of the day after, and what is known of the batches that they would be of.
func (w *world) fillHours(ctx context.Context, db metricdb.DB, template map[time.Time][]metricdb.Record, say func(string, ...any)) (records int, err error) {
	var some []metricdb.Record
	flush := func() error {
		records += len(some)
		err := db.WriteRecords(ctx, some)
		some = some[:0]
		return err
	}
	for at := w.month; at.Before(w.raw); at = at.Add(time.Hour) {
		back := w.raw.Sub(at).Truncate(day)
		if !at.Add(back).Equal(w.raw) {
			back += day
		}
		if at.Add(back).Before(w.raw) || !at.Add(back).Before(w.raw.Add(day)) {
			return 0, fmt.Errorf("BUG: %v is not %v before the template", at, back)
		}
		for _, r := range template[at.Add(back)] {
			some = append(some, earlier(r, back))
		}
		for i := range time.Hour / resolution {
			some = append(some, batchRecord(at.Add(i*resolution)))
		}
		if len(some) >= writeSize {
			if err := flush(); err != nil {
				return records, err
			}
		}
		if done := at.Sub(w.month); done > 0 && done%(10*day) == 0 {
			say("    roll-ups of %d of %d days written", done/day, w.raw.Sub(w.month)/day)
		}
	}
	return records, flush()
}

// earlier is a record of so much before.
func earlier(r metricdb.Record, back time.Duration) metricdb.Record {
	r.Time = r.Time.Add(-back)
	r.Fields = slices.Clone(r.Fields)
	for i := range r.Fields {
		switch f := &r.Fields[i]; f.Name {
		case "first", "last", "closed":
			f.Value.Bits -= int64(back / time.Second)
		}
	}
	return r
}

// fillLives writes that all pods have been there since three days before the month.
func (w *world) fillLives(ctx context.Context, db metricdb.DB) error {
	created := w.month.Add(-3 * day)
	var born []metricdb.Record
	for _, p := range w.pods {
		life := lifetime.Life{
			Tags:    lifetime.Tags("default", p.namespace, p.name, p.uid, p.node, p.labels),
			Created: created, Scheduled: created, Started: created, CPU: 100, Memory: 128 << 20, Containers: 1,
		}
		born = append(born, life.Records()...)
	}
	if err := db.WriteRecords(ctx, born); err != nil {
		return err
	}
	for at := w.month; at.Before(w.now); at = at.Add(day) {
		alive := slices.Clone(born)
		for i := range alive {
			alive[i].Set, alive[i].Time = metricdb.RecordPrefix+"alive", at
		}
		if err := db.WriteRecords(ctx, alive); err != nil {
			return err
		}
	}
	return nil
}
