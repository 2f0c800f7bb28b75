package main

import (
	"context"
	"time"
)

// measure takes all figures, and compares answers between them.
func measure(ctx context.Context, l *lab) (*result, error) {
	r := &result{pods: l.cfg.pods}
	var err error
	if r.jobs, err = l.jobs(); err != nil {
		return nil, err
	}
	p := &player{sides: l.sides}
	for _, j := range r.jobs { // warm up
		for which := range l.sides {
			if err := p.play(ctx, j, which, nil); err != nil {
				return nil, err
			}
		}
	}
	l.say("warm")
	machine, ours, err := l.usage()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	r.idle = phase{rounds: l.cfg.idleRounds, limit: l.cfg.limit}
	r.busy = phase{rate: l.cfg.rate, rounds: l.cfg.rounds, limit: l.cfg.limit}
	for _, step := range []func(context.Context) (churned, error){
		func(ctx context.Context) (churned, error) { return r.idle.run(ctx, l, p, r.jobs) },
		func(ctx context.Context) (churned, error) { return r.busy.run(ctx, l, p, r.jobs) },
		func(ctx context.Context) (churned, error) { return r.fan(ctx, l) },
	} {
		last, err := step(ctx)
		if err != nil {
			return nil, err
		}
		checks, err := l.check(ctx, last)
		if err != nil {
			return nil, err
		}
		r.checks = append(r.checks, checks...)
	}
	for _, one := range r.checks {
		r.different += one.different
	}
	machineNow, oursNow, err := l.usage()
	if err != nil {
		return nil, err
	}
	r.others = (machineNow - machine - (oursNow - ours)) / time.Since(began).Seconds()
	r.memory, err = l.weighAgain(ctx)
	return r, err
}

// fan measures watchers, KRM's first.
func (r *result) fan(ctx context.Context, l *lab) (last churned, err error) {
	for _, f := range []fan{{l.cfg.watchers / 10, 100}, {l.cfg.watchers, 10}} {
		for _, which := range []int{krm, kube} {
			if err := l.calm(ctx, last); err != nil { // or else the watches begin with what was before
				return last, err
			}
			one, done, err := f.run(ctx, l.sides[which], l.churner, l.cfg.watch)
			if err != nil {
				return last, err
			}
			l.say("%d watchers of %s, %.1f changes a second: p50 %.1f ms, p99 %.1f ms, worst %.1f ms; %d lost, %d out of order, %d ended", f.watchers, l.sides[which].name,
				one.rate, ms(one.delays.median()), ms(one.delays.quantile(0.99)), ms(one.delays.quantile(1)), one.lost, one.disorder, one.ended)
			r.fans[which] = append(r.fans[which], one)
			last = done
		}
	}
	return last, nil
}
