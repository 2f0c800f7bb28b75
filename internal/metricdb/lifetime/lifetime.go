package lifetime

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The sets of lifetimes. Their records have the same tags and fields: tags cluster_name,
// namespace_name, pod_name, pod_id, nodename, labels (those with which it was first
// written); fields created, scheduled, started, finished, deleted (Unix ms, absent while
// unknown), cpu.request (millicores), memory.request, storage.request (bytes), gpu.request, containers,
// and estimated, 1 if it was deleted while nobody watched: deleted is when that was noticed.
const (
	// podSet has one record per pod, at its creation.
	podSet = metricdb.RecordPrefix + "pod"
	// endedSet has one per pod that was deleted, at its deletion.
	endedSet = metricdb.RecordPrefix + "ended"
	// aliveSet has one per pod and day that it saw, at the day's begin (UTC).
	aliveSet = metricdb.RecordPrefix + "alive"
)

const day = 24 * time.Hour

// Life is what is known of a pod's life. Times are UTC with milliseconds, and zero if
// unknown or not come yet.
type Life struct {
	Tags                                           metricdb.Tags // see podSet
	Created, Scheduled, Started, Finished, Deleted time.Time
	CPU, Memory, Storage, GPU                      int64 // requests: millicores, bytes, bytes, pieces
	Containers                                     int64
	Estimated                                      bool // Deleted is when the deletion was noticed
}

// Key tells a life from others: the cluster and the pod's UID.
func (l *Life) Key() string { return Key(l.Tags) }

// Key returns the key of the pod that tags are of.
func Key(tags metricdb.Tags) string {
	return tags.Get(metricdb.TagCluster) + "\x00" + tags.Get(metricdb.TagPodID)
}

// UID is the pod's.
func (l *Life) UID() string { return l.Tags.Get(metricdb.TagPodID) }

// Ended is when the pod gave back what it held: when it finished, or else was deleted;
// zero while it holds it.
func (l *Life) Ended() time.Time {
	if !l.Finished.IsZero() {
		return l.Finished
	}
	return l.Deleted
}

// Held returns how long within [from, to) the pod held its requests: from when it
// was scheduled until it ended. A pod that lives on holds them until now.
func (l *Life) Held(from, to, now time.Time) time.Duration {
	return overlap(l.Scheduled, l.Ended(), from, to, now)
}

// Ran is Held for what runs: from when its node started it.
func (l *Life) Ran(from, to, now time.Time) time.Duration {
	return overlap(l.Started, l.Ended(), from, to, now)
}

func overlap(begin, end, from, to, now time.Time) time.Duration {
	if begin.IsZero() {
		return 0
	}
	if end.IsZero() {
		end = now
	}
	if begin.Before(from) {
		begin = from
	}
	if end.After(to) {
		end = to
	}
	return max(end.Sub(begin), 0)
}

// Pods returns the pods that were there at any moment of [from, to), by namespace,
// name, and creation. where may name the tags of their records.
func Pods(ctx context.Context, db metricdb.DB, from, to time.Time, where ...metricdb.Match) ([]Life, error) {
	begin := from.UTC().Truncate(day)
	known := map[string]*Life{}
	read := func(set string, from, to time.Time) (n int, err error) {
		q := metricdb.RecordQuery{Set: set, Fields: lifeFields(), From: from, To: to, Where: where}
		for r, err := range db.Records(ctx, q) {
			if err != nil {
				return n, err
			}
			n++
			life := lifeOf(&r)
			key := life.Key()
			if was := known[key]; was != nil {
				was.learn(&life)
			} else {
				known[key] = &life
			}
		}
		return n, nil
	}
	n, err := read(aliveSet, begin, begin.Add(1))
	if err != nil {
		return nil, err
	}
	created := begin
	if n == 0 { // nobody wrote that day's: look at all pods that there ever were
		created = time.Unix(0, 0)
	}
	if _, err = read(podSet, created, to); err != nil {
		return nil, err
	}
	if _, err = read(endedSet, begin, to); err != nil {
		return nil, err
	}
	all := make([]Life, 0, len(known))
	for _, l := range known {
		if l.Created.Before(to) && (l.Deleted.IsZero() || l.Deleted.After(from)) {
			all = append(all, *l)
		}
	}
	slices.SortFunc(all, func(a, b Life) int {
		for _, tag := range []string{metricdb.TagCluster, metricdb.TagNamespace, metricdb.TagPod} {
			if c := cmp.Compare(a.Tags.Get(tag), b.Tags.Get(tag)); c != 0 {
				return c
			}
		}
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.UID(), b.UID()))
	})
	return all, nil
}

