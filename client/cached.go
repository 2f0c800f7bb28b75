package client

import (
	"context"
	"errors"
	"sync"

	kruntime "k8s.io/apimachinery/pkg/runtime"
)

// Cached asks one question again and again, and has its answer sent and decoded
// only when it has changed. It is safe for use by many goroutines. It keeps one
// list; drop the Cached to free it.
type Cached[T, L any] struct {
	resource Resource[T, L]
	opts     ListOptions

	mu   sync.Mutex
	held kept[L]
	tick int64 // counts the questions, so that a late answer replaces no newer one
}

// kept is a list and what the server calls it.
type kept[L any] struct {
	etag string
	list *L
	tick int64
}

// Cached returns a way to ask for opts often. A list that changes all the time is
// better watched.
func (r Resource[T, L]) Cached(opts ListOptions) *Cached[T, L] {
	return &Cached[T, L]{resource: r, opts: opts}
}

// List is [Resource.List]: the list is the caller's to keep and to change. It is a
// copy of what is kept, which costs less than a decode; [Cached.Shared] costs nothing.
func (c *Cached[T, L]) List(ctx context.Context) (*L, Freshness, error) {
	list, fresh, err := c.Shared(ctx)
	if err != nil {
		return nil, Freshness{}, err
	}
	return any(any(list).(kruntime.Object).DeepCopyObject()).(*L), fresh, nil // ListOf says that it is one
}

// Shared is List without the copy: the list belongs to all who ask, now and later.
// Do not modify it, nor any of its items; a changed one would be handed to
// everybody as the truth. If nothing has changed it is the very same list as
// before, so that comparing pointers tells. The Freshness is of now in any case.
func (c *Cached[T, L]) Shared(ctx context.Context) (*L, Freshness, error) {
	if c.opts.Limit != 0 || c.opts.Continue != "" {
		return nil, Freshness{}, errors.New("cached list: pages cannot be cached: want neither Limit nor Continue")
	}
	asked, err := c.resource.listQuestion(c.opts)
	if err != nil {
		return nil, Freshness{}, err
	}
	held := c.begin()
	asked.etag = held.etag
	got, err := c.resource.client.get(ctx, asked)
	if err != nil {
		return nil, Freshness{}, err
	}
	if got.unchanged {
		return held.list, got.fresh, nil
	}
	list, err := c.resource.decodeList(got)
	if err != nil {
		return nil, Freshness{}, err
	}
	c.keep(kept[L]{etag: got.etag, list: list, tick: held.tick})
	return list, got.fresh, nil
}

// begin returns what is held, with the number of the question that begins.
func (c *Cached[T, L]) begin() kept[L] {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tick++
	held := c.held
	held.tick = c.tick
	return held
}

func (c *Cached[T, L]) keep(news kept[L]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if news.tick > c.held.tick {
		c.held = news
	}
}
