package lifetime

import (
	"context"
	"fmt"
	"math/big"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// The tags of claims' records beside those that pods' have.
const (
	TagClaim   = "claim_name"
	TagClaimID = "claim_id" // the claim's UID
)

// Claim is what is known of the life of a claim to storage (PersistentVolumeClaim). Times
// are UTC with milliseconds, and zero if unknown or not come yet.
//
// It holds what it requests while it is bound (status.phase Bound): a Pending one has
// no storage yet, a Lost one none any more. What it requests is
// spec.resources.requests.storage, from the moment that it is expanded: that is what
// the user asked for and what ResourceQuota counts, whatever size of volume was found
// for it (status.capacity) and however long the expansion takes. While an expansion
// that was taken back is under way, status.allocatedResources holds more (KEP-1790):
// it then counts as the quota counts it, the greater of both.
type Claim struct {
	Tags metricdb.Tags // cluster_name, namespace_name, claim_name, claim_id, labels: those when it was first seen
	// Bound is when it was seen bound for the first time; Created if nobody saw it
	// before it was. Kubernetes does not keep when.
	Created, Bound, Deleted time.Time
	Storage                 int64 // bytes that it held last
	Estimated               bool  // Deleted is when the deletion was noticed
	// Requests is what it held when, ascending: Storage of the Amounts. The first holds for
	// what is before, too. None: always Storage, from Bound.
	Requests []Request
}

// UID is the claim's.
func (c *Claim) UID() string { return c.Tags.Get(TagClaimID) }

// Held returns how long within [from, to) the claim was there after it was first bound, until
// now if it is not deleted.
func (c *Claim) Held(from, to, now time.Time) time.Duration {
	begin, end := overlap(c.Bound, c.Deleted, from, to, now)
	return end.Sub(begin)
}

// Requested returns the bytes that it held × nanoseconds within [from, to). Adjacent
// intervals add up exactly. It knows of changes within the interval that Claims was asked for.
func (c *Claim) Requested(from, to, now time.Time) *big.Int {
	begin, end := overlap(c.Bound, c.Deleted, from, to, now)
	held := requests(c.Requests)
	if len(held) == 0 {
		held = requests{{c.Created, Amounts{Storage: c.Storage}}}
	}
	return held.sums(begin, end).Storage
}

// Claims returns the claims that were there at any moment of [from, to), by cluster, namespace,
// name, and creation. where may name the tags of their records. It reads what was
// written of the first day, and what changed up to to: its cost does not grow with
// the years before.
func Claims(ctx context.Context, db metricdb.DB, from, to time.Time, where ...metricdb.Match) ([]Claim, error) {
	lives, err := claims.read(ctx, db, from, to, where)
	if err != nil {
		return nil, err
	}
	all := make([]Claim, len(lives))
	for i := range lives {
		l := &lives[i]
		all[i] = Claim{l.Tags, l.Created, l.Scheduled, l.Deleted, l.Storage, l.Estimated, l.Requests}
	}
	return all, nil
}

// claims is what is particular of claims. In a Life of theirs, Scheduled is when they were bound.
var claims = kind{
	name: "persistentvolumeclaims", one: "claim",
	set: metricdb.RecordPrefix + "claim", days: metricdb.RecordPrefix + "claim.day", changes: metricdb.RecordPrefix + "claim.change",
	tagName: TagClaim, tagID: TagClaimID,
	fields: []field{
		timeField("created", func(l *Life) *time.Time { return &l.Created }),
		timeField("bound", func(l *Life) *time.Time { return &l.Scheduled }),
		timeField("deleted", func(l *Life) *time.Time { return &l.Deleted }),
	},
	amounts: []amount{{"storage.request", func(a *Amounts) *int64 { return &a.Storage }}},
	settled: func(*Life) bool { return true },
	decode:  decodeClaim,
}

// claim is what of a claim its lifetime is made of.
type claim struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		Resources resources `json:"resources"`
	} `json:"spec"`
	Status struct {
		Phase     string     `json:"phase"`
		Allocated quantities `json:"allocatedResources"`
	} `json:"status"`
}

func decodeClaim(o *Options, cluster string, r *object.Record, known bool) (*Life, error) {
	var c claim
	if err := json.Unmarshal(r.Body, &c, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", object.ErrUnreadable, err)
	}
	m := &c.Metadata
	l, err := m.life(r)
	if err != nil {
		return nil, err
	}
	l.Tags = claimTags(cluster, m.Namespace, m.Name, m.UID, o.join(m.Labels))
	if c.Status.Phase != "Bound" {
		return l, nil
	}
	total := amounts(c.Spec.Resources.Requests)
	raise(total, amounts(c.Status.Allocated))
	l.Storage, l.Scheduled = total["storage"], l.Created
	if known {
		l.Scheduled = l.seen(r)
	}
	return l, nil
}

func claimTags(cluster, namespace, name, uid, labels string) metricdb.Tags {
	return metricdb.MakeTags(
		metrics.Label{Key: metricdb.TagCluster, Value: cluster}, metrics.Label{Key: metricdb.TagNamespace, Value: namespace},
		metrics.Label{Key: TagClaim, Value: name}, metrics.Label{Key: TagClaimID, Value: uid},
		metrics.Label{Key: metricdb.TagLabels, Value: labels},
	)
}
