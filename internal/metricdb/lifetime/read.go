package lifetime

import (
	"cmp"
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
)

// Pods returns the pods that were there at any moment of [from, to) and had a node, by
// cluster, namespace, name, and creation. where may name the tags of their records. It reads what was
// written of the first day, and what changed up to to: its cost does not grow with
// the years before.
func Pods(ctx context.Context, db metricdb.DB, from, to time.Time, where ...metricdb.Match) ([]Life, error) {
	return pods.read(ctx, db, from, to, where)
}

// part is what is read of a cluster.
type part struct {
	where      []metricdb.Match
	begin, end time.Time // of sets and changes
	day        time.Time // whose records say who was there; zero if there are none
}

// parts says what must be read to know who was there in [from, to). Who was created
// before the day began is told by a record of that day. Days that are not written yet are
// told by the last one that is, and what came after it; the time before the
// first one by the first.
func (s *kind) parts(ctx context.Context, db metricdb.DB, from, to time.Time, where []metricdb.Match) ([]part, error) {
	places, err := s.places(ctx, db, where)
	if err != nil {
		return nil, err
	}
	begin := from.UTC().Truncate(day)
	if len(places) == 0 { // nobody followed: there may be records all the same
		return []part{{where: where, begin: time.Unix(0, 0), end: to}}, nil
	}
	var parts []part
	for _, p := range places {
		part := part{begin: begin, end: to, day: begin, where: slices.Clone(where)}
		part.where = append(part.where, metricdb.Is(metricdb.TagCluster, p.cluster))
		if begin.After(p.day) {
			part.begin, part.day = p.day, p.day
		}
		if begin.Before(p.first) {
			part.day = p.first
			if last := p.first.Add(day); last.After(to) {
				part.end = last
			}
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// read returns the lives that were there at any moment of [from, to).
func (s *kind) read(ctx context.Context, db metricdb.DB, from, to time.Time, where []metricdb.Match) ([]Life, error) {
	parts, err := s.parts(ctx, db, from, to, where)
	if err != nil {
		return nil, err
	}
	known := map[string]*Life{}
	for _, p := range parts {
		if err := s.readPart(ctx, db, p, known); err != nil {
			return nil, err
		}
	}
	all := make([]Life, 0, len(known))
	for _, l := range known {
		if l.Created.Before(to) && (l.Deleted.IsZero() || l.Deleted.After(from)) {
			l.Requests = told(l.Requests, to)
			if n := len(l.Requests); n > 0 {
				l.setAmounts(l.Requests[n-1].Amounts)
			}
			all = append(all, *l)
		}
	}
	slices.SortFunc(all, func(a, b Life) int {
		for _, tag := range []string{metricdb.TagCluster, metricdb.TagNamespace, s.tagName} {
			if c := cmp.Compare(a.Tags.Get(tag), b.Tags.Get(tag)); c != 0 {
				return c
			}
		}
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(s.uid(&a), s.uid(&b)))
	})
	return all, nil
}

// readPart adds what records of a part say. Of two that are of the same time, a
// change is the newer.
func (s *kind) readPart(ctx context.Context, db metricdb.DB, p part, known map[string]*Life) error {
	queries := []metricdb.RecordQuery{
		{Set: s.set, From: p.begin, To: p.end},
		{Set: s.days, From: p.day, To: p.day.Add(1)},
		{Set: s.changes, From: p.begin, To: p.end},
	}
	found := make([][]*Life, len(queries))
	g, ctx := errgroup.WithContext(ctx)
	for i, q := range queries {
		if q.From.IsZero() {
			continue
		}
		q.Fields, q.Where = s.names(), p.where
		g.Go(func() error {
			for r, err := range db.Records(ctx, q) {
				if err != nil {
					return err
				}
				found[i] = append(found[i], s.life(&r))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, l := range slices.Concat(found...) {
		key := s.key(l)
		was := known[key]
		if was == nil {
			known[key] = l
			continue
		}
		was.merge(l)
		was.Requests = append(was.Requests, l.Requests...)
		if len(l.Tags) > len(was.Tags) {
			was.Tags = l.Tags
		}
	}
	return nil
}

// told sorts what was told of requests, and returns that of before to: each other than
// the one before. Of the same time the last one counts.
func told(all []Request, to time.Time) []Request {
	slices.SortStableFunc(all, func(a, b Request) int { return a.Since.Compare(b.Since) })
	kept := all[:0]
	for i, r := range all {
		n := len(kept)
		switch {
		case i+1 < len(all) && all[i+1].Since.Equal(r.Since):
		case n > 0 && (!r.Since.Before(to) || kept[n-1].Amounts == r.Amounts):
		default:
			kept = append(kept, r)
		}
	}
	return kept
}
