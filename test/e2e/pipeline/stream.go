package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/faultproxy"
	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

const (
	// silence is how long a connection may be silent before KRM gives it up: impatient.
	silence = 10 * time.Second
	// killWindow is the least time over which a round's kills are spread.
	killWindow = 4 * time.Second
	// recoverWithin is how long KRM may take until it is up to date after a fault.
	recoverWithin = 90 * time.Second
)

// fault is something that goes wrong for a while and then is over.
type fault struct {
	name  string
	spare string // the role that must not be killed at the same time
	lasts func(context.Context, *house) error
}

// streamFaults are the rounds of the first story.
func streamFaults() []fault {
	return []fault{
		{name: "kills-alone", lasts: func(ctx context.Context, _ *house) error { return process.Pause(ctx, killWindow) }},
		{name: "cut", lasts: cutConnections},
		// A streamer that starts anew would not have to notice.
		{name: "half-open", spare: "streamer", lasts: halfOpen},
		{name: "forgotten", spare: "streamer", lasts: forgotten},
		{name: "slow", lasts: slowNetwork},
		// A reader whose own copy is gone and whose Redis forgot cannot but go back.
		{name: "redis-lost-writes", spare: "apiserver", lasts: redisLosesWrites},
		{name: "half-frame", lasts: damage(faultproxy.Halved)},
		{name: "garbled-frame", lasts: damage(faultproxy.Garbled)},
		{name: "noise-frame", lasts: damage(faultproxy.Noise)},
		{name: "redis-restart", lasts: redisRestart},
		{name: "expired-watch", lasts: expireWatch},
	}
}

// streamStory lets everything go wrong but the verifier, which keeps quiet: the
// stream alone must bring KRM to the truth.
func streamStory(ctx context.Context, h *house, r *result) error {
	churning, stop := context.WithCancel(ctx)
	defer stop()
	churn := newChurn(h.world, h.cfg.rate, h.cfg.seed)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		churn.Run(churning)
	}()
	random := rand.New(rand.NewPCG(h.cfg.seed, 2))
	rounds := streamFaults()
	for i, round := range rounds {
		var victims []string
		for kill := i * r.kills / len(rounds); kill < (i+1)*r.kills/len(rounds); kill++ {
			victims = append(victims, victim(kill, round.spare))
		}
		if err := h.round(ctx, r, round, victims, random); err != nil {
			return fmt.Errorf("%s: %w", round.name, err)
		}
	}
	stop()
	<-ended
	h.say("the churn made %d changes, %d were refused", churn.done.Load(), churn.failed.Load())
	if err := h.calm(); err != nil {
		return err
	}
	if err := h.settle(ctx); err != nil {
		return err
	}
	if err := h.mustEqual(ctx, r, "after the faults"); err != nil {
		return err
	}
	return h.noteStreamDrift(ctx, r)
}

// victim is the role whose turn it is, or the one after it.
func victim(kill int, spare string) string {
	all := roles()
	if role := all[kill%len(all)]; role != spare {
		return role
	}
	return all[(kill+1)%len(all)]
}

// noteStreamDrift verifies everything and notes what was found from the beginning.
func (h *house) noteStreamDrift(ctx context.Context, r *result) error {
	if err := h.verify(ctx, false); err != nil {
		return err
	}
	drift, late, err := h.drift(ctx)
	if err != nil {
		return err
	}
	r.verified, r.streamDrift, r.late = true, drift.Total(), late
	h.say("drift of the stream alone: %+v, late rounds: %d", drift, late)
	if drift.Total() != 0 {
		r.fault("the stream alone drifted: %+v", drift)
	}
	return nil
}

// round lets one fault happen, kills victims at random moments of it, and measures
// how long KRM takes to be up to date once all of it is over.
func (h *house) round(ctx context.Context, r *result, f fault, victims []string, random *rand.Rand) error {
	moments := make([]time.Duration, len(victims))
	for i := range moments {
		moments[i] = time.Duration(random.Int64N(int64(killWindow)))
	}
	slices.Sort(moments)
	group, together := errgroup.WithContext(ctx)
	group.Go(func() error { return f.lasts(together, h) })
	group.Go(func() error {
		began := time.Now()
		for i, victim := range victims {
			if err := process.Pause(together, time.Until(began.Add(moments[i]))); err != nil {
				return err
			}
			if err := h.krm[victim].Kill(); err != nil {
				return err
			}
			r.killed++
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	over := time.Now()
	if err := h.catchUp(ctx, recoverWithin); err != nil {
		return err
	}
	took := time.Since(over)
	r.recovered(f.name, took)
	h.say("%s, killed %v: up to date %.1f s after", f.name, victims, took.Seconds())
	return nil
}

func cutConnections(ctx context.Context, h *house) error {
	for range 3 {
		h.proxy.Network.Cut()
		if err := process.Pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// halfOpen swallows all bytes for longer than KRM may take to notice.
func halfOpen(ctx context.Context, h *house) error {
	h.proxy.Network.Swallow(true)
	defer h.proxy.Network.Swallow(false)
	return process.Pause(ctx, silence+2*time.Second)
}

// forgotten makes the present connections half-open for ever, as a firewall does that
// forgets them. New ones work, so that KRM has recovered when the fault is over.
func forgotten(ctx context.Context, h *house) error {
	h.proxy.Network.Forget()
	return process.Pause(ctx, silence+2*time.Second)
}

func slowNetwork(ctx context.Context, h *house) error {
	h.proxy.Network.Slow(150*time.Millisecond, 100<<10)
	defer h.proxy.Network.Slow(0, 0)
	return process.Pause(ctx, 8*time.Second)
}

// damage damages some frames of busy kinds, and makes sure that there were some.
func damage(how faultproxy.Damage) func(context.Context, *house) error {
	return func(ctx context.Context, h *house) error {
		h.proxy.Frames.Damage(how, 2, pods.name(), deployments.name(), widgets.name(), services.name())
		defer h.proxy.Frames.Damage(faultproxy.Intact, 0)
		return process.Poll(ctx, 30*time.Second, "frames to damage", func(context.Context) error {
			if n := h.proxy.Frames.Damaged(); n < 6 {
				return fmt.Errorf("%d of 6 so far", n)
			}
			return nil
		})
	}
}

func redisRestart(ctx context.Context, h *house) error {
	h.redis.Stop()
	if err := process.Pause(ctx, 2*time.Second); err != nil {
		return err
	}
	return h.redis.Start(ctx)
}

// redisLosesWrites kills Redis, which comes back without the last of what it had
// acknowledged.
func redisLosesWrites(ctx context.Context, h *house) error {
	if err := h.redis.LoseTail(256 << 10); err != nil {
		return err
	}
	return h.redis.Start(ctx)
}

// expireWatch cuts KRM off, changes things, and makes etcd and the API server
// forget the changes' history before KRM comes back.
func expireWatch(ctx context.Context, h *house) error {
	before := h.proxy.Frames.Expired()
	h.proxy.Network.Refuse(true)
	defer h.proxy.Network.Refuse(false)
	if err := process.Pause(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := h.cluster.order(ctx, "compact"); err != nil {
		return err
	}
	// The API server remembers more than etcd does, until it is restarted.
	if err := h.cluster.order(ctx, "restart", "kube-apiserver"); err != nil {
		return err
	}
	h.proxy.Network.Refuse(false)
	return process.Poll(ctx, 60*time.Second, "a watch to expire", func(context.Context) error {
		if h.proxy.Frames.Expired() == before {
			return errors.New("the API server has answered no watch with 410 yet")
		}
		return nil
	})
}
