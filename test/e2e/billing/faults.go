package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/connect"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// bounded is how long KRM may take to say that the database is away: it waits 20 s for
// the first row. Machines may be slow.
const bounded = 45 * time.Second

// faultsPart takes the InfluxDB away from a krm that collects, in two ways, and gives it back.
func faultsPart(ctx context.Context, c *checker, st *stage) error {
	influxd, err := st.openServer(ctx)
	if err != nil {
		return err
	}
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	env := credentials("INFLUXDB_HOST=127.0.0.1") // everything else is as the original's defaults
	if influxd.port != defaultPort {
		st.say("port %d is taken: the defaults of INFLUXDB_PORT are not tried", defaultPort)
		env = append(env, fmt.Sprintf("INFLUXDB_PORT=%d", influxd.port))
	}
	story := lastMonth(st.now)
	if err := writeTo(ctx, metricdb.Config{
		URL: "influxdb:" + influxd.url() + "?pw=root", Dir: filepath.Join(st.room, "faults-ours"), Retention: 45 * day, QueueBytes: 1 << 30, Timeout: time.Minute,
	}, story); err != nil {
		return err
	}
	krm, err := st.start(process.Spec{
		Name: "krm that loses its InfluxDB", Path: st.cfg.krm, Log: st.path("krm-faults.log"), Env: env,
		Args: st.standalone(port, "--data-dir="+filepath.Join(st.room, "faults")),
	})
	if err != nil {
		return err
	}
	a := newAsker(fmt.Sprintf("http://127.0.0.1:%d", port), &http.Transport{MaxIdleConnsPerHost: 8})
	if err := answering(ctx, a, krm); err != nil {
		return err
	}
	f := &fault{stage: st, api: a, story: story, influxd: influxd}
	if err := f.collecting(ctx); err != nil {
		return err
	}
	checkRows(ctx, c, a, story, f.question())
	c.ok("while influxd stands still", f.during(ctx, influxd.pause))
	c.ok("after influxd stood still", f.back(ctx, func(context.Context) error { return influxd.resume() }))
	c.ok("while influxd is gone", f.during(ctx, func() error { influxd.process.Kill(); return nil }))
	c.ok("after influxd was gone", f.back(ctx, influxd.start))
	checkRows(ctx, c, a, story, f.question())
	c.ok("nothing is lost", f.nothingLost(ctx))
	krm.Stop(20 * time.Second)
	return ctx.Err()
}

// writeTo writes a story into the database of config.
func writeTo(ctx context.Context, config metricdb.Config, story *story) error {
	db, err := connect.Open(config, "", prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, err = newWriter(story).write(ctx, db, story.batches(0, story.windows))
	if err == nil {
		err = story.lives(ctx, db)
	}
	return errors.Join(err, db.Close())
}

// fault is a krm whose database comes and goes.
type fault struct {
	*stage
	api     *asker
	story   *story
	influxd *server
	since   time.Time // there are samples of the live cluster
}

func (f *fault) question() question {
	return question{metric: "cpu/usage_rate", agg: "all-pod", from: f.story.begin, to: f.story.end()}
}

// live are the times of the live pod's samples in the metric database.
func (f *fault) live(ctx context.Context) (times []int64, err error) {
	got, err := f.api.want(ctx, "/api/memory/request", `{"namespace":"default","level":"pod","limit":0,"cluster":"default"}`)
	if err != nil {
		return nil, err
	}
	var rows []row
	if err := decode(got.body, &rows); err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Pod == "web-0" {
			times = append(times, r.Time.Unix())
		}
	}
	slices.Sort(times)
	return times, nil
}

// collecting waits until there are samples of the live cluster.
func (f *fault) collecting(ctx context.Context) error {
	return process.Poll(ctx, time.Minute, "samples of the live cluster", func(ctx context.Context) error {
		times, err := f.live(ctx)
		if err == nil && len(times) < 2 {
			err = fmt.Errorf("%d samples", len(times))
		}
		if err == nil {
			f.since = time.Unix(times[0], 0)
		}
		return err
	})
}

// during breaks the database, and looks at what is answered.
func (f *fault) during(ctx context.Context, how func() error) error {
	if err := how(); err != nil {
		return err
	}
	q := f.question()
	began := time.Now()
	got, err := f.api.post(ctx, "/api/"+q.metric, q.body(f.story))
	if err != nil {
		return err
	}
	after, err := strconv.Atoi(got.header.Get("Retry-After"))
	if took := time.Since(began); got.code != http.StatusServiceUnavailable || err != nil || after < 1 || took > bounded {
		return fmt.Errorf("%d with Retry-After %q after %v, want 503 within %v: %.200s", got.code, got.header.Get("Retry-After"), took, bounded, got.body)
	}
	if err := isFault(got); err != nil {
		return err
	}
	for _, path := range []string{"/api/v1/pods", "/api/v1/model/nodes/", "/api/v1/model/namespaces/default/pods/web-0/metrics/memory/request", "/healthz"} {
		began := time.Now()
		if _, err := f.api.get(ctx, path, nil); err != nil {
			return err
		}
		if took := time.Since(began); took > 10*time.Second {
			return fmt.Errorf("GET %s took %v", path, took)
		}
	}
	return process.Pause(ctx, 2*resolution) // batches are to be queued
}

// back gives the database back, and waits until it is asked again.
func (f *fault) back(ctx context.Context, how func(context.Context) error) error {
	if err := how(ctx); err != nil {
		return err
	}
	return process.Poll(ctx, time.Minute, "answers", func(ctx context.Context) error {
		q := f.question()
		_, err := f.api.want(ctx, "/api/"+q.metric, q.body(f.story))
		return err
	})
}

// nothingLost compares the times of samples in the metric database with those in memory,
// which never were away.
func (f *fault) nothingLost(ctx context.Context) error {
	return process.Poll(ctx, time.Minute, "what was queued", func(ctx context.Context) error {
		var series struct {
			Metrics []struct{ Timestamp time.Time }
		}
		if _, err := f.api.get(ctx, "/api/v1/model/namespaces/default/pods/web-0/metrics/memory/request", &series); err != nil {
			return err
		}
		times, err := f.live(ctx)
		if err != nil {
			return err
		}
		last := time.Now().Add(-3 * resolution)
		var missing []string
		n := 0
		for _, point := range series.Metrics {
			if point.Timestamp.Before(f.since) || point.Timestamp.After(last) {
				continue
			}
			n++
			if _, there := slices.BinarySearch(times, point.Timestamp.Unix()); !there {
				missing = append(missing, point.Timestamp.Format(time.TimeOnly))
			}
		}
		if len(missing) > 0 || n < 5 {
			return fmt.Errorf("of %d samples these are missing: %v", n, missing)
		}
		return nil
	})
}
