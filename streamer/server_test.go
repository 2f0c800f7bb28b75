package streamer

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var errBroken = errors.New("connection reset")

// cut is what a test does to an open watch.
type cut int

const (
	cutNone    cut = iota
	cutClean       // the server ends it
	cutBroken      // with an error
	cutGarbled     // with garbage
	cutSilent      // nothing comes any more
	cutLossy       // the next event does not come
	cutExpired     // an in-stream 410
)

// conn is an open watch of the server.
type conn struct {
	kind  string // "watch", "proof", "initial", "list"
	after int
	cut   cut
}

// server is an API server in memory with one resource.
type server struct {
	mu      sync.Mutex
	changed chan struct{} // closed and renewed at every change
	uid     string
	schema  string
	rv      int // etcd's revision
	floor   int // compacted up to here
	history []object.Record
	columns []object.Column
	conns   map[*conn]bool
	opened  map[string]int // connections so far, by kind

	resource    object.Resource
	absent      bool          // discovery and all requests: 404
	fault       error         // of every request
	pace        time.Duration // between the objects of a list
	unsupported bool          // Initial
	bookmarks   bool          // proofs get one
	snag        bool          // the next list loses its connection after the first object
}

func newServer() *server {
	return &server{
		changed: make(chan struct{}), uid: "cluster-1", schema: "schema-1", rv: 1, bookmarks: true,
		resource: object.Resource{Version: "v1", Name: "pods", Kind: "Pod", Namespaced: true},
		conns:    make(map[*conn]bool), opened: make(map[string]int),
		columns: []object.Column{{Name: "Name", Type: "string"}},
	}
}

func version(rv int) object.Version { return object.Version(strconv.Itoa(rv)) }

func number(v object.Version) int {
	n, _ := strconv.Atoi(string(v))
	return n
}

// do changes the server and tells all connections.
func (s *server) do(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// write creates or updates an object.
func (s *server) write(name string) {
	s.do(func() { s.put(name, false) })
}

func (s *server) put(name string, deleted bool) {
	s.rv++
	key := object.Key{Namespace: "default", Name: name}
	s.history = append(s.history, object.Record{
		Head: object.Head{Key: key, UID: name, Version: version(s.rv), Deleted: deleted},
		Body: []byte(fmt.Sprintf(`{"name":%q,"rv":%d,"of":%q}`, name, s.rv, s.uid)),
	})
}

// remove deletes an object, if there is one.
func (s *server) remove(name string) {
	s.do(func() {
		if _, ok := s.at(s.rv)[object.Key{Namespace: "default", Name: name}]; ok {
			s.put(name, true)
		}
	})
}

// bump is a write to another resource.
func (s *server) bump() { s.do(func() { s.rv++ }) }

// expire compacts all history.
func (s *server) expire() { s.do(func() { s.floor = s.rv }) }

// restore takes etcd back by some revisions and breaks what is open.
func (s *server) restore(by int) {
	s.do(func() {
		s.rv = max(1, s.rv-by)
		for len(s.history) > 0 && number(s.history[len(s.history)-1].Version) > s.rv {
			s.history = s.history[:len(s.history)-1]
		}
		s.floor = min(s.floor, s.rv)
		for c := range s.conns {
			c.cut = cutBroken
		}
	})
}

// replace makes it another cluster with the same objects, renewed.
func (s *server) replace(uid string, rv int) {
	s.do(func() {
		old := s.at(s.rv)
		s.uid, s.rv, s.floor, s.history = uid, rv, rv, nil
		for _, record := range old {
			s.put(record.Key.Name, false)
		}
		for c := range s.conns {
			c.cut = cutBroken
		}
	})
}

// sever does something to the open connections of a kind.
func (s *server) sever(kind string, how cut) {
	s.do(func() {
		for c := range s.conns {
			if c.kind == kind || kind == "main" && c.kind != "proof" {
				c.cut = how
			}
		}
	})
}

// at returns the objects at a revision. s.mu is held.
func (s *server) at(rv int) map[object.Key]object.Record {
	objects := make(map[object.Key]object.Record)
	for _, record := range s.history {
		if number(record.Version) > rv {
			break
		}
		objects[record.Key] = record
		if record.Deleted {
			delete(objects, record.Key)
		}
	}
	return objects
}

func (s *server) opens(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened[kind]
}

// refuse is the error of every request, if there is one.
func (s *server) refuse(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.absent:
		return fmt.Errorf("pods: %w", object.ErrNotFound)
	}
	return s.fault
}

func (s *server) request(ctx context.Context) error {
	if err := sleep(ctx, 3*time.Millisecond); err != nil {
		return err
	}
	return s.refuse(ctx)
}

func (s *server) Resolve(ctx context.Context, _ string) (object.Resource, error) {
	return s.resource, s.request(ctx)
}

