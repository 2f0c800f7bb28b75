package streamer

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

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
	"lose": func(w *world, n int) {
		// A streamer that started later cannot know that a whole lineage was lost.
		if w.redis.lose(n%6, w.renewed) {
			w.heal()
			w.write("p0")
			time.Sleep(2 * time.Minute)
		}
	},
	"usurp":   func(w *world, _ int) { w.redis.usurp() },
	"advance": func(w *world, _ int) { w.redis.ask(object.AskAdvance) },
	"check":   func(w *world, _ int) { w.redis.ask(object.AskCheck) },
	"resync":  func(w *world, _ int) { w.redis.ask(object.AskResync) },
	"restart": func(w *world, _ int) { w.end(); w.start() },
	"join": func(w *world, _ int) { // a second instance; the first one stops
		w.renewed = true
		stop := w.stop
		w.start()
		stop()
	},
	"restore": func(w *world, n int) {
		w.heal()
		time.Sleep(5 * time.Minute) // no list is unfinished
		w.restore(n)
		time.Sleep(2 * time.Minute) // noticed before new writes cover it
	},
	"replace": func(w *world, n int) {
		w.clusters++
		w.replace("cluster-"+strconv.Itoa(1+w.clusters), 1+n*10)
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
