package kubeapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kubernetes-resource-monitor/krm/internal/mirror"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var (
	pods    = object.Resource{Version: "v1", Name: "pods", Kind: "Pod", Namespaced: true}
	widgets = object.Resource{Group: "krm.test", Version: "v1", Name: "widgets", Kind: "Widget", Namespaced: true}
)

// feed is a resource's snapshot and feed, as the aggregator writes them.
type feed struct {
	resource object.Resource
	mu       sync.Mutex
	state    object.SnapshotState
	records  map[object.Key]object.Record
	entries  []object.FeedEntry
	changed  chan struct{}
	version  int
}

func newFeed(r object.Resource) *feed {
	f := &feed{resource: r, records: map[object.Key]object.Record{}, changed: make(chan struct{}), version: 100}
	f.state = object.SnapshotState{Synced: true, Lineage: "one", Columns: []object.Column{
		{Name: "Name", Type: "string", Format: "name"}, {Name: "Age", Type: "string"},
	}}
	f.publish(object.FeedEntry{})
	return f
}

// publish writes one entry, in one transaction with the snapshot.
func (f *feed) publish(entry object.FeedEntry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry.Prev, entry.ID = f.state.Tail, object.LogID(fmt.Sprintf("1-%d", len(f.entries)+1))
	for _, change := range entry.Changes {
		delete(f.records, change.Object.Key)
		if change.Type != object.Deleted {
			f.records[change.Object.Key] = object.Record{Head: change.Object.Head, Body: change.Object.Data, Cells: cells(change.Object.Key)}
		}
	}
	entry.Lineage = f.state.Lineage
	entry.Freshness = object.Freshness{Streamed: object.Version(fmt.Sprint(f.version)), StreamedAt: time.Now()}
	entry.Objects = int64(len(f.records))
	f.state.Tail, f.state.Freshness, f.state.Objects = entry.ID, entry.Freshness, entry.Objects
	f.entries = append(f.entries, entry)
	close(f.changed)
	f.changed = make(chan struct{})
}

func cells(key object.Key) []byte { return fmt.Appendf(nil, `[%q,"1s"]`, key.Name) }

func (f *feed) change(kind object.EventType, key, labels string) {
	f.version++
	k := object.ParseKey(key)
	body := fmt.Sprintf(`{"kind":%q,"apiVersion":%q,"metadata":{"name":%q,"namespace":%q,"uid":"uid-%s","resourceVersion":"%d","creationTimestamp":"2000-01-01T00:00:00Z","labels":%s},"spec":{"nodeName":"node-1","containers":[{"name":"c","image":"nginx:%d","resources":{}}]},"status":{"phase":"Running"}}`,
		f.resource.Kind, f.resource.GroupVersion(), k.Name, k.Namespace, k.Name, f.version, labels, f.version)
	head := object.Head{Key: k, UID: "uid-" + k.Name, Version: object.Version(fmt.Sprint(f.version)), SeenAt: time.Now()}
	f.publish(object.FeedEntry{Changes: []object.Change{{Type: kind, Object: object.Packed{Head: head, Data: []byte(body)}}}})
}

func (f *feed) put(key, labels string)    { f.change(object.Modified, key, labels) }
func (f *feed) remove(key, labels string) { f.change(object.Deleted, key, labels) }

func (f *feed) State(context.Context) (object.SnapshotState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state, nil
}

func (f *feed) Tail(context.Context) (object.LogID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state.Tail, nil
}

