package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// event is one call of an informer's handler.
type event struct {
	Kind    string    `json:"kind"` // ADDED, MODIFIED, DELETED, or UNKNOWN: gone while nobody looked
	Key     string    `json:"key"`
	UID     string    `json:"uid"`
	Version string    `json:"version"`
	At      time.Time `json:"at"`
}

// held is one object in an informer's store.
type held struct {
	UID     string `json:"uid"`
	Version string `json:"version"`
	Hash    uint64 `json:"hash"` // of its JSON without managedFields
}

// follower is one informer, and what it was told.
type follower struct {
	Name     string          `json:"name"`
	Server   string          `json:"server"`
	Resource string          `json:"resource"`
	Selected bool            `json:"selected"`
	Events   []event         `json:"events"`
	Lists    []time.Time     `json:"lists"` // when it asked for everything, by a list or by a watch's initial events
	Watches  int             `json:"watches"`
	Store    map[string]held `json:"store"`

	mu    sync.Mutex
	store func() ([]any, error)
}

// client returns a copy of config through which the follower notices what the
// informer asks.
func (f *follower) client(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &witness{next, f} })
	return config
}

type witness struct {
	http.RoundTripper
	follower *follower
}

// RoundTrip implements http.RoundTripper.
func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/"+w.follower.Resource) {
		return w.RoundTripper.RoundTrip(r) // discovery
	}
	query := r.URL.Query()
	w.follower.mu.Lock()
	if query.Get("watch") != "" {
		w.follower.Watches++
	}
	if query.Get("watch") == "" || query.Get("sendInitialEvents") == "true" {
		w.follower.Lists = append(w.follower.Lists, time.Now())
	}
	w.follower.mu.Unlock()
	return w.RoundTripper.RoundTrip(r)
}

// run adds the follower to an informer and starts it.
func (f *follower) run(ctx context.Context, informer cache.SharedIndexInformer) error {
	if _, err := informer.AddEventHandler(f.handler()); err != nil {
		return err
	}
	f.store = func() ([]any, error) { return informer.GetStore().List(), nil }
	go informer.Run(ctx.Done()) // main waits for ctx, and ends the process
	return nil
}

func (f *follower) handler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f.note("ADDED", o) },
		UpdateFunc: func(_, o any) { f.note("MODIFIED", o) },
		DeleteFunc: func(o any) {
			if last, ok := o.(cache.DeletedFinalStateUnknown); ok {
				f.note("UNKNOWN", last.Obj)
				return
			}
			f.note("DELETED", o)
		},
	}
}

func (f *follower) note(kind string, o any) {
	object, err := meta.Accessor(o)
	if err != nil {
		panic(fmt.Sprintf("BUG: an informer brings %T: %v", o, err))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Events = append(f.Events, event{kind, object.GetName(), string(object.GetUID()), object.GetResourceVersion(), time.Now()})
}

// finish reads the store.
func (f *follower) finish() error {
	objects, err := f.store()
	if err != nil {
		return fmt.Errorf("read the store of %s: %w", f.Name, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Store = map[string]held{}
	for _, o := range objects {
		object := o.(runtime.Object).DeepCopyObject()
		accessor, err := meta.Accessor(object)
		if err != nil {
			return err
		}
		accessor.SetManagedFields(nil)
		text, err := json.Marshal(object)
		if err != nil {
			return fmt.Errorf("encode %s: %w", accessor.GetName(), err)
		}
		hash := fnv.New64a()
		_, _ = hash.Write(text)
		f.Store[accessor.GetName()] = held{string(accessor.GetUID()), accessor.GetResourceVersion(), hash.Sum64()}
	}
	return nil
}

func selecting(selector string) func(*metav1.ListOptions) {
	return func(o *metav1.ListOptions) { o.LabelSelector = selector }
}
