package rollup

import (
	"context"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// stepper adds up the steps of counters over roll-ups and samples alike, set by set
// in the order of time. Nothing is lost at a seam, however long the gap there is.
type stepper struct {
	a        *answer
	identity []string
	last     map[string]int64 // by set
}

// increases adds the increase to the groups.
func (a *answer) increases(ctx context.Context) error {
	s := &stepper{a: a, identity: metricdb.Identity(a.q.Metric, a.q.Level), last: map[string]int64{}}
	for i := range a.plan.parts { // those of one cluster by time
		p := a.plan.parts[i]
		if p.from.Equal(a.q.From) {
			before := p
			before.from, before.to = p.from.Add(-metricdb.Lookback), p.from
			if err := s.samples(ctx, &before); err != nil {
				return err
			}
		}
		read := s.samples
		switch {
		case p.span > 0 && s.a.g.Bucket == 0 && s.a.single(&p):
			read = s.cells
		case p.span > 0:
			read = s.records
		}
		if err := read(ctx, &p); err != nil {
			return err
		}
	}
	return nil
}

// samples reads a part hour by hour: pieces of a set with other tags may come in
// any order, so that an hour's are put in order first.
func (s *stepper) samples(ctx context.Context, p *part) error {
	for from := p.from; from.Before(p.to); {
		chunk := *p
		chunk.from, chunk.to = from, floorHour(from).Add(hour)
		if p.to.Before(chunk.to) {
			chunk.to = p.to
		}
		pieces := map[string][]piece{}
		for run, err := range s.a.v.db.Runs(ctx, chunk.query(s.a.q), s.a.g.By...) {
			if err != nil {
				return err
			}
			set := run.Tags.Only(s.identity).Key()
			pieces[set] = append(pieces[set], piece{run: run})
		}
		for set, some := range pieces {
			eachSample(some, func(p *piece, at, bits int64) {
				s.step(set, p.run.Tags, at, metricdb.Value{Bits: bits, Float: p.run.Float})
			})
		}
		from = chunk.to
	}
	return nil
}

// step takes a set's next value.
func (s *stepper) step(set string, tags metricdb.Tags, at int64, v metricdb.Value) {
	before, ok := s.last[set]
	s.last[set] = v.Bits
	if ok && at >= s.a.q.From.UnixNano() {
		s.rise(tags, at, rise(before, v.Bits, v.Float), v.Float)
	}
}

func (s *stepper) rise(tags metricdb.Tags, at, by int64, float bool) {
	group := s.a.group(tags.Only(s.a.fine), time.Unix(0, at))
	group.increase.add(by, float)
}

// records reads a part's roll-ups. Of one hour all heads come before all tails.
func (s *stepper) records(ctx context.Context, p *part) error {
	type tail struct {
		set   string
		value int64
	}
	var tails []tail
	var open time.Time
	settle := func() {
		for _, t := range tails {
			s.last[t.set] = t.value
		}
		tails = tails[:0]
	}
	fields := []string{"inner", "head", "tail", "ends"}
	for r, err := range s.a.v.db.Records(ctx, p.records(s.a.q, fields)) {
		if err != nil {
			return err
		}
		if !r.Time.Equal(open) {
			settle()
			open = r.Time
		}
		tags := sampleTags(r.Tags, s.a.fine)
		set, at, ends := tags.Only(s.identity).Key(), r.Time.UnixNano(), r.Int("ends")
		if inner, ok := r.Get("inner"); ok {
			s.rise(tags, at, inner.Bits, inner.Float)
		}
		if head, _ := r.Get("head"); ends&hasHead != 0 {
			if before, ok := s.last[set]; ok {
				s.rise(tags, at, rise(before, head.Bits, head.Float), head.Float)
			}
		}
		if ends&hasTail != 0 {
			tails = append(tails, tail{set, r.Int("tail")})
		}
	}
	settle()
	return nil
}

// cells reads a part's roll-ups put together.
func (s *stepper) cells(ctx context.Context, p *part) error {
	cells, err := s.a.cellsOf(ctx, p, s.a.need())
	if err != nil {
		return err
	}
	for _, c := range cells {
		tags := c.tags.Only(s.a.fine)
		s.a.group(tags, p.from).increase.addSum(&c.inner)
		if before, ok := s.last[tags.Only(s.identity).Key()]; ok && c.head != nil {
			s.rise(tags, p.from.UnixNano(), rise(before, *c.head, c.float), c.float)
		}
	}
	for _, c := range cells {
		if c.tail != nil {
			s.last[c.tags.Only(s.identity).Key()] = *c.tail
		}
	}
	return nil
}
