package influx

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/influxdata/influxdb-client-go/v2/domain"

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
		return fault("make the database", err)
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
		}
		if err := s.command(ctx, statement); err != nil {
			return err
		}
	}
	return nil
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
	err := s.query(ctx, statement, func(one *series) bool {
		for _, row := range one.Values.rows {
			if name, text := row.text(0), row.text(1); name != "" {
				keep, err := time.ParseDuration(text)
				if err != nil {
					keep = -1
				}
				have[name] = keep
			}
		}
		return true
	})
	return have, err
}

func (s *Store) command(ctx context.Context, text string) error {
	return s.query(ctx, newStatement().raw(text), func(*series) bool { return true })
}

// makeBuckets is for InfluxDB 2.
func (s *Store) makeBuckets(ctx context.Context) error {
	buckets := s.client.BucketsAPI()
	for policy, keep := range map[string]time.Duration{samplePolicy: s.options.Retention, recordPolicy: s.options.RecordRetention} {
		name := s.options.bucket(policy)
		kind := domain.RetentionRuleTypeExpire
		rules := domain.RetentionRules{{EverySeconds: int64(keep / time.Second), Type: &kind}}
		if keep == 0 {
			rules = nil
		}
		found, err := buckets.FindBucketByName(ctx, name)
		if err == nil {
			if current := everySeconds(found.RetentionRules); current != int64(keep/time.Second) {
				found.RetentionRules = rules
				if _, err := buckets.UpdateBucket(ctx, found); err != nil {
					return fmt.Errorf("change the retention of bucket %q: %w", name, err)
				}
			}
			continue
		}
		if !strings.Contains(err.Error(), "not found") {
			return err
		}
		org, err := s.client.OrganizationsAPI().FindOrganizationByName(ctx, s.options.Org)
		if err != nil {
			return fmt.Errorf("find org %q: %w", s.options.Org, err)
		}
		if _, err := buckets.CreateBucketWithName(ctx, org, name, rules...); err != nil {
			return fmt.Errorf("make bucket %q: %w", name, err)
		}
	}
	return nil
}

func everySeconds(rules domain.RetentionRules) int64 {
	if len(rules) == 0 {
		return 0
	}
	return rules[0].EverySeconds
}

// Resolutions reads the records of batches.
func (s *Store) Resolutions(ctx context.Context, cluster string, from, to time.Time) ([]metricdb.Resolution, error) {
	return metricdb.ReadResolutions(ctx, s, cluster, from, to)
}
