package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/connect"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/embedded"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/rollup"
)

// The databases that are compared.
const (
	onEmbedded = "embedded"
	onInflux   = "influxdb"
)

const retention = 45 * day

// filled is a database with everything in it.
type filled struct {
	name     string
	args     []string // of krm, to use it
	template map[time.Time][]metricdb.Record
	// open opens it beside or instead of the server, which must have ended if exclusive is set.
	open      func() (metricdb.DB, error)
	exclusive bool

	took           time.Duration
	samples        int     // that were in the file when it was weighed
	bytesPerSample float64 // embedded only
	bytes          int64   // of the file in the end
}

// fillEmbedded makes the embedded database. What the engine writes there is the
// template for both.
func (l *lab) fillEmbedded(ctx context.Context) (d *filled, err error) {
	began := time.Now()
	dir := l.path(onEmbedded, "metrics")
	file := l.path(onEmbedded, "metrics", "metrics.db")
	d = &filled{name: onEmbedded, exclusive: true, args: []string{"--metric-db=embedded", "--data-dir=" + l.path(onEmbedded)}}
	var clock atomic.Int64
	clock.Store(l.world.now.UnixNano())
	open := func() (*embedded.Store, error) {
		return embedded.Open(embedded.Options{Dir: dir, Retention: retention, Now: func() time.Time { return time.Unix(0, clock.Load()) }}, slog.New(slog.DiscardHandler))
	}
	d.open = func() (metricdb.DB, error) { return open() }
	store, err := open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	_, err = l.world.fillSamples(ctx, store, l.say, func(at time.Time) error {
		clock.Store(at.UnixNano())
		if at.Minute()%15 == 0 { // as the store's own Run would, now and then
			if err := store.Maintain(ctx); err != nil {
				return err
			}
		}
		if !at.Equal(l.world.closed) {
			return nil
		}
		// Everything so far is folded, and weighed before anything else comes.
		clock.Store(at.Add(day).UnixNano())
		if err := store.Maintain(ctx); err != nil {
			return err
		}
		size, err := onDisk(file)
		if err != nil {
			return err
		}
		d.samples = len(measured()) * len(l.world.pods) * int(at.Sub(l.world.raw)/resolution)
		d.bytesPerSample = float64(size) / float64(d.samples)
		return nil
	})
	if err != nil {
		return nil, err
	}
	clock.Store(l.world.now.UnixNano())
	remembered := &recorder{DB: store}
	if err := l.world.rollUp(ctx, remembered, day); err != nil {
		return nil, err
	}
	d.template = l.world.template(remembered.records)
	l.say("    a day rolled up: %d records", len(remembered.records))
	if err := l.fillRecords(ctx, store, d); err != nil {
		return nil, err
	}
	if err := store.Maintain(ctx); err != nil {
		return nil, err
	}
	d.bytes, err = onDisk(file)
	d.took = time.Since(began)
	return d, err
}

// onDisk is the room that a file takes: what was set aside for it and never written is
// not counted.
func onDisk(file string) (int64, error) {
	var stat syscall.Stat_t
	if err := syscall.Stat(file, &stat); err != nil {
		return 0, fmt.Errorf("stat %s: %w", file, err)
	}
	return stat.Blocks * 512, nil
}

// fillRecords writes all that is not samples, and has the engine do the rest.
func (l *lab) fillRecords(ctx context.Context, db metricdb.DB, d *filled) error {
	n, err := l.world.fillHours(ctx, db, d.template, l.say)
	if err != nil {
		return err
	}
	if err := l.world.fillLives(ctx, db); err != nil {
		return err
	}
	l.say("    %d records of hours written; the engine closes what is left", n)
	began := time.Now()
	if err := l.world.rollUp(ctx, db, l.world.closed.Sub(l.world.month)); err != nil {
		return err
	}
	l.say("    the engine took %.1f s", time.Since(began).Seconds())
	return nil
}

// influxConfig is the metric database on influxd at a URL.
func (l *lab) influxConfig(server, database string, concurrency int) (metricdb.Config, error) {
	u, err := url.Parse(server)
	if err != nil {
		return metricdb.Config{}, fmt.Errorf("--influx: %w", err)
	}
	u.RawQuery = url.Values{"db": {database}, "user": {l.cfg.influxUser}, "concurrency": {fmt.Sprint(concurrency)}}.Encode()
	return metricdb.Config{
		URL: "influxdb:" + u.String(), PasswordFile: l.path("influx-password"),
		Retention: retention, QueueBytes: 512 << 20, Timeout: 2 * time.Minute,
	}, nil
}

// openInflux opens the metric database on influxd.
func (l *lab) openInflux(database string, concurrency int) (metricdb.DB, error) {
	config, err := l.influxConfig(l.cfg.influx, database, concurrency)
	if err != nil {
		return nil, err
	}
	return connect.Open(config, "", nil, slog.New(slog.DiscardHandler))
}

// influxDatabase is the name of the database that is read.
const influxDatabase = "bench"

// influxArgs make krm use influxd at a URL.
func (l *lab) influxArgs(server string) ([]string, error) {
	config, err := l.influxConfig(server, influxDatabase, 1)
	return []string{"--metric-db=" + config.URL, "--metric-db-password-file=" + config.PasswordFile}, err
}

// fillInflux makes the database on influxd.
func (l *lab) fillInflux(ctx context.Context, template map[time.Time][]metricdb.Record) (d *filled, err error) {
	began := time.Now()
	d = &filled{name: onInflux, template: template, open: func() (metricdb.DB, error) { return l.openInflux(influxDatabase, 2) }}
	if d.args, err = l.influxArgs(l.cfg.influx); err != nil {
		return nil, err
	}
	if err := os.WriteFile(l.path("influx-password"), []byte(l.cfg.influxPassword), 0o600); err != nil {
		return nil, err
	}
	db, err := d.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := l.world.fillSamples(ctx, db, l.say, func(time.Time) error { return nil }); err != nil {
		return nil, err
	}
	// Of metrics that there are not the engine would find that out an hour at a time.
	if err := db.WriteRecords(ctx, l.world.empty(template)); err != nil {
		return nil, err
	}
	if err := l.fillRecords(ctx, db, d); err != nil {
		return nil, err
	}
	d.took = time.Since(began)
	return d, nil
}

// plant makes one roll-up wrong: the sum of one pod in one hour, by one.
func (d *filled) plant(ctx context.Context, w *world) (err error) {
	at := w.raw.Add(5 * time.Hour)
	db, err := d.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, r := range d.template[at] {
		if r.Tags.Get(metricdb.TagPodID) != w.pods[0].uid || r.Tags.Get(rollup.TagMetric) != measured()[0].name {
			continue
		}
		for i := range r.Fields {
			if strings.HasPrefix(r.Fields[i].Name, "sum.") {
				wrong := r
				wrong.Fields = []metricdb.Field{{Name: r.Fields[i].Name, Value: metricdb.Int(r.Fields[i].Value.Bits + 1)}}
				return db.WriteRecords(ctx, []metricdb.Record{wrong})
			}
		}
	}
	return errors.New("there is no roll-up to be made wrong")
}
