package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Resources tells which resources are registered. internal/store implements it.
type Resources interface {
	Resources(ctx context.Context) ([]object.Registered, error)
}

// Set keeps a mirror of every resource that is registered and resolved. Its
// methods may be called from any goroutine.
type Set struct {
	resources Resources
	feed      func(object.Resource) Feed
	options   Options
	log       *slog.Logger
	view      atomic.Pointer[view]
}

// view is what a Set knows at one moment; it is not changed.
type view struct {
	registered []object.Registered
	mirrors    []*Mirror // sorted by resource
	at         time.Time // when Redis last said what is registered; zero before
	err        error     // why it does not say so now
}

// NewSet returns a Set that holds nothing until Run. feed gives the feed of one
// resource.
func NewSet(resources Resources, feed func(object.Resource) Feed, options Options, log *slog.Logger) *Set {
	s := &Set{resources: resources, feed: feed, options: options.withDefaults(), log: log}
	s.view.Store(&view{err: errNotAsked})
	return s
}

// Mirrors returns the mirrors, sorted by group and name.
func (s *Set) Mirrors() []*Mirror { return s.view.Load().mirrors }

// Lookup returns the mirror of the resource that the API server serves under that
// group, version and plural name.
func (s *Set) Lookup(group, version, plural string) (m *Mirror, ok bool) {
	for _, m := range s.Mirrors() {
		if r := m.resource; r.Name == plural && r.Group == group && r.Version == version {
			return m, true
		}
	}
	return nil, false
}

// Find is Lookup for those who take whichever version is mirrored.
func (s *Set) Find(group, plural string) (m *Mirror, ok bool) {
	for _, m := range s.Mirrors() {
		if r := m.resource; r.Name == plural && r.Group == group {
			return m, true
		}
	}
	return nil, false
}

// Registered returns what Redis said last about who watches what; at is when,
// zero if it never did; err is why it does not say so now.
func (s *Set) Registered() (registered []object.Registered, at time.Time, err error) {
	v := s.view.Load()
	return v.registered, v.at, v.err
}

// running is one mirror of a Set with what ends it.
type running struct {
	mirror *Mirror
	stop   context.CancelFunc
	missed time.Time // since when the resource is not registered; zero if it is
}

// Run follows the registered resources until ctx ends, waits for its mirrors, and
// returns nil.
func (s *Set) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	mirrors := map[string]*running{} // by Resource.String()
	start := func(r object.Resource) *running {
		ctx, cancel := context.WithCancel(ctx)
		m := New(r, s.feed(r), s.options, s.log)
		group.Go(func() {
			if err := m.Run(ctx); err != nil {
				s.log.Error("mirror ended", "resource", r.String(), "err", err)
			}
		})
		return &running{mirror: m, stop: cancel}
	}
	for ctx.Err() == nil {
		s.poll(ctx, mirrors, start)
		sleep(ctx, s.options.Every)
	}
	for _, running := range mirrors {
		running.stop()
	}
	return nil
}

func (s *Set) poll(ctx context.Context, mirrors map[string]*running, start func(object.Resource) *running) {
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	registered, err := s.resources.Resources(callCtx)
	old := s.view.Load()
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		if old.err == nil || errors.Is(old.err, errNotAsked) {
			s.log.Warn("registered resources unknown", "err", err)
		}
		s.view.Store(&view{registered: old.registered, mirrors: old.mirrors, at: old.at, err: fmt.Errorf("ask which resources are registered: %w", err)})
		return
	case old.err != nil:
		s.log.Info("registered resources known", "resources", len(registered))
	}
	s.reconcile(registered, mirrors, start)
	next := &view{registered: registered, at: time.Now()}
	for _, running := range mirrors {
		next.mirrors = append(next.mirrors, running.mirror)
	}
	slices.SortFunc(next.mirrors, func(a, b *Mirror) int {
		return cmp.Or(a.resource.Compare(b.resource), cmp.Compare(a.resource.Version, b.resource.Version))
	})
	s.view.Store(next)
}

var errNotAsked = errors.New("redis has not been asked yet which resources are registered")

// reconcile starts what is new and stops what was forgotten. One resource has one
// mirror: if discovery now says something else about it, the old mirror ends.
func (s *Set) reconcile(registered []object.Registered, mirrors map[string]*running, start func(object.Resource) *running) {
	wanted := map[string]object.Resource{}
	for _, r := range registered {
		if r.Resource.Version != "" && r.Resource.Kind != "" {
			wanted[r.Resource.String()] = r.Resource
		}
	}
	for name, running := range mirrors {
		resource, ok := wanted[name]
		switch {
		case ok && sameServed(resource, running.mirror.resource):
			running.missed = time.Time{}
			continue
		case ok: // resolved anew
		case running.missed.IsZero():
			running.missed = time.Now()
			continue
		case len(registered) == 0 || time.Since(running.missed) < s.options.ForgetAfter:
			// Nothing at all is what a Redis says that lost everything.
			continue
		}
		s.log.Info("mirror stops", "resource", name, "version", running.mirror.resource.Version)
		running.stop()
		delete(mirrors, name)
	}
	for name, resource := range wanted {
		if mirrors[name] == nil {
			mirrors[name] = start(resource)
		}
	}
}

// sameServed says whether a and b are served alike; short names do not matter.
func sameServed(a, b object.Resource) bool {
	return a.GroupVersion() == b.GroupVersion() && a.Name == b.Name && a.Kind == b.Kind && a.Namespaced == b.Namespaced
}
