package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// tell tells all stories: the databases at the same time, each with a krm of its own, and
// beside them what needs neither.
func tell(ctx context.Context, st *stage, r *result) error {
	var sides []*side
	if err := st.plantCanary(ctx); err != nil {
		return err
	}
	for _, name := range st.cfg.databases {
		s, err := newSide(st, name)
		if err != nil {
			return err
		}
		sides = append(sides, s)
	}
	if len(st.cfg.parts) == 1 && st.cfg.has(partFaults) {
		sides = nil
	}
	g, inner := errgroup.WithContext(ctx)
	for _, s := range sides {
		g.Go(func() error {
			if err := s.tell(inner, r); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.databases = append(r.databases, s.name)
			return nil
		})
	}
	if st.cfg.has(partStarts) {
		g.Go(func() error {
			return r.part(inner, st, "logs", func(c *checker) error { logsPart(inner, c, st); return nil })
		})
	}
	if st.cfg.has(partFaults) { // on a server of its own
		g.Go(func() error {
			return r.part(inner, st, "faults", func(c *checker) error { return faultsPart(inner, c, st) })
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if len(sides) == 2 && st.cfg.has(partFigures) {
		c := &checker{}
		n := sides[0].api.kept.alike(c, sides[1].api.kept)
		r.take(c)
		st.say("both databases were asked %d equal questions: %d answers differ", n, len(c.wrong))
	}
	return nil
}

// part runs a part and says what it found.
func (r *result) part(_ context.Context, st *stage, name string, run func(*checker) error) error {
	began, c := time.Now(), &checker{}
	err := run(c)
	r.take(c)
	st.say("%s: %d figures, %d wrong, %.1f s", name, c.figures, len(c.wrong), time.Since(began).Seconds())
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// tell is the story of one database.
func (s *side) tell(ctx context.Context, r *result) error {
	for _, step := range []struct {
		name string
		part string // "" is always
		run  func() error
	}{
		{"write", "", func() error { return s.write(ctx) }},
		{"start", "", func() error { return s.start(ctx) }},
		{"roll up", "", func() error { return s.folded(ctx, 4*time.Minute) }},
		{"before what is late", partFigures, func() error { return s.figures(ctx, r, "before what is late", 12, 13) }},
		{"late", "", func() error { return s.late(ctx) }},
		{"at once", partFigures, func() error { return s.figures(ctx, r, "at once", 2, 12, 13) }},
		{"requests", partRequests, func() error { return s.requests(ctx, r) }},
		{"injections", partInjections, func() error { return s.timed("injections", func() error { return injectionsPart(ctx, s, r) }) }},
		{"planted", partPlanted, func() error { return s.plant(ctx, r) }},
		{"fold", "", func() error { return s.folded(ctx, 4*time.Minute) }},
		{"figures", partFigures, func() error { return s.everything(ctx, r) }},
		{"clients", partReports, func() error {
			if !s.first() { // both answer alike, to the byte
				return nil
			}
			return r.part(ctx, s.stage, s.name+": krm bill and the client", func(c *checker) error { clientsPart(ctx, c, s); return ctx.Err() })
		}},
		{"restart", partFigures, func() error { return s.again(ctx, r) }},
		{"starts", partStarts, func() error {
			if s.name != influx {
				return nil
			}
			return r.part(ctx, s.stage, "starts", func(c *checker) error { return startsPart(ctx, c, s) })
		}},
		{"end", "", s.stop},
	} {
		if step.part != "" && !s.cfg.has(step.part) {
			continue
		}
		if err := step.run(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return ctx.Err()
}

func (s *side) timed(name string, run func() error) error {
	began := time.Now()
	err := run()
	s.say("%s: %s, %.1f s", s.name, name, time.Since(began).Seconds())
	return err
}

// late writes what was left out: into InfluxDB beside krm; the file of the embedded
// database belongs to the process, which has to end for that.
func (s *side) late(ctx context.Context) error {
	if s.name == influx {
		return s.writeLate(ctx)
	}
	return s.restart(ctx, s.writeLate)
}

// figures asks about some intervals of the recent story.
func (s *side) figures(ctx context.Context, r *result, when string, intervals ...int) error {
	return r.part(ctx, s.stage, s.name+": "+when, func(c *checker) error {
		all := s.recent.intervals()
		for _, n := range intervals {
			for _, q := range s.recent.questions() {
				if q.from.Equal(all[n].from) && q.to.Equal(all[n].to) && (q.agg != "all-pod" || q.metric == "cpu/usage_rate") {
					checkRows(ctx, c, s.api, s.recent, q)
				}
			}
		}
		checkReport(ctx, c, s.api, s.recent, reportQuestion{by: "pod", from: all[13].from, to: all[13].to}, folding)
		return ctx.Err()
	})
}

// first says whether this is the database that what does not depend on it is tried with.
func (s *side) first() bool { return s.name == s.cfg.databases[0] }

// requests goes through the table, once: the databases have no part in it.
func (s *side) requests(ctx context.Context, r *result) error {
	if !s.first() {
		return nil
	}
	return s.timed("requests", func() error { requestsPart(ctx, s, r); return ctx.Err() })
}

// plant has the comparison find what is counted twice, on every database.
func (s *side) plant(ctx context.Context, r *result) error {
	err := s.timed("planted", func() error { return plantedPart(ctx, s) })
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		r.planted = "missed"
		r.faults = append(r.faults, fmt.Sprintf("%s: planted: %v", s.name, err))
	case r.planted == "":
		r.planted = "found"
	}
	return ctx.Err()
}

// everything asks all questions about the stories that are over, and keeps the answers.
func (s *side) everything(ctx context.Context, r *result) error {
	s.api.kept = newKeeper()
	for _, of := range []*story{s.recent, s.month} {
		err := r.part(ctx, s.stage, s.name+": "+of.cluster, func(c *checker) error { return figuresPart(ctx, c, s.api, of) })
		if err == nil && s.cfg.has(partReports) {
			err = r.part(ctx, s.stage, s.name+": "+of.cluster+": reports", func(c *checker) error { return reportsPart(ctx, c, s.api, of) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// again asks the same of the same process, and of another one: the bytes must be the same.
func (s *side) again(ctx context.Context, r *result) error {
	return r.part(ctx, s.stage, s.name+": again, and after a restart", func(c *checker) error {
		same := *s.api
		same.kept = nil
		err := s.api.kept.again(ctx, c, "once more", &same, 7)
		if err == nil {
			err = s.restart(ctx, nil)
		}
		if err == nil {
			err = process.Pause(ctx, time.Second)
		}
		if err == nil {
			err = s.api.kept.again(ctx, c, "after a restart", &same, 4)
		}
		return err
	})
}
