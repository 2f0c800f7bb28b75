package aggregator

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// rig runs an Aggregator against a redis, in a synctest bubble.
type rig struct {
	t        *testing.T
	redis    *redis
	client   *client
	options  Options
	registry *prometheus.Registry
	cancel   context.CancelFunc
	ended    chan error
}

// inBubble runs a story with an aggregator that has begun.
func inBubble(t *testing.T, story func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, redis: newRedis()}
		r.start()
		story(t, r)
		r.stop()
	})
}

// start begins the process, with an empty memory.
func (r *rig) start() {
	ctx, cancel := context.WithCancel(r.t.Context())
	r.cancel, r.ended = cancel, make(chan error, 1)
	r.client = r.redis.client("a")
	r.registry = prometheus.NewRegistry()
	r.options.Metrics = NewMetrics(r.registry)
	a := New(object.Resource{Name: "pods"}, r.client, r.options, slog.New(slog.DiscardHandler))
	go func() { r.ended <- a.Run(ctx) }()
	synctest.Wait()
}

// stop ends the process and looks for faults.
func (r *rig) stop() {
	r.t.Helper()
	if r.cancel(); r.ended == nil {
		return // it is stopped
	}
	if err := <-r.ended; err != nil {
		r.t.Errorf("Run: %v", err)
	}
	r.ended = nil
	for _, fault := range r.redis.faults {
		r.t.Error(fault)
	}
	if r.t.Failed() {
		r.t.Log("\n" + strings.Join(r.redis.story, "\n"))
	}
}

// kill ends the process without letting it write any more.
func (r *rig) kill() {
	r.t.Helper()
	r.redis.take("nobody")
	r.stop()
	r.redis.take("")
}

// log appends one entry; see items. What it leads to at once has happened after it.
func (r *rig) log(texts ...string) object.LogID {
	id := r.redis.append(items(texts...)...)
	synctest.Wait()
	return id
}

// wait lets time pass.
func (r *rig) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// sees wants readers to be at a position, and to see exactly these objects.
func (r *rig) sees(position object.Version, heads ...string) {
	r.t.Helper()
	r.redis.mu.Lock()
	defer r.redis.mu.Unlock()
	f := r.redis.reader
	if got := f.at.Freshness.Streamed; got != position {
		r.t.Errorf("readers are at %q, want %q", got, position)
	}
	want := map[object.Key]object.Head{}
	for _, item := range items(heads...) {
		want[item.Packed.Key] = item.Packed.Head
	}
	got := map[object.Key]object.Head{}
	for key, p := range f.shown {
		got[key] = p.Head
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("readers see another thing than wanted: %s", diff)
	}
}

// state is what Redis says of the snapshot.
func (r *rig) state() object.SnapshotState { return r.redis.look().state }

// lastEntry is the newest of the feed.
func (r *rig) lastEntry() object.FeedEntry {
	feed := r.redis.look().feed
	return feed[len(feed)-1]
}

// asked is how often something was asked for.
func (r *rig) asked(ask object.Ask) int {
	r.redis.mu.Lock()
	defer r.redis.mu.Unlock()
	return len(r.redis.asks[ask])
}

// wanted are the keys whose bodies are wanted now.
func (r *rig) wanted() []string {
	var keys []string
	for key := range r.redis.look().wants {
		keys = append(keys, key.String())
	}
	slices.Sort(keys)
	return keys
}

// give hands over the bodies that are wanted of these objects.
func (r *rig) give(heads ...string) {
	bodies := map[object.Key]object.Packed{}
	for _, item := range items(heads...) {
		bodies[item.Packed.Key] = item.Packed
	}
	r.redis.give(bodies)
	r.wait(lookEvery)
}

// reports is how many there were.
func (r *rig) reports() int {
	r.redis.mu.Lock()
	defer r.redis.mu.Unlock()
	return len(r.redis.statuses)
}

// status is what was reported last.
func (r *rig) status() object.Status {
	r.redis.mu.Lock()
	defer r.redis.mu.Unlock()
	if len(r.redis.statuses) == 0 {
		return object.Status{}
	}
	return r.redis.statuses[len(r.redis.statuses)-1]
}

// metric sums up the series of that name with that label value, if any is given.
func (r *rig) metric(name string, labels ...string) float64 {
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			has := map[string]bool{}
			for _, pair := range m.GetLabel() {
				has[pair.GetValue()] = true
			}
			if !slices.ContainsFunc(labels, func(l string) bool { return !has[l] }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// items reads log items: "begin L1", "end 20", "at 21" (a position), "a/x@11",
// "-a/x@12" (a deletion), "a/x@13#2" (another life), "a/x@13!" (another body).
func items(texts ...string) []object.LogItem {
	var list []object.LogItem
	for _, text := range texts {
		verb, rest, _ := strings.Cut(text, " ")
		switch verb {
		case "begin":
			list = append(list, object.LogItem{Kind: object.ItemResyncBegin, Resync: object.Resync{Lineage: rest, ClusterUID: "one", Schema: "1", Expect: 3}})
		case "rewrite":
			list = append(list, object.LogItem{Kind: object.ItemResyncBegin, Resync: object.Resync{Lineage: rest, ClusterUID: "one", Schema: "2", Rewrite: true}})
		case "end":
			list = append(list, object.LogItem{Kind: object.ItemResyncEnd, Version: object.Version(rest), At: time.Now().UTC()})
		case "at":
			list = append(list, object.LogItem{Kind: object.ItemPosition, Version: object.Version(rest), At: time.Now().UTC()})
		default:
			list = append(list, object.LogItem{Kind: object.ItemRecord, Packed: packed(text)})
		}
	}
	return list
}

func packed(text string) object.Packed {
	rest, deleted := strings.CutPrefix(text, "-")
	rest, other := strings.CutSuffix(rest, "!")
	rest, life, _ := strings.Cut(rest, "#")
	key, version, _ := strings.Cut(rest, "@")
	head := object.Head{Key: object.ParseKey(key), UID: key + "#" + life, Version: object.Version(version), Deleted: deleted}
	return object.Packed{Head: head, Data: fmt.Appendf(nil, "%s %v", rest, other)}
}

// list states that these are all objects at version. It changes what the options say.
func (r *rig) list(id string, version object.Version, full bool, heads ...string) object.Listed {
	log := r.redis.look().logState
	listed := object.Listed{
		ID: id, Version: version, At: time.Now().UTC(), After: log.Position,
		Lineage: log.Resync.Lineage, ClusterUID: "one", Full: full,
	}
	for _, item := range items(heads...) {
		listed.Items = append(listed.Items, itemOf(item.Packed))
	}
	return listed
}

// put publishes a statement and lets the aggregator look at it.
func (r *rig) put(listed object.Listed) {
	r.redis.put(listed)
	r.wait(lookEvery)
}

// spoil changes what Redis holds of an object, or removes it.
func (r *rig) spoil(key string, body []byte) {
	r.redis.mu.Lock()
	defer r.redis.mu.Unlock()
	k := object.ParseKey(key)
	r.redis.now.snapshot = maps.Clone(r.redis.now.snapshot)
	p := r.redis.now.snapshot[k]
	if body == nil {
		delete(r.redis.now.snapshot, k)
	} else {
		p.Key, p.Data = k, body
		r.redis.now.snapshot[k] = p
	}
	r.redis.reader.strays = true
}
