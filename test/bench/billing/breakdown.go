package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// breakdownRuns is how often each question is asked for its breakdown.
const breakdownRuns = 3

// breakdown says where the time of each question goes: by kind of query as krm counts
// them, by CPU time, and on influxd by statement. It asks anew, since listening takes time.
func (l *lab) breakdown(ctx context.Context, s **server, d *filled) error {
	var wire *tap
	if d.name == onInflux {
		wire = newTap(l.cfg.influx)
		defer wire.server.Close()
		args, err := l.influxArgs(wire.server.URL)
		if err != nil {
			return err
		}
		(*s).stop()
		again, err := l.serve(ctx, d.name, args...)
		if err != nil {
			return err
		}
		*s = again
		// The tap goes; whoever comes next asks influxd itself.
		defer func() {
			again.stop()
			if direct, err := l.serve(ctx, d.name, d.args...); err == nil {
				*s = direct
			}
		}()
	}
	for _, figure := range figureNames() {
		asked := map[string]func() (time.Duration, error){}
		if figure == monthReport {
			asked[""] = func() (time.Duration, error) {
				took, _, _, err := (*s).report(ctx, l.world)
				return took, err
			}
		} else {
			for _, q := range l.questions(figure) {
				asked[q.metric.name] = func() (time.Duration, error) {
					_, took, err := (*s).ask(ctx, q)
					return took, err
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(asked)) {
			if err := l.breakDown(ctx, *s, wire, strings.TrimSpace(d.name+" "+figure+" "+name), asked[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// breakDown asks one question some times, and prints what that took.
func (l *lab) breakDown(ctx context.Context, s *server, wire *tap, what string, ask func() (time.Duration, error)) error {
	if _, err := ask(); err != nil {
		return err
	}
	before, err := process.Scrape(ctx, s.base)
	if err != nil {
		return err
	}
	begin, err := l.usage(s)
	if err != nil {
		return err
	}
	wire.reset()
	var took time.Duration
	for range breakdownRuns {
		one, err := ask()
		if err != nil {
			return err
		}
		took += one
	}
	end, err := l.usage(s)
	if err != nil {
		return err
	}
	after, err := process.Scrape(ctx, s.base)
	if err != nil {
		return err
	}
	each := func(seconds float64) float64 { return 1000 * seconds / breakdownRuns }
	fmt.Printf("  BREAKDOWN %s: %.0f ms a request; CPU of krm %.0f ms, of influxd %.0f ms; load %s\n", what, each(took.Seconds()), each(end.krm-begin.krm), each(end.influxd-begin.influxd), loadAverage())
	var kinds []string
	for series := range after {
		if rest, ok := strings.CutPrefix(series, "krm_metricdb_query_seconds_sum"); ok {
			kinds = append(kinds, rest)
		}
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		sum, count := "krm_metricdb_query_seconds_sum"+kind, "krm_metricdb_query_seconds_count"+kind
		if n := after[count] - before[count]; n > 0 {
			fmt.Printf("    %6.1f queries %7.1f ms in all  %s\n", n/breakdownRuns, each(after[sum]-before[sum]), kind)
		}
	}
	wire.print()
	return nil
}

// tap listens to what krm asks influxd.
type tap struct {
	server *httptest.Server
	heard  chan map[string]*statement // one map, with whoever holds it
}

// statement is the requests of the same text.
type statement struct {
	text  string
	count int
	took  time.Duration
	bytes int64
}

func newTap(target string) *tap {
	t := &tap{heard: make(chan map[string]*statement, 1)}
	t.heard <- map[string]*statement{}
	t.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		text, bytes := forward(w, r, target)
		all := <-t.heard
		one := all[text]
		if one == nil {
			one = &statement{text: text}
			all[text] = one
		}
		one.count++
		one.took += time.Since(began)
		one.bytes += bytes
		t.heard <- all
	}))
	return t
}

func (t *tap) reset() {
	if t != nil {
		<-t.heard
		t.heard <- map[string]*statement{}
	}
}

// print prints the statements that took most.
func (t *tap) print() {
	if t == nil {
		return
	}
	all := <-t.heard
	defer func() { t.heard <- all }()
	sorted := slices.SortedFunc(maps.Values(all), func(a, b *statement) int { return cmp.Compare(b.took, a.took) })
	for _, one := range sorted[:min(8, len(sorted))] {
		fmt.Printf("    %6.1f × %7.1f ms %8.1f KB  %.330s\n", float64(one.count)/breakdownRuns, float64(one.took.Milliseconds())/float64(one.count),
			float64(one.bytes)/1e3/float64(one.count), one.text)
	}
}
