package influx

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/influxdata/influxdb-client-go/v2/domain"
)

// makeBuckets makes the buckets of InfluxDB 2 that are not there, and gives the others
// the retention that is wanted.
func (s *Store) makeBuckets(ctx context.Context) error {
	for _, want := range []struct {
		name string
		keep time.Duration
	}{{s.options.bucket(samplePolicy), s.options.Retention}, {s.options.bucket(recordPolicy), s.options.RecordRetention}} {
		found, err := s.findBucket(ctx, want.name)
		switch {
		case err != nil:
			return err
		case found == nil:
			err = s.makeBucket(ctx, want.name, want.keep)
		case everySeconds(found.RetentionRules) != int64(want.keep/time.Second):
			err = s.keepBucket(ctx, found, want.keep)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// findBucket returns nil if there is none of the name in our org: other orgs may have one.
func (s *Store) findBucket(ctx context.Context, name string) (*domain.Bucket, error) {
	found, err := s.client.APIClient().GetBuckets(ctx, &domain.GetBucketsParams{Name: &name, Org: &s.options.Org})
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "organization"):
		return nil, s.noOrg(err)
	case isNotFound(err):
		return nil, nil
	default:
		return nil, s.mayNot(err, fmt.Sprintf("find bucket %q", name), "a token that may read and write both buckets")
	}
	if found.Buckets != nil {
		if i := slices.IndexFunc(*found.Buckets, func(b domain.Bucket) bool { return b.Name == name }); i >= 0 {
			return &(*found.Buckets)[i], nil
		}
	}
	return nil, nil
}

func (s *Store) makeBucket(ctx context.Context, name string, keep time.Duration) error {
	orgs, err := s.client.APIClient().GetOrgs(ctx, &domain.GetOrgsParams{Org: &s.options.Org})
	switch {
	case err != nil && !isNotFound(err):
		return s.mayNot(err, fmt.Sprintf("find org %q", s.options.Org), fmt.Sprintf("the bucket %q made by hand, or a token that may make buckets", name))
	case err != nil, orgs.Orgs == nil, len(*orgs.Orgs) == 0, (*orgs.Orgs)[0].Id == nil:
		return s.noOrg(err)
	}
	rules := domain.RetentionRules{rule(keep, shardOf(keep))}
	body := domain.PostBucketsJSONRequestBody{Name: name, OrgID: *(*orgs.Orgs)[0].Id, RetentionRules: &rules}
	if _, err := s.client.APIClient().PostBuckets(ctx, &domain.PostBucketsAllParams{Body: body}); err != nil {
		if strings.Contains(err.Error(), "already exists") { // another process was quicker
			return nil
		}
		return s.mayNot(err, fmt.Sprintf("make bucket %q", name), "it made by hand, or a token that may make buckets")
	}
	s.log.Info("made a bucket in InfluxDB", "bucket", name, "retention", keep)
	return nil
}

// keepBucket changes a bucket's retention. A token that may not do that can write all the same.
func (s *Store) keepBucket(ctx context.Context, b *domain.Bucket, keep time.Duration) error {
	shard := shardOf(keep)
	if len(b.RetentionRules) > 0 && b.RetentionRules[0].ShardGroupDurationSeconds != nil {
		// Both are sent: a retention below the shard's is refused, and one that is not sent is reset.
		if has := time.Duration(*b.RetentionRules[0].ShardGroupDurationSeconds) * time.Second; has > 0 && (keep == 0 || has <= keep) {
			shard = has
		}
	}
	b.RetentionRules = domain.RetentionRules{rule(keep, shard)}
	if _, err := s.client.BucketsAPI().UpdateBucket(ctx, b); err != nil {
		if isForbidden(err) {
			s.log.Warn("the token may not change the retention of a bucket: it stays as it is", "bucket", b.Name, "wanted", keep, "err", err)
			return nil
		}
		return fmt.Errorf("change the retention of bucket %q: %w", b.Name, err)
	}
	s.log.Info("changed the retention of a bucket in InfluxDB", "bucket", b.Name, "retention", keep)
	return nil
}

// rule is a retention as InfluxDB has it: 0 is for ever.
func rule(keep, shard time.Duration) domain.RetentionRule {
	kind, seconds := domain.RetentionRuleTypeExpire, int64(shard/time.Second)
	return domain.RetentionRule{EverySeconds: int64(keep / time.Second), ShardGroupDurationSeconds: &seconds, Type: &kind}
}

func everySeconds(rules domain.RetentionRules) int64 {
	if len(rules) == 0 {
		return 0
	}
	return rules[0].EverySeconds
}

// noOrg says what to do about an org that is not there.
func (s *Store) noOrg(err error) error {
	text := fmt.Sprintf("InfluxDB has no org %q, or the token is not of it: check org= in the URL, or INFLUXDB_ORG", s.options.Org)
	if err == nil {
		return fmt.Errorf("%s", text)
	}
	return fmt.Errorf("%s: %w", text, err)
}

// mayNot says what to do about a token that may not do something.
func (s *Store) mayNot(err error, verb, wants string) error {
	if isForbidden(err) {
		return fmt.Errorf("%s: the token is wrong or may not do that: KRM wants %s: %w", verb, wants, err)
	}
	return fmt.Errorf("%s: %w", verb, err)
}

func isForbidden(err error) bool {
	return strings.Contains(err.Error(), "unauthorized") || strings.Contains(err.Error(), "forbidden")
}

func isNotFound(err error) bool { return strings.Contains(err.Error(), "not found") }
