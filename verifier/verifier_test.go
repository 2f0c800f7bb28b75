package verifier

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// server is an API server with a few pods.
type server struct {
	mu      sync.Mutex
	version int
	items   map[object.Key]object.ListedItem
	faults  []error // of the next calls to list
	expired map[object.Version]bool
	calls   []string
}

func newServer(names ...string) *server {
	s := &server{version: 100, items: map[object.Key]object.ListedItem{}, expired: map[object.Version]bool{}}
	for _, name := range names {
		s.version++
		key := object.Key{Namespace: "a", Name: name}
		s.items[key] = object.ListedItem{Key: key, UID: "u-" + name, Version: s.now()}
	}
	return s
}

func (s *server) now() object.Version { return object.Version(fmt.Sprint(s.version)) }

func (s *server) Resolve(_ context.Context, name string) (object.Resource, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fault("resolve"); err != nil {
		return object.Resource{}, err
	}
	return object.Resource{Version: "v1", Name: name, Kind: "Pod", Namespaced: true}, nil
}

func (s *server) fault(call string) error {
	s.calls = append(s.calls, call)
	if len(s.faults) == 0 {
		return nil
	}
	err := s.faults[0]
	s.faults = s.faults[1:]
	return err
}

func (s *server) Identity(context.Context, object.Resource) (string, string, error) {
	return "cluster", "schema", nil
}

func (s *server) list(call string, hash uint64) (object.Version, []object.ListedItem, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fault(call); err != nil {
		return "", nil, err
	}
	s.version++
	items := make([]object.ListedItem, 0, len(s.items))
	for _, item := range s.items {
		item.Hash = hash
		items = append(items, item)
	}
	slices.SortFunc(items, func(a, b object.ListedItem) int { return a.Key.Compare(b.Key) })
	return s.now(), items, nil
}

func (s *server) Metadata(context.Context, object.Resource) (object.Version, []object.ListedItem, error) {
	return s.list("metadata", 0)
}

func (s *server) Bodies(context.Context, object.Resource) (object.Version, []object.ListedItem, error) {
	return s.list("bodies", 7)
}

func (s *server) record(key object.Key, at object.Version) (object.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := s.items[key]
	switch {
	case s.expired[at]:
		return object.Record{}, object.ErrExpired
	case !ok:
		return object.Record{}, object.ErrNotFound
	}
	return object.Record{Head: object.Head{Key: key, UID: item.UID, Version: item.Version}, Body: []byte("at " + at)}, nil
}

func (s *server) At(_ context.Context, _ object.Resource, key object.Key, at object.Version) (object.Record, error) {
	s.mu.Lock()
	s.calls = append(s.calls, "at")
	s.mu.Unlock()
	return s.record(key, at)
}

func (s *server) AllAt(_ context.Context, _ object.Resource, at object.Version) iter.Seq2[object.Record, error] {
	s.mu.Lock()
	s.calls = append(s.calls, "all at")
	keys := make([]object.Key, 0, len(s.items))
	for key := range s.items {
		keys = append(keys, key)
	}
	s.mu.Unlock()
	return func(yield func(object.Record, error) bool) {
		for _, key := range keys {
			if r, err := s.record(key, at); !yield(r, err) {
				return
			}
		}
	}
}

func (s *server) called() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// shelf is the verifier's end of Redis and an aggregator behind it, which wants
// the bodies of lacks once for each statement.
type shelf struct {
	mu       sync.Mutex
	state    object.LogState
	put      []object.Listed
	bodies   map[string][]object.Record
	lacks    []object.Key
	asks     []object.Ask
	fenced   bool
	down     error
	acquired int
	released int
	statuses []object.State
}

func newShelf() *shelf {
	return &shelf{
		state:  object.LogState{Resync: object.Resync{Lineage: "l", ClusterUID: "cluster"}, Position: "90"},
		bodies: map[string][]object.Record{},
	}
}

func (s *shelf) Acquire(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down != nil {
		return s.down
	}
	s.acquired++
	s.fenced = false
	return nil
}

func (s *shelf) Beat(context.Context) ([]object.Ask, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fenced {
		return nil, object.ErrFenced
	}
	asks := s.asks
	s.asks = nil
	return asks, s.down
}

func (s *shelf) Report(_ context.Context, status object.Status) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.statuses); n == 0 || s.statuses[n-1] != status.State {
		s.statuses = append(s.statuses, status.State)
	}
	return s.down
}

func (s *shelf) Release(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.released++
	return nil
}

func (s *shelf) LogState(context.Context) (object.LogState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.down
}

func (s *shelf) Put(_ context.Context, listed object.Listed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fenced {
		return object.ErrFenced
	}
	if s.down == nil {
		s.put = append(s.put, listed)
	}
	return s.down
}

