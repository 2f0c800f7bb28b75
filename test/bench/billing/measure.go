package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"
)

// The figures that are timed.
const (
	monthNamespace = "month_ns"
	monthPod       = "month_pod"
	hourNamespace  = "hour_ns"
	hourPod        = "hour_pod"
	monthReport    = "report"
)

func figureNames() []string {
	return []string{monthNamespace, monthPod, hourNamespace, hourPod, monthReport}
}

// samples are how long single requests took.
type samples []time.Duration

// median is 0 without samples.
func (s samples) median() time.Duration {
	if len(s) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(s))[(len(s)-1)/2]
}

// side is what was measured on one database.
type side struct {
	*filled
	times     map[string]map[string]samples // by figure and metric
	write     samples
	compared  int
	wrong     int
	refused   int // because the database was too slow
	deviation float64
	planted   bool // the planted fault was found
}

// questions are those of a figure; the report has none.
func (l *lab) questions(figure string) (all []question) {
	w := l.world
	for _, m := range measured() {
		q := question{metric: m, agg: "all-namespace", from: w.month, to: w.monthEnd}
		if figure == monthPod || figure == hourPod {
			q.agg = "all-pod"
		}
		if figure == hourNamespace || figure == hourPod {
			q.from, q.to = w.now.Add(-time.Hour), w.now
		}
		all = append(all, q)
	}
	return all
}

// measure times all figures on one database, and checks every answer.
func (l *lab) measure(ctx context.Context, d *filled, r *result) (err error) {
	s := &side{filled: d, times: map[string]map[string]samples{}}
	r.sides = append(r.sides, s)
	server, err := l.serve(ctx, d.name, d.args...)
	if err != nil {
		return err
	}
	defer func() { server.stop() }()
	begin, err := l.usage(server)
	if err != nil {
		return err
	}
	for _, figure := range figureNames() {
		if err := l.time(ctx, server, s, figure); err != nil {
			return err
		}
		l.say("  %s %s: %v", d.name, figure, s.medians(figure))
	}
	if err := l.others(server, begin, r); err != nil {
		return err
	}
	if err := l.deviate(ctx, server, s); err != nil {
		return err
	}
	l.say("  %s: roll-ups deviate from samples by %g; %d figures compared with what was written, %d wrong", d.name, s.deviation, s.compared, s.wrong)
	if l.cfg.breakdown {
		if err := l.breakdown(ctx, &server, d); err != nil {
			return err
		}
	}
	if s.planted, err = l.findPlanted(ctx, &server, d); err != nil {
		return err
	}
	l.say("  %s: the planted fault was found: %v", d.name, s.planted)
	return nil
}

