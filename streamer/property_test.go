package streamer

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// step is one thing that happens in a schedule.
type step struct {
	Do    string
	N     int
	After time.Duration
}

func (s step) String() string { return fmt.Sprintf("%v %s(%d)", s.After, s.Do, s.N) }

// world is a server, a log, and the streamers between them.
type world struct {
	*server
	redis   *redis
	options Options
	logger  *slog.Logger
	running sync.WaitGroup
	stop    context.CancelFunc
}

func newWorld(t *testing.T) *world {
	return &world{server: newServer(), redis: newRedis(), logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// start starts a streamer.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	w.running.Go(func() { _ = New("pods", w.server, w.redis.open, w.options, w.logger).Run(ctx) })
}

// end stops the streamers and waits for them.
func (w *world) end() {
	w.stop()
	w.running.Wait()
}

// heal ends every outage.
func (w *world) heal() {
	w.do(func() { w.fault, w.absent, w.pace, w.unsupported = nil, false, 0, false })
	w.redis.do(func() { w.redis.away = false })
}

// steps are what a schedule is made of.
var steps = map[string]func(w *world, n int){
	"write":  func(w *world, n int) { w.write("p" + strconv.Itoa(n%5)) },
	"remove": func(w *world, n int) { w.remove("p" + strconv.Itoa(n%5)) },
	"burst": func(w *world, n int) {
		for i := range n {
			w.write("p" + strconv.Itoa(i%7))
		}
	},
	"bump":        func(w *world, _ int) { w.bump() },
	"expire":      func(w *world, _ int) { w.expire() },
	"close":       func(w *world, _ int) { w.sever("main", cutClean) },
	"break":       func(w *world, _ int) { w.sever("main", cutBroken) },
	"garble":      func(w *world, _ int) { w.sever("main", cutGarbled) },
	"silence":     func(w *world, _ int) { w.sever("main", cutSilent) },
	"410":         func(w *world, _ int) { w.sever("main", cutExpired) },
	"break proof": func(w *world, _ int) { w.sever("proof", cutBroken) },
	"slow":        func(w *world, n int) { w.do(func() { w.pace = time.Duration(n) * 100 * time.Millisecond }) },
	"old":         func(w *world, n int) { w.do(func() { w.unsupported = n%2 == 0 }) },
	"server away": func(w *world, _ int) { w.do(func() { w.fault = errBroken }) },
	"server back": func(w *world, _ int) { w.do(func() { w.fault = nil }) },
	"upgrade":     func(w *world, n int) { w.do(func() { w.schema = strconv.Itoa(n) }) },
	"redis away":  func(w *world, n int) { w.redis.do(func() { w.redis.away, w.redis.forgetful = true, n%2 == 0 }) },
	"redis back":  func(w *world, _ int) { w.redis.do(func() { w.redis.away = false }) },
	"lose":        func(w *world, n int) { w.redis.lose(n % 6) },
	"usurp":       func(w *world, _ int) { w.redis.usurp() },
	"advance":     func(w *world, _ int) { w.redis.ask(object.AskAdvance) },
	"check":       func(w *world, _ int) { w.redis.ask(object.AskCheck) },
	"resync":      func(w *world, _ int) { w.redis.ask(object.AskResync) },
	"restart":     func(w *world, _ int) { w.end(); w.redis.do(func() { w.redis.fence = 0 }); w.start() },
	"join": func(w *world, _ int) { // a second instance; the first one stops
		stop := w.stop
		w.start()
		stop()
		time.Sleep(5 * time.Second) // the lease runs out if Redis was away
		w.redis.do(func() {
			if w.redis.away {
				w.redis.fence = 0
				close(w.redis.freed)
				w.redis.freed = make(chan struct{})
			}
		})
	},
	"restore": func(w *world, n int) {
		w.heal()
		time.Sleep(5 * time.Minute) // no list is unfinished
		w.restore(n)
		time.Sleep(2 * time.Minute) // noticed before new writes cover it
	},
	"replace": func(w *world, n int) {
		w.replace("cluster-"+strconv.Itoa(w.rv), 1+n*10)
	},
}

func drawSteps() *rapid.Generator[[]step] {
	names := make([]string, 0, len(steps))
	for name := range steps {
		names = append(names, name)
	}
	names = append(names, "write", "write", "write", "write", "remove", "remove", "burst", "bump")
	slices.Sort(names)
	one := rapid.Custom(func(t *rapid.T) step {
		pauses := []time.Duration{0, time.Millisecond, 2 * time.Millisecond, 7 * time.Millisecond, 600 * time.Millisecond, 3 * time.Second, 20 * time.Second, 2 * time.Minute}
		return step{
			Do:    rapid.SampledFrom(names).Draw(t, "do"),
			N:     rapid.IntRange(1, 30).Draw(t, "n"),
			After: rapid.SampledFrom(pauses).Draw(t, "after"),
		}
	})
	return rapid.SliceOfN(one, 1, 40)
}

// play runs a schedule, heals the world, and returns what is wrong then.
func (w *world) play(schedule []step) error {
	w.start()
	defer w.end()
	for _, step := range schedule {
		time.Sleep(step.After)
		steps[step.Do](w, step.N)
	}
	w.heal()
	time.Sleep(4 * time.Minute)
	w.redis.ask(object.AskAdvance)
	time.Sleep(20 * time.Second)
	return w.verdict()
}

func (w *world) verdict() error {
	m, err := audit(w.server, w.redis)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(w.truth(), m.live()); diff != "" {
		return fmt.Errorf("merged log (-server +log):\n%s", diff)
	}
	if len(w.redis.violations) > 0 {
		return fmt.Errorf("the log was misused: %v", w.redis.violations)
	}
	state, status := w.redis.now(), w.redis.status()
	switch {
	case state.Resyncing:
		return fmt.Errorf("still resyncing: %+v", state)
	case number(state.Position) != w.rv:
		return fmt.Errorf("position %s, want %d", state.Position, w.rv)
	case state.Resync.ClusterUID != w.uid:
		return fmt.Errorf("log of cluster %s, want %s", state.Resync.ClusterUID, w.uid)
	case status.State != object.StateFollowing:
		return fmt.Errorf("status %+v, want following", status)
	}
	return nil
}

// Whatever happens to the API server, to Redis and to the streamer itself: in the
// end the log merges into the server's state, and no position was ever claimed
// before everything up to it was in the log.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		schedule := drawSteps().Draw(rt, "schedule")
		small := rapid.Bool().Draw(rt, "small buffer")
		var err error
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.logger = slog.New(slog.DiscardHandler)
			if small {
				w.options = Options{BufferRecords: 3, BatchRecords: 2, BufferBytes: 150, BatchBytes: 60}
			}
			err = w.play(schedule)
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}
