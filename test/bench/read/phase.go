package main

import (
	"context"
	"errors"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// phase is the measurement of all jobs at one rate of changes.
type phase struct {
	rate    int // changes a second that were asked for
	rounds  int // at most; fewer if they take longer than limit
	limit   time.Duration
	churned float64                 // changes a second that there were
	base    [2]float64              // CPUs that each side took while nobody read
	rows    map[string]*[2]measured // by job
	played  int                     // rounds
}

// run plays the jobs in turn: each at kube-apiserver, then at KRM.
func (ph *phase) run(ctx context.Context, l *lab, p *player, jobs []job) (churned, error) {
	ph.rows = map[string]*[2]measured{}
	for _, j := range jobs {
		ph.rows[j.key] = &[2]measured{}
	}
	l.churner.start(ctx, ph.rate)
	err := ph.measure(ctx, l, p, jobs)
	done, churnErr := l.churner.stop()
	ph.churned = done.rate()
	l.say("%d rounds at %.1f changes a second", ph.played, ph.churned)
	return done, errors.Join(err, churnErr)
}

func (ph *phase) measure(ctx context.Context, l *lab, p *player, jobs []job) (err error) {
	began := time.Now()
	if err := process.Pause(ctx, time.Second); err != nil {
		return err
	}
	if ph.base, err = p.rest(ctx, 3*time.Second); err != nil {
		return err
	}
	for ph.played < ph.rounds && (ph.played < 2 || time.Since(began) < ph.limit) {
		for _, j := range jobs {
			if !j.fits(ph.rate) {
				continue
			}
			for which := range p.sides {
				if err := p.play(ctx, j, which, &ph.rows[j.key][which]); err != nil {
					return err
				}
			}
		}
		if err := l.alive(); err != nil {
			return err
		}
		ph.played++
	}
	return nil
}

// fits says whether a job can be measured at a rate of changes: "unchanged" is an
// answer only while nothing changes.
func (j job) fits(rate int) bool { return rate == 0 || j.key != client304 }

// cpuPerRead is the server's CPU time for one read, without what it takes all the
// time, in seconds. The clock's ticks are 10 ms: it is never below one tick over all.
func (ph *phase) cpuPerRead(key string, which int) float64 {
	m := &ph.rows[key][which]
	return max(m.cpu-ph.base[which]*m.elapsed, 0.01) / float64(max(1, len(m.samples)))
}
