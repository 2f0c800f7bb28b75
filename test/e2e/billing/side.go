package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/connect"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// The databases.
const (
	embedded = "embedded"
	influx   = "influxdb"
)

// side is one database, with a krm standalone on it.
type side struct {
	*stage
	name    string
	port    int
	args    []string
	env     []string
	config  metricdb.Config
	krm     *process.Process
	api     *asker
	runs    int // of krm
	recent  *story
	month   *story
	planted *story
	hostile *hostiles
	batches int64 // written
}

func newSide(st *stage, name string) (*side, error) {
	s := &side{stage: st, name: name, recent: recently(st.now), month: lastMonth(st.now), planted: twice(st.now), hostile: newHostiles(st.now)}
	var err error
	if s.port, err = process.FreePort(); err != nil {
		return nil, err
	}
	s.api = newAsker(fmt.Sprintf("http://127.0.0.1:%d", s.port), &http.Transport{MaxIdleConnsPerHost: 16})
	s.config = metricdb.Config{Dir: filepath.Join(st.room, name), Retention: 45 * day, QueueBytes: 512 << 20, Timeout: time.Minute}
	file := st.path("prices-" + name + ".yaml")
	if err := os.WriteFile(file, []byte(prices), 0o644); err != nil {
		return nil, err
	}
	s.args, s.env = []string{"--data-dir=" + s.config.Dir, "--prices=" + file}, credentials()
	if name == influx {
		s.config.URL = "influxdb:" + st.cfg.influxURL + "?db=" + database + "&user=" + st.cfg.influxUser
		s.config.PasswordFile = st.path("influx-password")
		if err := os.WriteFile(s.config.PasswordFile, []byte(st.cfg.influxPassword+"\n"), 0o600); err != nil {
			return nil, err
		}
		s.args = append(s.args, "--metric-db="+s.config.URL)
		s.env = append(s.env, "KRM_INFLUX_PASSWORD="+st.cfg.influxPassword)
	}
	return s, nil
}

// database is the suite's own in the InfluxDB that it is given.
const database = "krm_billing"

// with opens the database for a moment, beside krm or instead of it.
func (s *side) with(ctx context.Context, do func(metricdb.DB) error) (err error) {
	config := s.config
	config.Dir += map[bool]string{true: "-ours"}[s.name == influx] // its queue is krm's
	db, err := connect.Open(config, embedded, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("open %s: %w", s.name, err)
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- db.Run(running) }()
	err = do(db)
	stop()
	if e := <-ended; err == nil {
		err = e
	}
	if e := db.Close(); err == nil {
		err = e
	}
	return err
}

// write writes all stories, but what is late.
func (s *side) write(ctx context.Context) error {
	began := time.Now()
	err := s.with(ctx, func(db metricdb.DB) error {
		for _, of := range []*story{s.recent, s.month, s.planted, &s.hostile.story} {
			w := newWriter(of)
			if of == s.planted {
				w.twin = "planted-doubled"
			}
			n, err := w.write(ctx, db, of.batches(0, of.windows))
			s.batches += n
			if err == nil {
				err = of.lives(ctx, db)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	s.say("%s: wrote %d batches in %.1f s", s.name, s.batches, time.Since(began).Seconds())
	return err
}

// writeLate writes what was left out.
func (s *side) writeLate(ctx context.Context) error {
	s.recent.withLate = true
	return s.with(ctx, func(db metricdb.DB) error {
		_, err := newWriter(s.recent).write(ctx, db, s.recent.late)
		return err
	})
}

// start starts krm, and returns once it answers.
func (s *side) start(ctx context.Context) (err error) {
	s.runs++
	s.krm, err = s.stage.start(process.Spec{
		Name: "krm on " + s.name, Path: s.cfg.krm, Args: s.standalone(s.port, s.args...), Env: s.env, Log: s.path("krm-" + s.name + ".log"),
	})
	if err != nil {
		return err
	}
	return answering(ctx, s.api, s.krm)
}

func (s *side) stop() error {
	if !s.krm.Stop(20 * time.Second) {
		return fmt.Errorf("krm on %s had to be killed", s.name)
	}
	return s.krm.Err()
}

// restart ends krm and starts it anew.
func (s *side) restart(ctx context.Context, between func(context.Context) error) error {
	err := s.stop()
	if err == nil && between != nil {
		err = between(ctx)
	}
	if err != nil {
		return err
	}
	return s.start(ctx)
}

// folded waits until the answers for the stories' time are complete: all hours are
// rolled up, with all batches that there are.
func (s *side) folded(ctx context.Context, within time.Duration) error {
	began := time.Now()
	for _, of := range []*story{s.recent, s.month} {
		q := question{metric: "cpu/usage_rate", agg: "all-namespace", from: of.begin, to: of.end()}
		err := process.Poll(ctx, within, s.name+" to be rolled up", func(ctx context.Context) error {
			got, err := s.api.want(ctx, "/api/"+q.metric, q.body(of))
			if err == nil && got.header.Get("Krm-Complete") != "true" {
				err = fmt.Errorf("Krm-Complete: %s, after %s hours", got.header.Get("Krm-Complete"), s.metric(ctx, "krm_rollup_hours_total"))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	s.say("%s: rolled up after %.1f s", s.name, time.Since(began).Seconds())
	return nil
}

// metric is a figure of krm's own metrics, "" if there is none.
func (s *side) metric(ctx context.Context, name string) string {
	got, err := s.api.get(ctx, "/metrics", nil)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(got.body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
