package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// asked is a question as it was sent.
type asked struct{ path, body string }

// keeper keeps answers, to compare them with later ones and with the other database's.
type keeper struct {
	mu      sync.Mutex
	answers map[asked][]byte
}

func newKeeper() *keeper { return &keeper{answers: map[asked][]byte{}} }

func (k *keeper) keep(what asked, answer []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answers[what] = answer
}

func (k *keeper) questions() []asked {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.SortedFunc(maps.Keys(k.answers), func(a, b asked) int { return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.body, b.body)) })
}

// again asks every so-manieth question again: the answers must be the same bytes.
func (k *keeper) again(ctx context.Context, c *checker, what string, a *asker, every int) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(3)
	for i, q := range k.questions() {
		if i%every != 0 {
			continue
		}
		g.Go(func() error {
			got, err := a.want(ctx, q.path, q.body)
			if err == nil && !bytes.Equal(got.body, k.answers[q]) {
				err = fmt.Errorf("other bytes: %s", difference(k.answers[q], got.body))
			}
			c.ok(fmt.Sprintf("%s: %s %s", what, q.path, q.body), err)
			return ctx.Err()
		})
	}
	return g.Wait()
}

// alike compares what two databases answered.
func (k *keeper) alike(c *checker, other *keeper) (n int) {
	for _, q := range k.questions() {
		theirs, both := other.answers[q]
		if !both {
			continue
		}
		n++
		var err error
		if ours := k.answers[q]; !bytes.Equal(ours, theirs) {
			err = fmt.Errorf("the databases differ: %s", difference(ours, theirs))
		}
		c.ok(q.path+" "+q.body, err)
	}
	return n
}

// difference shows where two answers part.
func difference(a, b []byte) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	from := max(0, i-60)
	return fmt.Sprintf("%.120q and %.120q", a[from:], b[from:])
}
