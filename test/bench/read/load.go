package main

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

const (
	getClients = 16 // that read single pods at a time
	settling   = 100 * time.Millisecond
)

// job is one row of the table.
type job struct {
	key     string
	title   string
	clients int
	turn    time.Duration // how long one turn takes at least
	do      [2]timed      // by side; nil where there is nothing to do
}

// The sides, in the order of their turns.
const (
	kube = iota
	krm
)

// measured is what a job took of one side in one phase.
type measured struct {
	samples   samples
	perSecond []float64 // reads a second, of each turn
	bytes     int       // of the last answer
	cpu       float64   // seconds of the server, over all turns
	elapsed   float64   // seconds of all turns
}

// player plays the turns.
type player struct {
	sides  [2]*side
	next   [2]atomic.Int64 // the number of the next read
	buffer [getClients]bytes.Buffer
}

// play lets one side answer for one turn and adds what came of it to m. m may be
// nil: then it only warms up.
func (p *player) play(ctx context.Context, j job, which int, m *measured) error {
	do := j.do[which]
	if do == nil {
		return nil
	}
	if err := p.settle(ctx); err != nil {
		return err
	}
	before, err := process.ReadUsage(p.sides[which].pid)
	if err != nil {
		return err
	}
	taken := make([]samples, j.clients)
	began := time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	for client := range j.clients {
		group.Go(func() error {
			for len(taken[client]) == 0 || time.Since(began) < j.turn {
				took, err := do(groupCtx, int(p.next[which].Add(1)), &p.buffer[client])
				if err != nil {
					return fmt.Errorf("%s: %w", j.key, err)
				}
				taken[client] = append(taken[client], took)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	elapsed := time.Since(began).Seconds()
	after, err := process.ReadUsage(p.sides[which].pid)
	if err != nil || m == nil {
		return err
	}
	reads := 0
	for _, of := range taken {
		reads += len(of)
		m.samples = append(m.samples, of...)
	}
	m.perSecond = append(m.perSecond, float64(reads)/elapsed)
	m.bytes = p.buffer[0].Len()
	m.cpu += after.CPUSeconds - before.CPUSeconds
	m.elapsed += elapsed
	return nil
}

// settle takes what the last turn left, so that nobody pays for the other one: our
// garbage, and a little time for the server's.
func (p *player) settle(ctx context.Context) error {
	for i := range p.buffer {
		p.buffer[i].Reset()
	}
	runtime.GC()
	return process.Pause(ctx, settling)
}

// rest measures the CPUs that each side takes while nobody reads.
func (p *player) rest(ctx context.Context, d time.Duration) (cpus [2]float64, err error) {
	var before [2]process.Usage
	began := time.Now()
	for which, s := range p.sides {
		if before[which], err = process.ReadUsage(s.pid); err != nil {
			return cpus, err
		}
	}
	if err := process.Pause(ctx, d); err != nil {
		return cpus, err
	}
	for which, s := range p.sides {
		after, err := process.ReadUsage(s.pid)
		if err != nil {
			return cpus, err
		}
		cpus[which] = (after.CPUSeconds - before[which].CPUSeconds) / time.Since(began).Seconds()
	}
	return cpus, nil
}