func (s *server) Identity(ctx context.Context, _ object.Resource) (clusterUID, schema string, err error) {
	err = s.request(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uid, s.schema, err
}

func (s *server) Probe(ctx context.Context, _ object.Resource) (object.Version, error) {
	err := s.request(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return version(s.rv), err
}

func (s *server) Count(ctx context.Context, _ object.Resource) (int64, error) {
	err := s.request(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(len(s.at(s.rv))), err
}

func (s *server) open(kind string, after int) (c *conn, done func()) {
	c = &conn{kind: kind, after: after}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = true
	s.opened[kind]++
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	}
}

type yielder = func(object.Event, error) bool

func (s *server) Initial(ctx context.Context, _ object.Resource) iter.Seq2[object.Event, error] {
	return func(yield yielder) {
		s.mu.Lock()
		unsupported := s.unsupported
		s.mu.Unlock()
		if unsupported {
			yield(object.Event{}, object.ErrUnsupported)
			return
		}
		c, done := s.open("initial", 0)
		defer done()
		if s.all(ctx, c, yield) {
			s.stream(ctx, c, 0, yield)
		}
	}
}

func (s *server) List(ctx context.Context, _ object.Resource) iter.Seq2[object.Event, error] {
	return func(yield yielder) {
		c, done := s.open("list", 0)
		defer done()
		s.all(ctx, c, yield)
	}
}

// all yields the objects of one moment, in no order, and InitialEnd.
func (s *server) all(ctx context.Context, c *conn, yield yielder) bool {
	if err := s.request(ctx); err != nil {
		yield(object.Event{}, err)
		return false
	}
	s.mu.Lock()
	objects, rv, pace := s.at(s.rv), s.rv, s.pace
	c.after = rv
	s.mu.Unlock()
	if !yield(object.Event{Type: object.Columns, Columns: s.columns}, nil) {
		return false
	}
	keys := slices.SortedFunc(maps.Keys(objects), object.Key.Compare) // not in RV order
	for _, key := range keys {
		_ = sleep(ctx, pace)
		if err, end := s.severed(ctx, c); end {
			if err != nil {
				yield(object.Event{}, err)
			}
			return false
		}
		if !yield(seen(object.Added, objects[key]), nil) {
			return false
		}
		s.do(func() {
			if s.snag {
				s.snag, c.cut = false, cutBroken
			}
		})
	}
	return yield(object.Event{Type: object.InitialEnd, Version: version(rv)}, nil)
}

func seen(t object.EventType, record object.Record) object.Event {
	record.SeenAt = time.Now().UTC()
	return object.Event{Type: t, Record: record}
}

func (s *server) Watch(ctx context.Context, _ object.Resource, after object.Version, timeout time.Duration) iter.Seq2[object.Event, error] {
	return func(yield yielder) {
		kind := "watch"
		if timeout != 0 {
			kind = "proof"
		}
		c, done := s.open(kind, number(after))
		defer done()
		if err := s.request(ctx); err != nil {
			yield(object.Event{}, err)
			return
		}
		s.mu.Lock()
		expired := c.after < s.floor
		s.mu.Unlock()
		if expired {
			yield(object.Event{}, object.ErrExpired)
			return
		}
		s.stream(ctx, c, timeout, yield)
	}
}

// stream yields what happens after c.after: for 7 minutes, or timeout, with a
// bookmark each minute or 2 s before the end.
func (s *server) stream(ctx context.Context, c *conn, timeout time.Duration, yield yielder) {
	interval, end := time.Minute, time.After(7*time.Minute)
	if timeout != 0 {
		interval, end = timeout-2*time.Second, time.After(timeout)
	}
	tick := time.After(interval)
	due := false
	for {
		if err, end := s.severed(ctx, c); end {
			if err != nil {
				yield(object.Event{}, err)
			}
			return
		}
		s.mu.Lock()
		event, err := s.next(c)
		changed := s.changed
		if event.Type == 0 && err == nil && due && s.bookmarks {
			event, due = object.Event{Type: object.Bookmark, Version: version(c.after)}, false
		}
		s.mu.Unlock()
		if err != nil {
			yield(event, err)
			return
		}
		if event.Type != 0 {
			if !yield(event, nil) {
				return
			}
			continue
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-end:
			return
		case <-tick:
			due, tick = true, time.After(interval)
		}
	}
}

// next is the event after c.after, or one of type 0. s.mu is held.
func (s *server) next(c *conn) (object.Event, error) {
	for _, record := range s.history {
		switch {
		case number(record.Version) <= c.after:
			continue
		case number(record.Version) <= s.floor:
			return object.Event{}, object.ErrExpired
		}
		c.after = number(record.Version)
		if c.cut == cutLossy {
			c.cut = cutNone
			continue
		}
		if record.Deleted {
			return seen(object.Deleted, record), nil
		}
		return seen(object.Modified, record), nil
	}
	c.after = max(c.after, s.rv)
	return object.Event{}, nil
}