func (s *shelf) Wants(_ context.Context, id string) ([]object.Key, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bodies[id]) >= len(s.lacks) {
		return nil, true, s.down
	}
	return s.lacks, false, s.down
}

func (s *shelf) PutBodies(_ context.Context, id string, records []object.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies[id] = append(s.bodies[id], records...)
	return s.down
}

// change runs f while nobody else uses the shelf.
func (s *shelf) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *shelf) statements() []object.Listed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.put)
}

// story runs a Verifier in a bubble of its own time.
func story(t *testing.T, source *server, redis *shelf, options Options, tell func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		v := New("pods", source, func(object.Resource) Listing { return redis }, options, slog.New(slog.DiscardHandler))
		go func() { done <- v.Run(ctx) }()
		tell(t)
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v, want nil", err)
		}
	})
}

func wait(d time.Duration) {
	time.Sleep(d) // of the bubble's clock
	synctest.Wait()
}

func TestRoundStatesEveryKeyAtOneVersion(t *testing.T) {
	source, redis := newServer("x", "y"), newShelf()
	story(t, source, redis, Options{}, func(t *testing.T) {
		wait(time.Second)
		put := redis.statements()
		if len(put) != 1 {
			t.Fatalf("%d statements, want 1", len(put))
		}
		got := put[0]
		if got.ID == "" || got.Version != "103" || got.After != "90" || got.Lineage != "l" || got.ClusterUID != "cluster" || got.Full || len(got.Items) != 2 {
			t.Errorf("stated %+v", got)
		}
	})
	if redis.released != 1 {
		t.Errorf("lease released %d times, want 1", redis.released)
	}
}

func TestRoundsAreDueEveryIntervalAndEveryNthIsFull(t *testing.T) {
	source, redis := newServer("x"), newShelf()
	story(t, source, redis, Options{VerifyEvery: time.Minute, FullEvery: 3}, func(*testing.T) { wait(5*time.Minute + 50*time.Second) })
	var full []bool
	for _, listed := range redis.put {
		full = append(full, listed.Full)
	}
	if n := len(full); n < 6 || n > 7 {
		t.Fatalf("%d rounds in 5m50s, want 6 or 7", n)
	}
	if diff := cmp.Diff([]bool{false, false, true, false, false, true}, full[:6]); diff != "" {
		t.Error(diff)
	}
	if redis.put[2].Items[0].Hash == 0 {
		t.Error("a full round has no hashes")
	}
}

func TestAsksBringARoundAtOnce(t *testing.T) {
	source, redis := newServer("x"), newShelf()
	story(t, source, redis, Options{}, func(t *testing.T) {
		f := func(want int, full bool, asks ...object.Ask) {
			t.Helper()
			redis.change(func() { redis.asks = asks })
			wait(5 * time.Second)
			put := redis.statements()
			if len(put) != want || put[len(put)-1].Full != full {
				t.Errorf("after %v: %d statements, the last full: %v; want %d, %v", asks, len(put), put[len(put)-1].Full, want, full)
			}
		}
		wait(time.Second)
		f(1, false)
		f(2, false, object.AskVerify)
		f(3, true, object.AskFull)
	})
}

func TestBodiesAreReadAtExactlyTheListsVersion(t *testing.T) {
	f := func(objects int, want string) {
		t.Helper()
		var names []string
		for i := range objects {
			names = append(names, fmt.Sprintf("p%03d", i))
		}
		source, redis := newServer(names...), newShelf()
		for key := range source.items {
			redis.lacks = append(redis.lacks, key)
		}
		story(t, source, redis, Options{}, func(*testing.T) { wait(10 * time.Second) })
		listed := redis.put[0]
		bodies := redis.bodies[listed.ID]
		if len(redis.put) != 1 || len(bodies) != objects {
			t.Fatalf("%d statements and %d bodies, want 1 and %d", len(redis.put), len(bodies), objects)
		}
		for _, r := range bodies {
			if string(r.Body) != "at "+string(listed.Version) {
				t.Errorf("%v was read %s, the list is of %s", r.Key, r.Body, listed.Version)
			}
		}
		if calls := source.called(); calls[len(calls)-1] != want {
			t.Errorf("%d bodies were read by %q, want %q", objects, calls[len(calls)-1], want)
		}
	}
	f(3, "at")
	f(fewBodies, "at")
	f(fewBodies+1, "all at")
	f(partRecords+44, "all at")
}

func TestBodiesOfAnotherShapeAreNotCompared(t *testing.T) {
	f := func(schema string, full bool) {
		t.Helper()
		source, redis := newServer("x"), newShelf()
		redis.state.Resync.Schema = schema
		story(t, source, redis, Options{FullEvery: 1}, func(*testing.T) { wait(time.Second) })
		if got := redis.put[0].Full; got != full {
			t.Errorf("the log's bodies are of %q, the server's of \"schema\": full is %v, want %v", schema, got, full)
		}
	}
	f("schema", true)
	f("", true) // not known
	f("other", false)
}

