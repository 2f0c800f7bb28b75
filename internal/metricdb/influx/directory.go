package influx

import (
	"context"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The directory of pods says which UID a pod's name has. A pod is told when it is
// first seen, and once an hour from then on, so that looking an hour back finds it.
const (
	podSet   = metricdb.RecordPrefix + "pods"
	fieldAt  = "at"
	lookHour = int64(time.Hour)
)

type podKey struct{ cluster, namespace, pod, uid string }

// pod appends the record that the directory needs of a row's pod, if any.
func (l *lines) pod(told []metricdb.Record, row *metricdb.Row, b *metrics.Batch) []metricdb.Record {
	if len(l.without) == 0 || row.Kind != metrics.Pod && row.Kind != metrics.Container {
		return told
	}
	uid := row.Tags.Get(metricdb.TagPodID)
	if uid == "" {
		return told
	}
	key := podKey{b.Cluster, row.Tags.Get(metricdb.TagNamespace), row.Tags.Get(metricdb.TagPod), uid}
	hour := b.Time.UnixNano() / lookHour
	if last, ok := l.seen[key]; ok && last >= hour {
		return told
	}
	l.seen[key] = hour
	return append(told, metricdb.Record{
		Set: podSet, Time: b.Time,
		Tags: metricdb.MakeTags(
			metrics.Label{Key: metricdb.TagCluster, Value: b.Cluster},
			metrics.Label{Key: metricdb.TagNamespace, Value: key.namespace},
			metrics.Label{Key: metricdb.TagPod, Value: key.pod},
			metrics.Label{Key: metricdb.TagPodID, Value: uid},
		),
		Fields: []metricdb.Field{{Name: fieldAt, Value: metricdb.Int(b.Time.UnixNano())}},
	})
}

// forget drops what was not seen for two hours.
func (l *lines) forget(at int64) {
	if len(l.seen) == 0 {
		return
	}
	for key, hour := range l.seen {
		if at/lookHour-hour > 2 {
			delete(l.seen, key)
		}
	}
}

// directory is which UIDs pods' names had in an interval.
type directory map[string][]tenure // by podName

// tenure is since when a name had a UID, as far as the interval tells.
type tenure struct {
	from int64
	uid  string
}

func podName(t metricdb.Tags) string {
	return t.Get(metricdb.TagCluster) + "\x00" + t.Get(metricdb.TagNamespace) + "\x00" + t.Get(metricdb.TagPod)
}

// aboutPods says whether sets of a level belong to pods.
func aboutPods(level metrics.Kind) bool { return level == metrics.Pod || level == metrics.Container }

// directory reads who had which name. Conditions on other tags than the pod's own
// are left out: they are about samples.
func (s *Store) directory(ctx context.Context, q metricdb.Query) (directory, error) {
	records := metricdb.RecordQuery{Set: podSet, Fields: []string{fieldAt}, From: q.From.Add(-time.Hour), To: q.To, Want: metricdb.WantMin}
	for _, match := range q.Where {
		if slices.Contains(podTags[:3], match.Tag) {
			records.Where = append(records.Where, match)
		}
	}
	d := directory{}
	if !s.flux() && q.To.Sub(q.From) <= fewHours {
		return d, s.directoryRows(ctx, records, d)
	}
	groups, err := s.RecordTotals(ctx, records, podTags...)
	for _, group := range groups {
		d.add(podName(group.Tags), group.Tags.Get(metricdb.TagPodID), group.Fields[0].Min.Bits)
	}
	return d, err
}

// podTags are the tags of the directory's records.
var podTags = []string{metricdb.TagCluster, metricdb.TagNamespace, metricdb.TagPod, metricdb.TagPodID}

// fewHours is how long an interval is of which the directory's records, one per pod and
// hour, are read sooner than the server groups them.
const fewHours = 6 * time.Hour

func (s *Store) directoryRows(ctx context.Context, q metricdb.RecordQuery, d directory) error {
	st := newStatement().raw("SELECT ").ident(fieldAt).raw("::field")
	for _, tag := range podTags {
		st.raw(", ").ident(tag).raw("::tag")
	}
	st.from(recordPolicy, q.Set).where(q.From, q.To, q.Where)
	return s.ask(ctx, st, func(_ *series, r row) bool {
		d.add(r.text(2)+"\x00"+r.text(3)+"\x00"+r.text(4), r.text(5), r.int(1))
		return true
	})
}

// add takes in that a name had a UID at a time. Tenures are in the order of their begin.
func (d directory) add(name, uid string, from int64) {
	tenures := d[name]
	for i := range tenures {
		if tenures[i].uid == uid {
			if from >= tenures[i].from {
				return
			}
			tenures = slices.Delete(tenures, i, i+1)
			break
		}
	}
	place := 0
	for place < len(tenures) && tenures[place].from <= from {
		place++
	}
	d[name] = slices.Insert(tenures, place, tenure{from, uid})
}

// at returns the UID that a name had at a time: that of the last tenure that began by
// then, or of the first one.
func at(tenures []tenure, t int64) string {
	uid := ""
	for i, tenure := range tenures {
		if i > 0 && tenure.from > t {
			break
		}
		uid = tenure.uid
	}
	return uid
}

// split gives a run of a pod's samples their UIDs, in as many pieces as it takes.
func (d directory) split(run metricdb.Run, yield func(metricdb.Run) bool) bool {
	tenures := d[podName(run.Tags)]
	if run.Tags.Get(metricdb.TagPodID) != "" || len(tenures) == 0 {
		return yield(run)
	}
	for len(run.Times) > 0 {
		uid, n := at(tenures, run.Times[0]), 1
		for n < len(run.Times) && (len(tenures) == 1 || at(tenures, run.Times[n]) == uid) {
			n++
		}
		part := run
		part.Tags = run.Tags.With(metricdb.TagPodID, uid)
		part.Times, part.Values = run.Times[:n], run.Values[:n]
		if !yield(part) {
			return false
		}
		run.Times, run.Values = run.Times[n:], run.Values[n:]
	}
	return true
}
