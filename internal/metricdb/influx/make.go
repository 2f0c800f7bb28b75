package influx

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// make makes the database and its retention policies, or the buckets, once; and
// gives those that are there the retention that is wanted.
func (s *Store) make(ctx context.Context) error {
	s.making.Lock()
	defer s.making.Unlock()
	if s.made {
		return nil
	}
	var err error
	if s.options.version2() {
		err = s.makeBuckets(ctx)
	} else {
		err = s.makeDatabase(ctx)
	}
	if err != nil {
		return fault("make the database", err) // again at the next write
	}
	s.made = true
	return nil
}

// makeDatabase speaks InfluxQL. Names come from our settings, and are quoted.
func (s *Store) makeDatabase(ctx context.Context) error {
	database := quoteIdent(s.options.Database)
	retention := influxDuration(s.options.Retention)
	have, err := s.policies(ctx)
	if isUnknownDatabase(err) {
		statement := "CREATE DATABASE " + database + " WITH DURATION " + retention + " REPLICATION 1 NAME " + quoteIdent(samplePolicy)
		if err := s.command(ctx, statement); err != nil {
			return err
		}
		s.log.Info("made the database in InfluxDB", "database", s.options.Database, "retention", s.options.Retention)
		have, err = s.policies(ctx)
	}
	if err != nil {
		return err
	}
	for _, want := range []struct {
		name, tail string
		keep       time.Duration
	}{{samplePolicy, " DEFAULT", s.options.Retention}, {recordPolicy, "", s.options.RecordRetention}} {
		verb := ""
		switch keep, ok := have[want.name]; {
		case !ok:
			verb = "CREATE"
		case keep != want.keep:
			verb, want.tail = "ALTER", ""
		default:
			continue
		}
		statement := verb + " RETENTION POLICY " + quoteIdent(want.name) + " ON " + database + " DURATION " + influxDuration(want.keep)
		if verb == "CREATE" {
			statement += " REPLICATION 1" + want.tail
		} else { // a shard that is longer than the retention is refused, and does not follow by itself
			statement += " SHARD DURATION " + influxDuration(shardOf(want.keep))
		}
		if err := s.command(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// shardOf is how much time a shard holds by default, for a retention.
func shardOf(keep time.Duration) time.Duration {
	switch {
	case keep <= 0 || keep > 180*24*time.Hour:
		return 7 * 24 * time.Hour
	case keep < 48*time.Hour:
		return time.Hour
	}
	return 24 * time.Hour
}

func isUnknownDatabase(err error) bool {
	return err != nil && strings.Contains(err.Error(), "database not found")
}

// influxDuration is a duration as InfluxQL has it.
func influxDuration(d time.Duration) string {
	if d <= 0 {
		return "INF"
	}
	return fmt.Sprintf("%ds", int64(d/time.Second))
}

// policies returns the retention policies of the database, and how long each keeps.
func (s *Store) policies(ctx context.Context) (map[string]time.Duration, error) {
	have := map[string]time.Duration{}
	statement := newStatement().raw("SHOW RETENTION POLICIES ON ").ident(s.options.Database)
	err := s.query(ctx, statement, func(_ *series, r row) bool {
		if name := r.text(0); name != "" {
			keep, err := time.ParseDuration(r.text(1))
			if err != nil {
				keep = -1
			}
			have[name] = keep
		}
		return true
	})
	return have, err
}

func (s *Store) command(ctx context.Context, text string) error {
	return s.query(ctx, newStatement().raw(text), func(*series, row) bool { return true })
}

// Resolutions reads the records of batches.
func (s *Store) Resolutions(ctx context.Context, cluster string, from, to time.Time) ([]metricdb.Resolution, error) {
	return metricdb.ReadResolutions(ctx, s, cluster, from, to)
}