// time asks a figure's questions, first once to warm up. An answer that says that the
// database is too slow is timed as others are, and counted.
func (l *lab) time(ctx context.Context, server *server, s *side, figure string) error {
	s.times[figure] = map[string]samples{}
	if figure == monthReport {
		return l.repeat(s, figure, "", func() (time.Duration, int, int, error) { return server.report(ctx, l.world) })
	}
	for _, q := range l.questions(figure) {
		err := l.repeat(s, figure, q.metric.name, func() (took time.Duration, compared, wrong int, err error) {
			rows, took, err := server.ask(ctx, q)
			if err == nil {
				compared, wrong = q.check(l.world, rows)
			}
			return took, compared, wrong, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) repeat(s *side, figure, metric string, ask func() (took time.Duration, compared, wrong int, err error)) error {
	for run := range l.cfg.runs + 1 {
		took, compared, wrong, err := ask()
		if errors.Is(err, errTooSlow) {
			l.say("  %s %s %s: no answer after %.1f s: %v", s.name, figure, metric, took.Seconds(), err)
			s.refused++
		} else if err != nil {
			return err
		}
		s.compared, s.wrong = s.compared+compared, s.wrong+wrong
		if run > 0 {
			s.times[figure][metric] = append(s.times[figure][metric], took)
		}
	}
	return nil
}

// medians are a figure's, by metric.
func (s *side) medians(figure string) map[string]time.Duration {
	all := map[string]time.Duration{}
	for name, times := range s.times[figure] {
		all[name] = times.median().Round(100 * time.Microsecond)
	}
	return all
}

// worst is the figure's greatest median.
func (s *side) worst(figure string) (most time.Duration) {
	for _, times := range s.times[figure] {
		most = max(most, times.median())
	}
	return most
}

// rolled are the questions whose answers come from roll-ups, of the hours that have
// samples, too. The first and last are left out: never is a whole day among them.
func (l *lab) rolled() (all []question) {
	for _, m := range measured() {
		all = append(all, question{metric: m, agg: "all-pod", from: l.world.raw.Add(time.Hour), to: l.world.closed})
	}
	return all
}

// fromSamples answers a question from samples: in pieces that have no whole hour in
// them, put together.
func (s *server) fromSamples(ctx context.Context, q question) (map[string]*total, error) {
	all := map[string]*total{}
	piece := q
	piece.to = q.from.Add(time.Hour - resolution)
	for {
		rows, _, err := s.ask(ctx, piece)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			key := rows[i].key()
			if all[key] == nil {
				all[key] = &total{max: math.Inf(-1)}
			}
			if err := all[key].add(&rows[i]); err != nil {
				return nil, err
			}
		}
		if piece.to.Equal(q.to) {
			return all, nil
		}
		piece.from, piece.to = piece.to, piece.to.Add(time.Hour)
		if piece.to.After(q.to) {
			piece.to = q.to
		}
	}
}

// total is rows of the same group put together.
type total struct {
	samples            int64
	sum, integral, max float64
}

func (t *total) add(r *row) error {
	sum, err := r.Sum.Float64()
	most, errMax := r.Max.Float64()
	t.samples += r.Samples
	t.sum += sum
	t.integral += r.Integral
	t.max = max(t.max, most)
	return errors.Join(err, errMax)
}

// compare returns the greatest deviation of rows from what samples come to.
func compare(rows []row, raw map[string]*total) (greatest float64, err error) {
	if len(rows) != len(raw) {
		return math.Inf(1), nil
	}
	for i := range rows {
		want := raw[rows[i].key()]
		if want == nil {
			return math.Inf(1), nil
		}
		got := total{max: math.Inf(-1)}
		if err := got.add(&rows[i]); err != nil {
			return 0, err
		}
		greatest = max(greatest, deviation(got.sum, want.sum), deviation(got.integral, want.integral), deviation(got.max, want.max),
			deviation(float64(got.samples), float64(want.samples)), deviation(rows[i].Mean, want.sum/float64(want.samples)))
	}
	return greatest, nil
}

// deviate compares answers from roll-ups with those from samples.
func (l *lab) deviate(ctx context.Context, server *server, s *side) error {
	for _, q := range l.rolled() {
		rows, _, err := server.ask(ctx, q)
		if err != nil {
			return err
		}
		raw, err := server.fromSamples(ctx, q)
		if err != nil {
			return err
		}
		greatest, err := compare(rows, raw)
		if err != nil {
			return err
		}
		s.deviation = max(s.deviation, greatest)
	}
	return nil
}

// findPlanted makes a roll-up wrong and says whether the comparison finds that. The
// server may be another one afterwards.
func (l *lab) findPlanted(ctx context.Context, s **server, d *filled) (bool, error) {
	if d.exclusive {
		(*s).stop()
	}
	if err := d.plant(ctx, l.world); err != nil {
		return false, err
	}
	if d.exclusive {
		again, err := l.serve(ctx, d.name, d.args...)
		if err != nil {
			return false, err
		}
		*s = again
	}
	q := l.rolled()[0]
	rows, _, err := (*s).ask(ctx, q)
	if err != nil {
		return false, err
	}
	raw, err := (*s).fromSamples(ctx, q)
	if err != nil {
		return false, err
	}
	greatest, err := compare(rows, raw)
	return greatest > aimDeviation, err
}
