package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// churn changes the world at a bounded rate: pods above all, and some objects of
// every other kind.
type churn struct {
	world *world
	rate  int // changes a second

	random  *rand.Rand // of the planner alone
	pods    []string   // keys, refreshed now and then
	made    []string   // widgets that churn created and has not deleted yet
	counter int

	done   atomic.Int64 // changes that the API server took
	failed atomic.Int64 // changes that it refused, such as of pods that are gone
}

func newChurn(w *world, rate int, seed uint64) *churn {
	return &churn{world: w, rate: rate, random: rand.New(rand.NewPCG(seed, 1))}
}

// Run changes the world until ctx ends.
func (c *churn) Run(ctx context.Context) {
	work := make(chan func(context.Context) error)
	var workers sync.WaitGroup
	for range writers {
		workers.Go(func() {
			for change := range work {
				c.count(change(ctx))
			}
		})
	}
	tick := time.NewTicker(time.Second / time.Duration(c.rate))
	defer tick.Stop()
	defer workers.Wait()
	defer close(work)
	for i := 0; ; i++ {
		if i%(2*c.rate) == 0 {
			c.refresh(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case <-ctx.Done():
			return
		case work <- c.plan():
		}
	}
}

func (c *churn) count(err error) {
	if err != nil {
		c.failed.Add(1)
		return
	}
	c.done.Add(1)
}

// refresh reads which pods there are. While the API server is away it leaves the
// old ones.
func (c *churn) refresh(ctx context.Context) {
	var keys []string
	for _, space := range c.world.spaces {
		list, err := c.world.client.Resource(pods.GroupVersionResource).Namespace(space).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return
		}
		for _, pod := range list.Items {
			if pod.GetLabels()["app"] != "single" {
				keys = append(keys, space+"/"+pod.GetName())
			}
		}
	}
	c.pods = keys
}

// plan chooses the next change.
func (c *churn) plan() func(context.Context) error {
	c.counter++
	label := fmt.Sprintf(`{"metadata":{"labels":{"krm.test/step":"%d"}}}`, c.counter)
	switch dice := c.random.IntN(100); {
	case dice < 60 && len(c.pods) > 0:
		return c.patcher(pods, c.pods[c.random.IntN(len(c.pods))], label)
	case dice < 66 && len(c.pods) > 0:
		key := c.pods[c.random.IntN(len(c.pods))]
		return func(ctx context.Context) error { return c.world.delete(ctx, pods, key) }
	case dice < 72:
		replicas := max(1, min(podsPerApp, c.world.pods)+c.random.IntN(7)-3)
		return c.patcher(deployments, c.app(), fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas))
	case dice < 78:
		return c.createWidget()
	case dice < 82 && len(c.made) > 20:
		key := c.made[0]
		c.made = c.made[1:]
		return func(ctx context.Context) error { return c.world.delete(ctx, widgets, key) }
	case dice < 88:
		return c.patcher(widgets, c.app(), fmt.Sprintf(`{"spec":{"size":%d}}`, c.counter))
	case dice < 92:
		return c.patcher(services, c.app(), label)
	case dice < 94:
		return c.patcher(ingresses, c.evenApp(), label)
	case dice < 96:
		return c.patcher(claims, c.evenApp(), label)
	case dice < 98:
		return c.patcher(nodes, c.world.name("node", c.random.IntN(worldNodes)), label)
	default:
		return c.patcher(namespaces, c.world.space(c.random.IntN(worldSpaces)), label)
	}
}

func (c *churn) patcher(k kind, key, text string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.world.patch(ctx, k, key, text)
		return err
	}
}

func (c *churn) createWidget() func(context.Context) error {
	space, name, size := c.world.space(c.counter), c.world.name("churn", c.counter), c.counter
	c.made = append(c.made, space+"/"+name)
	return func(ctx context.Context) error {
		return c.world.create(ctx, widgets, newWidget(space, name, size, "churning"))
	}
}

func (c *churn) app() string { return c.world.apps[c.random.IntN(len(c.world.apps))] }

// evenApp is one of those that have an Ingress and a claim.
func (c *churn) evenApp() string {
	return c.world.apps[c.random.IntN((len(c.world.apps)+1)/2)*2]
}
