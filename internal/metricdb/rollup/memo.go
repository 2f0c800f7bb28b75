package rollup

import (
	"context"
	"sync"
)

// memo reads something once for each key. What failed is tried again by the next one who asks.
// The zero value is ready, and may be used by several at a time.
type memo[K comparable, V any] struct {
	lock sync.Mutex
	all  map[K]*once[V]
}

type once[V any] struct {
	turn  chan struct{} // holds one token while somebody reads
	done  bool
	value V
}

func (m *memo[K, V]) get(ctx context.Context, key K, read func(ctx context.Context) (V, error)) (value V, err error) {
	one := m.once(key)
	select {
	case one.turn <- struct{}{}:
	case <-ctx.Done():
		return value, ctx.Err()
	}
	defer func() { <-one.turn }()
	if one.done {
		return one.value, nil
	}
	if value, err = read(ctx); err == nil {
		one.value, one.done = value, true
	}
	return value, err
}

func (m *memo[K, V]) once(key K) *once[V] {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.all == nil {
		m.all = map[K]*once[V]{}
	}
	one := m.all[key]
	if one == nil {
		one = &once[V]{turn: make(chan struct{}, 1)}
		m.all[key] = one
	}
	return one
}
