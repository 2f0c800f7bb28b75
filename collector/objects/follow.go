package objects

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Feed is one resource's snapshot and feed in Redis. internal/store implements it.
type Feed interface {
	// State returns the snapshot's state, object.ErrNotSynced if there is none.
	State(ctx context.Context) (object.SnapshotState, error)
	// Scan yields the whole snapshot as it changes meanwhile; a key may come twice.
	// One that cannot be opened comes with object.ErrUnreadable, and others follow.
	Scan(ctx context.Context) iter.Seq2[object.Record, error]
	// Read returns the entries after that ID, oldest first; none after wait.
	Read(ctx context.Context, after object.LogID, wait time.Duration) ([]object.FeedEntry, error)
	// Unpack opens what a feed entry carries, or fails with object.ErrUnreadable.
	Unpack(ctx context.Context, packed object.Packed) (object.Record, error)
}

// Feeds are the three resources' feeds.
type Feeds struct{ Pods, Nodes, Namespaces Feed }

// Sink takes what informers see of one resource. Calls come one after the other, and
// what they give is the sink's.
type Sink[T any] = interface {
	Replace(all []T) // first, and whenever everything was read anew
	Set(one T)
	Delete(namespace, name string)
	Alive() // what was told is up to date at this moment
}

// Informers follows the objects of a cluster that KRM does not watch, each until ctx
// ends. internal/kube implements it.
type Informers interface {
	FollowPods(ctx context.Context, to Sink[*corev1.Pod]) error
	FollowNodes(ctx context.Context, to Sink[*corev1.Node]) error
	FollowNamespaces(ctx context.Context, to Sink[*corev1.Namespace]) error
}

// Objects keeps a cluster's pods, nodes and namespaces as long as Run runs. Its
// methods may be called from any goroutine. A pod takes about 1 KB.
type Objects struct {
	feeds     Feeds
	informers Informers
	log       *slog.Logger

	mu      sync.RWMutex
	view    *View
	current map[string]time.Time // by resource, once it was read: when it was last up to date, UTC
}

// FromSnapshots returns Objects that follow KRM's own snapshots.
func FromSnapshots(feeds Feeds, log *slog.Logger) *Objects {
	return &Objects{feeds: feeds, log: log, view: newView(), current: map[string]time.Time{}}
}

// FromInformers returns Objects of a cluster that KRM does not watch.
func FromInformers(informers Informers, log *slog.Logger) *Objects {
	return &Objects{informers: informers, log: log, view: newView(), current: map[string]time.Time{}}
}

// Run keeps the objects up to date until ctx ends, and then returns nil. While Redis
// or the API server is away what was known stays.
func (o *Objects) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	if o.informers != nil {
		group.Go(func() error { return o.informers.FollowPods(ctx, typed(o, o.pods(), fromPod)) })
		group.Go(func() error { return o.informers.FollowNodes(ctx, typed(o, o.nodes(), fromNode)) })
		group.Go(func() error { return o.informers.FollowNamespaces(ctx, typed(o, o.namespaces(), fromNamespace)) })
	} else {
		group.Go(func() error { return follow(ctx, o, o.pods(), o.feeds.Pods) })
		group.Go(func() error { return follow(ctx, o, o.nodes(), o.feeds.Nodes) })
		group.Go(func() error { return follow(ctx, o, o.namespaces(), o.feeds.Namespaces) })
	}
	err := group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// Synced says that all three resources have been read: nothing is missing but what
// the last moments brought. It stays true while Redis or the API server is away.
func (o *Objects) Synced() bool { return len(o.Unsynced()) == 0 }

// Unsynced names the resources that have not been read yet: "namespaces", "nodes",
// "pods". Without nodes there is nothing to collect from; without the others
// collection works, and enrichment lacks what they would have told.
func (o *Objects) Unsynced() (resources []string) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, name := range []string{"namespaces", "nodes", "pods"} {
		if _, ok := o.current[name]; !ok {
			resources = append(resources, name)
		}
	}
	return resources
}

// Age returns how long ago the oldest of the resources that were read was last
// known to be up to date; 0 before any was. Informers learn of that about once a
// minute on a quiet cluster, snapshots within seconds.
func (o *Objects) Age() (age time.Duration) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for _, at := range o.current {
		age = max(age, time.Since(at))
	}
	return age
}

// Read gives look a consistent view. Changes wait until look returns.
func (o *Objects) Read(look func(*View)) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	look(o.view)
}

// table is how the view holds objects of one resource. put and remove need the lock.
type table[T any] struct {
	resource string
	decode   func(body []byte) (T, error)
	key      func(T) object.Key
	put      func(T)
	remove   func(object.Key)
	count    func() int
	clear    func()
}

func (o *Objects) pods() table[*Pod] {
	v := o.view
	return table[*Pod]{
		resource: "pods", decode: decodePod,
		key:    func(p *Pod) object.Key { return object.Key{Namespace: p.Namespace, Name: p.Name} },
		put:    v.setPod,
		remove: func(k object.Key) { v.deletePod(k.Namespace, k.Name) },
		count:  func() int { return len(v.pods) },
		clear:  func() { clear(v.pods); clear(v.onNode) },
	}
}

func (o *Objects) nodes() table[*Node] {
	v := o.view
	return table[*Node]{
		resource: "nodes", decode: decodeNode,
		key:    func(n *Node) object.Key { return object.Key{Name: n.Name} },
		put:    v.setNode,
		remove: func(k object.Key) { v.deleteNode(k.Name) },
		count:  func() int { return len(v.nodes) },
		clear:  func() { clear(v.nodes); v.sorted = nil },
	}
}

func (o *Objects) namespaces() table[*Namespace] {
	v := o.view
	return table[*Namespace]{
		resource: "namespaces", decode: decodeNamespace,
		key:    func(n *Namespace) object.Key { return object.Key{Name: n.Name} },
		put:    func(n *Namespace) { v.namespaces[n.Name] = n },
		remove: func(k object.Key) { delete(v.namespaces, k.Name) },
		count:  func() int { return len(v.namespaces) },
		clear:  func() { clear(v.namespaces) },
	}
}

// replace makes all the resource's only objects, which were current at that time.
func replace[T any](o *Objects, t table[T], all map[object.Key]T, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t.clear()
	for _, one := range all {
		t.put(one)
	}
	o.current[t.resource] = at
}

// touch notes that the resource was up to date at that time.
func (o *Objects) touch(resource string, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if before, ok := o.current[resource]; ok && at.After(before) {
		o.current[resource] = at
	}
}

// sink feeds a table from an informer.
type sink[From, T any] struct {
	objects *Objects
	table   table[T]
	convert func(From) T
}

func typed[From, T any](o *Objects, t table[T], convert func(From) T) *sink[From, T] {
	return &sink[From, T]{o, t, convert}
}

func (s *sink[From, T]) Replace(all []From) {
	kept := make(map[object.Key]T, len(all))
	for _, one := range all {
		slim := s.convert(one)
		kept[s.table.key(slim)] = slim
	}
	replace(s.objects, s.table, kept, time.Now().UTC())
}

func (s *sink[From, T]) Set(one From) {
	slim := s.convert(one)
	s.objects.mu.Lock()
	s.table.put(slim)
	s.objects.mu.Unlock()
	s.Alive()
}

func (s *sink[From, T]) Delete(namespace, name string) {
	s.objects.mu.Lock()
	s.table.remove(object.Key{Namespace: namespace, Name: name})
	s.objects.mu.Unlock()
	s.Alive()
}

func (s *sink[From, T]) Alive() { s.objects.touch(s.table.resource, time.Now().UTC()) }