func TestListsAgainWhenTheVersionExpiresBeforeItsBodies(t *testing.T) {
	source, redis := newServer("x"), newShelf()
	redis.lacks = []object.Key{{Namespace: "a", Name: "x"}}
	source.expired["102"] = true // the first list's
	story(t, source, redis, Options{}, func(*testing.T) { wait(10 * time.Second) })
	if len(redis.put) != 2 {
		t.Fatalf("%d statements, want 2", len(redis.put))
	}
	if got := redis.bodies[redis.put[1].ID]; len(got) != 1 || string(got[0].Body) != "at 103" {
		t.Errorf("bodies of the second statement: %v", got)
	}
}

func TestNothingIsVerifiedBeforeThereIsALog(t *testing.T) {
	source, redis := newServer("x"), newShelf()
	state := redis.state
	redis.state = object.LogState{}
	story(t, source, redis, Options{}, func(t *testing.T) {
		wait(30 * time.Second)
		if n := len(redis.statements()); n != 0 {
			t.Errorf("%d statements without a log", n)
		}
		redis.change(func() { redis.state = state })
		wait(2 * time.Second)
		if n := len(redis.statements()); n != 1 {
			t.Errorf("%d statements once there is a log, want 1", n)
		}
	})
}

func TestFailuresAreReportedAndTriedAgain(t *testing.T) {
	f := func(fault error, state object.State, patience time.Duration) {
		t.Helper()
		source, redis := newServer("x"), newShelf()
		source.faults = []error{nil, fault}
		story(t, source, redis, Options{}, func(*testing.T) { wait(patience) })
		if !slices.Contains(redis.statuses, state) {
			t.Errorf("after %v: reported %v, want %s among them", fault, redis.statuses, state)
		}
		if len(redis.put) == 0 {
			t.Errorf("after %v: not tried again within %v", fault, patience)
		}
	}
	f(errors.New("connection refused"), object.StateUnreachable, 5*time.Second)
	f(&object.RetryError{After: 7 * time.Second, Err: errors.New("429")}, object.StateUnreachable, 10*time.Second)
	f(fmt.Errorf("list pods: %w", object.ErrForbidden), object.StateForbidden, 35*time.Second)
	f(fmt.Errorf("list pods: %w", object.ErrNotFound), object.StateAbsent, 15*time.Second)
	f(object.ErrExpired, object.StateFollowing, 5*time.Second)
}

func TestWaitsAsLongAsTheServerAsks(t *testing.T) {
	source, redis := newServer("x"), newShelf()
	source.faults = []error{nil, &object.RetryError{After: time.Minute, Err: errors.New("429")}}
	story(t, source, redis, Options{}, func(t *testing.T) {
		wait(59 * time.Second)
		if n := len(redis.statements()); n != 0 {
			t.Errorf("%d statements before Retry-After has passed", n)
		}
		wait(2 * time.Second)
		if n := len(redis.statements()); n != 1 {
			t.Errorf("%d statements after Retry-After, want 1", n)
		}
	})
}

func TestAFencedVerifierTakesTheLeaseAgain(t *testing.T) {
	source, redis := newServer("x"), newShelf()
	story(t, source, redis, Options{}, func(t *testing.T) {
		wait(time.Second)
		redis.change(func() { redis.fenced = true })
		wait(5 * time.Second)
		if redis.acquired != 2 || redis.released != 0 {
			t.Errorf("acquired %d times and released %d times, want 2 and 0", redis.acquired, redis.released)
		}
	})
}

func TestRedisAway(t *testing.T) {
	source, redis := newServer("x"), newShelf()
	story(t, source, redis, Options{}, func(t *testing.T) {
		wait(time.Second)
		redis.change(func() { redis.down = errors.New("connection refused") })
		wait(2 * time.Minute)
		redis.change(func() { redis.down = nil })
		before := len(redis.statements())
		wait(time.Minute)
		if after := len(redis.statements()); after == before {
			t.Error("no round after Redis came back")
		}
	})
	if !slices.Contains(redis.statuses, object.StateFailing) {
		t.Errorf("reported %v, want failing among them", redis.statuses)
	}
}

func TestConfigNamesFlagValueAndWhatIsAccepted(t *testing.T) {
	c := Config{VerifyEvery: time.Millisecond, FullEvery: 0}
	want := "--verify-every=1ms: want at least 1s\n--full-every=0: want at least 1"
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("Validate says %v, want %s", err, want)
	}
}