func (f *feed) Scan(context.Context) iter.Seq2[object.Record, error] {
	f.mu.Lock()
	defer f.mu.Unlock()
	var records []object.Record
	for _, r := range f.records {
		records = append(records, r)
	}
	return func(yield func(object.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (f *feed) Read(ctx context.Context, after object.LogID, wait time.Duration) ([]object.FeedEntry, error) {
	var n int
	if _, err := fmt.Sscanf(string(after), "1-%d", &n); err != nil {
		n = 0
	}
	deadline := time.After(wait)
	for {
		f.mu.Lock()
		entries, changed := slices.Clone(f.entries[min(n, len(f.entries)):]), f.changed
		f.mu.Unlock()
		if len(entries) > 0 {
			return entries, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-deadline:
			return nil, nil
		case <-changed:
		}
	}
}

func (f *feed) Unpack(_ context.Context, p object.Packed) (object.Record, error) {
	return object.Record{Head: p.Head, Body: p.Data, Cells: cells(p.Key)}, nil
}

// replica is one server over feeds that others read, too.
type replica struct {
	*API
	engine *gin.Engine
}

type feeds []*feed

func (f feeds) Resources(context.Context) (registered []object.Registered, err error) {
	for _, feed := range f {
		registered = append(registered, object.Registered{Resource: feed.resource})
	}
	return registered, nil
}

func (f feeds) of(r object.Resource) mirror.Feed {
	return f[slices.IndexFunc(f, func(feed *feed) bool { return feed.resource == r })]
}

func (f feeds) open(ctx context.Context, options Options, wait *sync.WaitGroup) *replica {
	log := slog.New(slog.DiscardHandler)
	set := mirror.NewSet(f, f.of, mirror.Options{}, log)
	wait.Go(func() { _ = set.Run(ctx) })
	gin.SetMode(gin.ReleaseMode)
	options.Secret = func(context.Context) ([]byte, error) { return []byte("the same for all"), nil }
	r := &replica{New(set, options, log), gin.New()}
	r.Register(r.engine)
	return r
}

// story runs f in a bubble, with a server of pods and widgets.
func story(t *testing.T, f func(t *testing.T, pods, widgets *feed, r *replica)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		all := feeds{newFeed(pods), newFeed(widgets)}
		r := all.open(ctx, Options{}, &wait)
		time.Sleep(3 * time.Second)
		f(t, all[0], all[1], r)
		cancel()
		wait.Wait()
	})
}

// ask sends a GET and returns its answer.
func (r *replica) ask(target string, header ...string) *httptest.ResponseRecorder {
	request := httptest.NewRequest(http.MethodGet, "http://krm"+target, nil)
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	recorder := httptest.NewRecorder()
	r.engine.ServeHTTP(recorder, request)
	return recorder
}

type list struct {
	Metadata struct {
		ResourceVersion, Continue string
		RemainingItemCount        *int64
	}
	Items []struct {
		Kind     string
		Metadata struct{ Name, Namespace, ResourceVersion string }
	}
}

func (l list) names() (names []string) {
	for _, item := range l.Items {
		names = append(names, item.Metadata.Namespace+"/"+item.Metadata.Name+"@"+item.Metadata.ResourceVersion)
	}
	return names
}

func (r *replica) list(t *testing.T, target string, header ...string) (l list) {
	t.Helper()
	answer := r.ask(target, header...)
	if answer.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", target, answer.Code, answer.Body)
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &l); err != nil {
		t.Fatalf("GET %s: %v: %s", target, err, answer.Body)
	}
	return l
}

// watch makes changes while a watch of two seconds runs, and returns its frames, each
// as "ADDED ns/name@version".
func (r *replica) watch(t *testing.T, target string, changes func()) []string {
	t.Helper()
	done := make(chan *httptest.ResponseRecorder)
	go func() { done <- r.ask(target + "&timeoutSeconds=2") }()
	synctest.Wait()
	if changes != nil {
		changes()
	}
	answer := <-done
	if answer.Code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", target, answer.Code, answer.Body)
	}
	return frames(t, answer.Body)
}

func frames(t *testing.T, body io.Reader) (told []string) {
	t.Helper()
	decoder := json.NewDecoder(body)
	for {
		var frame struct {
			Type   string
			Object struct {
				Kind, Reason string
				Metadata     struct {
					Name, Namespace, ResourceVersion string
					Annotations                      map[string]string
				}
			}
		}
		err := decoder.Decode(&frame)
		if err == io.EOF {
			return told
		}
		if err != nil {
			t.Fatal(err)
		}
		m := frame.Object.Metadata
		text := strings.TrimSpace(fmt.Sprintf("%s %s/%s@%s %s", frame.Type, m.Namespace, m.Name, m.ResourceVersion, frame.Object.Reason))
		if m.Annotations["k8s.io/initial-events-end"] == "true" {
			text += " end"
		}
		told = append(told, text)
	}
}