// learn takes over what another record knows more of the same pod.
func (l *Life) learn(more *Life) {
	for _, t := range []struct{ to, from *time.Time }{
		{&l.Created, &more.Created},
		{&l.Scheduled, &more.Scheduled},
		{&l.Started, &more.Started},
		{&l.Finished, &more.Finished},
		{&l.Deleted, &more.Deleted},
	} {
		if t.to.IsZero() {
			*t.to = *t.from
		}
	}
	l.Estimated = l.Estimated || more.Estimated
	if len(more.Tags) > len(l.Tags) {
		l.Tags = more.Tags
	}
}

func lifeFields() []string {
	return []string{
		"created", "scheduled", "started", "finished", "deleted",
		"cpu.request", "memory.request", "storage.request", "gpu.request", "containers", "estimated",
	}
}

func lifeOf(r *metricdb.Record) Life {
	at := func(name string) time.Time {
		if ms := r.Int(name); ms != 0 {
			return time.UnixMilli(ms).UTC()
		}
		return time.Time{}
	}
	return Life{
		Tags: r.Tags, Created: at("created"), Scheduled: at("scheduled"), Started: at("started"), Finished: at("finished"), Deleted: at("deleted"),
		CPU: r.Int("cpu.request"), Memory: r.Int("memory.request"), Storage: r.Int("storage.request"),
		GPU: r.Int("gpu.request"), Containers: r.Int("containers"), Estimated: r.Int("estimated") != 0,
	}
}

// Records are what is written of a life, at least: at its creation, and at its end.
func (l *Life) Records() []metricdb.Record {
	records := []metricdb.Record{l.record(podSet, l.Created)}
	if !l.Deleted.IsZero() {
		records = append(records, l.record(endedSet, l.Deleted))
	}
	return records
}

// record is the life as a record of that set.
func (l *Life) record(set string, at time.Time) metricdb.Record {
	r := metricdb.Record{Set: set, Time: at, Tags: l.Tags}
	add := func(name string, v int64) {
		r.Fields = append(r.Fields, metricdb.Field{Name: name, Value: metricdb.Int(v)})
	}
	for _, t := range []struct {
		name string
		at   time.Time
	}{{"created", l.Created}, {"scheduled", l.Scheduled}, {"started", l.Started}, {"finished", l.Finished}, {"deleted", l.Deleted}} {
		if !t.at.IsZero() {
			add(t.name, t.at.UnixMilli())
		}
	}
	add("cpu.request", l.CPU)
	add("memory.request", l.Memory)
	add("storage.request", l.Storage)
	add("gpu.request", l.GPU)
	add("containers", l.Containers)
	if l.Estimated {
		add("estimated", 1)
	}
	r.Sort()
	return r
}

// Tags are the tags of a pod's records.
func Tags(cluster, namespace, name, uid, node, labels string) metricdb.Tags {
	return metricdb.MakeTags(
		metrics.Label{Key: metricdb.TagCluster, Value: cluster}, metrics.Label{Key: metricdb.TagNamespace, Value: namespace},
		metrics.Label{Key: metricdb.TagPod, Value: name}, metrics.Label{Key: metricdb.TagPodID, Value: uid},
		metrics.Label{Key: metricdb.TagNode, Value: node}, metrics.Label{Key: metricdb.TagLabels, Value: labels},
	)
}
