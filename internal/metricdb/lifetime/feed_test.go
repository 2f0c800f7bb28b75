package lifetime

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// feed is a snapshot and its feed by hand.
type feed struct {
	objects map[object.Key]object.Record
	entries []object.FeedEntry
	first   int // entries before were trimmed
	n       int
	seen    int // of entries, how many somebody knows of
	atScan  func()
	at      time.Time // up to when the stream was followed, if that is later than the last entry
	absent  bool      // nobody watches
}

func newFeed() *feed { return &feed{objects: map[object.Key]object.Record{}, at: t0} }

func feedID(n int) object.LogID {
	if n == 0 {
		return ""
	}
	return object.LogID(fmt.Sprintf("9-%d", n))
}

// join puts a change to those of the last entry if nobody knows of that, and it is not much older.
func (f *feed) join(what object.EventType, at time.Time, name, uid, body string) {
	f.tell(what, at, name, uid, body)
	if n := len(f.entries); n >= 2 && f.seen < n-1 && at.Sub(f.entries[n-2].Changes[0].Object.SeenAt) < 30*time.Second {
		last := &f.entries[n-2]
		last.Changes, last.Freshness = append(last.Changes, f.entries[n-1].Changes...), f.entries[n-1].Freshness
		f.entries, f.n = f.entries[:n-1], f.n-1
	}
}

// tell publishes one change; a tombstone has the last body.
func (f *feed) tell(what object.EventType, at time.Time, name, uid, body string) {
	f.n++
	key := object.Key{Namespace: "ns", Name: name}
	head := object.Head{Key: key, UID: uid, SeenAt: at, Deleted: what == object.Deleted}
	f.objects[key] = object.Record{Head: head, Body: []byte(body)}
	if head.Deleted {
		delete(f.objects, key)
	}
	f.entries = append(f.entries, object.FeedEntry{
		ID: feedID(f.n), Prev: feedID(f.n - 1), Freshness: object.Freshness{StreamedAt: at}, Objects: int64(len(f.objects)),
		Changes: []object.Change{{Type: what, Object: object.Packed{Head: head, Data: []byte(body)}}},
	})
}

func (f *feed) State(context.Context) (object.SnapshotState, error) {
	if f.absent {
		return object.SnapshotState{}, object.ErrNotSynced
	}
	f.seen = len(f.entries)
	at := f.at
	if n := len(f.entries); n > 0 && f.entries[n-1].Freshness.StreamedAt.After(at) {
		at = f.entries[n-1].Freshness.StreamedAt
	}
	return object.SnapshotState{Synced: true, Lineage: "l", Tail: feedID(f.n), Freshness: object.Freshness{StreamedAt: at}}, nil
}

func (f *feed) Scan(context.Context) iter.Seq2[object.Record, error] {
	return func(yield func(object.Record, error) bool) {
		if f.atScan != nil {
			f.atScan()
			f.atScan = nil
		}
		for _, r := range f.objects {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (f *feed) Read(_ context.Context, after object.LogID, _ time.Duration) (some []object.FeedEntry, err error) {
	for i, e := range f.entries {
		if i >= f.first && e.ID.Compare(after) > 0 && len(some) < 3 {
			some = append(some, e)
			f.seen = max(f.seen, i+1)
		}
	}
	return some, nil
}

func (f *feed) Unpack(_ context.Context, p object.Packed) (object.Record, error) {
	if string(p.Data) == "garbage" {
		return object.Record{Head: p.Head}, object.ErrUnreadable
	}
	return object.Record{Head: p.Head, Body: p.Data}, nil
}

// podBody is a pod that was created at a second, with more of its spec and status.
func podBody(name, uid string, created time.Time, node, status string) string {
	spec := `"containers":[{"name":"c","resources":{"requests":{"cpu":"250m","memory":"64Mi","nvidia.com/gpu":"1"}}}],` +
		`"initContainers":[{"name":"i","resources":{"requests":{"cpu":"9"}}},{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"0.1"}}}],"overhead":{"cpu":"50m"}`
	if node != "" {
		spec += `,"nodeName":"` + node + `"`
	}
	return fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"ns","uid":%q,"creationTimestamp":%q,"labels":{"b":"2","a":"1"}},"spec":{%s},"status":{%s}}`,
		name, uid, created.Format(time.RFC3339), spec, status)
}

func scheduled(at time.Time) string {
	return fmt.Sprintf(`"phase":"Pending","conditions":[{"type":"PodScheduled","status":"True","lastTransitionTime":%q}]`, at.Format(time.RFC3339))
}

func running(at, started time.Time) string {
	return strings.Replace(scheduled(at), "Pending", "Running", 1) +
		fmt.Sprintf(`,"containerStatuses":[{"name":"c","state":{"running":{"startedAt":%q}}}]`, started.Format(time.RFC3339))
}

func succeeded(at, started, finished time.Time) string {
	return strings.Replace(scheduled(at), "Pending", "Succeeded", 1) +
		fmt.Sprintf(`,"containerStatuses":[{"name":"c","state":{"terminated":{"startedAt":%q,"finishedAt":%q}}}]`, started.Format(time.RFC3339), finished.Format(time.RFC3339))
}

// claimBody is a claim in a phase, with a request in Gi.
func claimBody(name, uid string, created time.Time, phase string, gi int64) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"namespace":"ns","uid":%q,"creationTimestamp":%q,"labels":{"app":"db"}},"spec":{"resources":{"requests":{"storage":"%dGi"}}},"status":{"phase":%q,"capacity":{"storage":"99Gi"}}}`,
		name, uid, created.Format(time.RFC3339), gi, phase)
}
