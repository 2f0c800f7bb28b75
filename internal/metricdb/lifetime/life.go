package lifetime

import (
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

const day = 24 * time.Hour

// Life is what is known of a pod's life. Times are UTC with milliseconds, and zero if
// unknown or not come yet.
type Life struct {
	// Tags are cluster_name, namespace_name, pod_name, pod_id, nodename and labels: as they were
	// when the pod was first seen on its node.
	Tags                                           metricdb.Tags
	Created, Scheduled, Started, Finished, Deleted time.Time
	CPU, Memory, Storage, GPU                      int64 // what it requested last: millicores, bytes, bytes, pieces
	Containers                                     int64
	Estimated                                      bool // Deleted is when the deletion was noticed
	// Requests is what it requested when, ascending; the first holds for what is before,
	// too. None: always the amounts above.
	Requests []Request
}

// Key tells a life from others: the cluster and the pod's UID.
func (l *Life) Key() string { return Key(l.Tags) }

// Key returns the key of the pod that tags are of.
func Key(tags metricdb.Tags) string {
	return tags.Get(metricdb.TagCluster) + "\x00" + tags.Get(metricdb.TagPodID)
}

// UID is the pod's.
func (l *Life) UID() string { return l.Tags.Get(metricdb.TagPodID) }

// Ended is when the pod gave back what it held: when it finished or was deleted,
// whichever came first; zero while it holds it.
func (l *Life) Ended() time.Time { return earlier(l.Finished, l.Deleted) }

// Held returns how long within [from, to) the pod held its requests: from when it
// was scheduled until it ended. A pod that lives on holds them until now.
func (l *Life) Held(from, to, now time.Time) time.Duration {
	begin, end := overlap(l.Scheduled, l.Ended(), from, to, now)
	return end.Sub(begin)
}

// Ran is Held for what runs: from when its node started it.
func (l *Life) Ran(from, to, now time.Time) time.Duration {
	begin, end := overlap(l.Started, l.Ended(), from, to, now)
	return end.Sub(begin)
}

// Requested returns requests × the time that they were held within [from, to), also
// where they changed meanwhile (KEP-1287). Adjacent intervals add up exactly.
// It knows of changes within the interval that Pods was asked for.
func (l *Life) Requested(from, to, now time.Time) Sums {
	begin, end := overlap(l.Scheduled, l.Ended(), from, to, now)
	return l.requests().sums(begin, end)
}

func (l *Life) requests() requests {
	if len(l.Requests) == 0 {
		return requests{{l.Created, l.amounts()}}
	}
	return l.Requests
}

func (l *Life) amounts() Amounts { return Amounts{l.CPU, l.Memory, l.Storage, l.GPU} }

func (l *Life) setAmounts(a Amounts) {
	l.CPU, l.Memory, l.Storage, l.GPU = a.CPU, a.Memory, a.Storage, a.GPU
}

// overlap is the part of [begin, end) in [from, to); both ends are the same if there
// is none. What has not ended goes on until now.
func overlap(begin, end, from, to, now time.Time) (time.Time, time.Time) {
	if end.IsZero() {
		end = now
	}
	if end.After(to) {
		end = to
	}
	if begin.IsZero() {
		return end, end
	}
	if begin.Before(from) {
		begin = from
	}
	if end.Before(begin) {
		end = begin
	}
	return begin, end
}

// earlier is the earlier of two times; zero ones are none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Records are what is written of a life, at least: one at its creation, one at its deletion.
func (l *Life) Records() []metricdb.Record {
	records := []metricdb.Record{pods.record(l, pods.set, l.Created, true)}
	if !l.Deleted.IsZero() {
		records = append(records, pods.record(l, pods.changes, l.Deleted, true))
	}
	return records
}

// Tags are the tags of a pod's records.
func Tags(cluster, namespace, name, uid, node, labels string) metricdb.Tags {
	return metricdb.MakeTags(
		metrics.Label{Key: metricdb.TagCluster, Value: cluster}, metrics.Label{Key: metricdb.TagNamespace, Value: namespace},
		metrics.Label{Key: metricdb.TagPod, Value: name}, metrics.Label{Key: metricdb.TagPodID, Value: uid},
		metrics.Label{Key: metricdb.TagNode, Value: node}, metrics.Label{Key: metricdb.TagLabels, Value: labels},
	)
}
