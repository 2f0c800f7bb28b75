package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// ack is a write that the API server has acknowledged.
type ack struct {
	version uint64 // the pod's new resourceVersion
	at      time.Time
	key     types.NamespacedName
}

// churner changes pods, one after the other in an order that spreads over all
// namespaces, through kube-apiserver.
type churner struct {
	admin kubernetes.Interface
	pods  []types.NamespacedName
	step  int // how many changes so far

	cancel context.CancelFunc
	ended  chan churned
}

// churned is what a churner did between start and stop.
type churned struct {
	acks []ack
	took time.Duration
	err  error // the first write that failed
}

func (c churned) rate() float64 { return over(float64(len(c.acks)), c.took.Seconds()) }

// start makes rate changes a second until stop; none if rate is 0. Writes that take
// longer do not hold up later ones.
func (c *churner) start(ctx context.Context, rate int) {
	ctx, c.cancel = context.WithCancel(ctx)
	c.ended = make(chan churned, 1)
	began, first := time.Now(), c.step
	go func() {
		var done churned
		var mu sync.Mutex
		var workers sync.WaitGroup
		steps := make(chan int, 100_000)
		for range writers {
			workers.Go(func() {
				for step := range steps {
					// A write that has begun is finished, so that every one is known.
					acked, err := c.change(context.WithoutCancel(ctx), step)
					mu.Lock()
					if err == nil {
						done.acks = append(done.acks, acked)
					} else if done.err == nil {
						done.err = err
					}
					mu.Unlock()
				}
			})
		}
		pace(ctx, rate, func(n int) { steps <- first + n })
		took := time.Since(began)
		close(steps)
		workers.Wait()
		done.took = took
		c.ended <- done
	}()
}

// stop ends the changes and returns what was done.
func (c *churner) stop() (churned, error) {
	c.cancel()
	done := <-c.ended
	c.step += len(done.acks)
	return done, done.err
}

// pace calls do(0), do(1), … at a rate until ctx ends.
func pace(ctx context.Context, rate int, do func(n int)) {
	began, done := time.Now(), 0
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * float64(rate)); done < due; done++ {
			do(done)
		}
	}
}

// change changes an annotation, a label or the status of one pod.
func (c *churner) change(ctx context.Context, step int) (ack, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	const stride = 7919 // a prime: neighbours in time lie apart
	key := c.pods[step*stride%len(c.pods)]
	pod, err := c.patch(ctx, key, step)
	if err != nil {
		return ack{}, fmt.Errorf("change pod %v: %w", key, err)
	}
	at := time.Now()
	version, err := strconv.ParseUint(pod.ResourceVersion, 10, 64)
	return ack{version, at, key}, err
}

func (c *churner) patch(ctx context.Context, key types.NamespacedName, step int) (*corev1.Pod, error) {
	pods := c.admin.CoreV1().Pods(key.Namespace)
	switch step % 3 {
	case 0:
		text := fmt.Sprintf(`{"metadata":{"annotations":{"bench.krm.test/step":"%010d"}}}`, step)
		return pods.Patch(ctx, key.Name, types.MergePatchType, []byte(text), metav1.PatchOptions{FieldManager: "operator"})
	case 1:
		text := fmt.Sprintf(`{"metadata":{"labels":{"bench.krm.test/revision":"r%d"}}}`, step)
		return pods.Patch(ctx, key.Name, types.MergePatchType, []byte(text), metav1.PatchOptions{FieldManager: "operator"})
	default:
		text := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"True","message":"probe %d","lastTransitionTime":%q}]}}`,
			step, time.Now().UTC().Format(time.RFC3339))
		return pods.Patch(ctx, key.Name, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{FieldManager: "kubelet"}, "status")
	}
}
