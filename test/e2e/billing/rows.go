package main

import (
	"context"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// body is the question as the API wants it, of one cluster.
func (q *question) body(s *story) map[string]any {
	fields := map[string]any{
		"cluster": s.cluster, "timeBeginInterval": q.from.Format(time.RFC3339Nano), "timeEndInterval": q.to.Format(time.RFC3339Nano),
	}
	for name, value := range map[string]string{"agg": q.agg, "namespace": q.namespace, "level": q.level} {
		if value != "" {
			fields[name] = value
		}
	}
	if len(q.exclude) > 0 {
		fields["excludeNamespaces"] = q.exclude
	}
	return fields
}

// String names the question in messages.
func (q *question) String() string {
	text := fmt.Sprintf("%s %s %s %s", q.metric, q.agg, q.namespace, q.level)
	return strings.Join(strings.Fields(text), " ") + " [" + q.from.Format("2006-01-02 15:04:05") + ", " + q.to.Format("2006-01-02 15:04:05") + ")"
}

// checkRows asks, and compares every figure of the answer with the truth.
func checkRows(ctx context.Context, c *checker, a *asker, s *story, q question) {
	name := s.cluster + " " + q.String()
	got, err := a.want(ctx, "/api/"+q.metric, q.body(s))
	var rows []row
	if err == nil {
		err = decode(got.body, &rows)
	}
	if err != nil {
		c.ok(name, err)
		return
	}
	c.is(name+": Krm-Interval", got.header.Get("Krm-Interval"), "["+q.from.UTC().Format(time.RFC3339Nano)+", "+q.to.UTC().Format(time.RFC3339Nano)+")")
	truth := s.rows(q)
	c.is(name+": rows", len(rows), len(truth))
	for i := range rows {
		r := &rows[i]
		key := rowKey{r.Namespace, r.Pod, r.UID, r.Resource, r.Level}
		want := truth[key]
		if want == nil {
			c.count(false, "%s: there is a row of %v, which should not be", name, key)
			continue
		}
		delete(truth, key)
		checkRow(c, name+": "+key.String(), s, &q, r, want)
	}
	for key := range truth {
		c.count(false, "%s: the row of %v is missing", name, key)
	}
}

func checkRow(c *checker, name string, s *story, q *question, r *row, want *sums) {
	unit, integralUnit := unitOf(q.metric)
	c.count(r.Time.Equal(q.from), "%s: time: %v", name, r.Time)
	c.is(name+": cluster", r.Cluster, s.cluster)
	c.is(name+": units", r.Unit+" "+r.IntegralUnit, unit+" "+integralUnit)
	c.whole(name+": sum", r.Sum, want.sum)
	c.whole(name+": max", r.Max, want.most)
	c.whole(name+": samples", r.Samples, want.samples)
	c.whole(name+": expected", r.Expected, want.expected)
	c.nearest(name+": coverage", r.Coverage, big.NewRat(want.samples, want.expected))
	c.nearest(name+": mean", r.Mean, big.NewRat(want.sum, want.samples))
	if isCounter(q.metric) {
		c.whole(name+": increase", r.Integral, want.rise)
	} else {
		c.nearest(name+": integral", r.Integral, s.integral(q.metric, want))
	}
}

// checkPoints asks for single samples and compares each one.
func checkPoints(ctx context.Context, c *checker, a *asker, s *story, q question, limit int) {
	name := s.cluster + " points of " + q.String() + " limit " + strconv.Itoa(limit)
	body := q.body(s)
	body["limit"] = limit
	got, err := a.want(ctx, "/api/"+q.metric, body)
	var rows []row
	if err == nil {
		err = decode(got.body, &rows)
	}
	if err != nil {
		c.ok(name, err)
		return
	}
	truth, total := s.points(q)
	if limit > 0 {
		total = min(total, limit)
	}
	c.is(name+": how many", len(rows), total)
	last := q.to
	for i := range rows {
		r := &rows[i]
		c.count(!r.Time.After(last), "%s: %v comes after %v, want the newest first", name, r.Time, last)
		last = r.Time
		key := pointKey{r.Time.UnixNano(), r.Namespace, r.Pod, r.Container, r.Node, r.Resource + r.GPU}
		want, known := truth[key]
		c.count(known, "%s: there is a point of %v, which should not be", name, key)
		if known {
			c.nearest(fmt.Sprintf("%s: the point of %v", name, key), r.Value, new(big.Rat).SetInt64(want))
			delete(truth, key)
		}
	}
}

type pointKey struct {
	at                                        int64
	namespace, pod, container, node, resource string
}

// points is the truth of an answer without agg.
func (s *story) points(q question) (map[pointKey]int64, int) {
	level := q.level
	if level == "" {
		level = container
		switch {
		case strings.HasPrefix(q.metric, "network/"):
			level = podLevel
		case strings.Contains(q.metric, "/node_"):
			level = nodeLevel
		}
	}
	points := map[pointKey]int64{}
	for _, one := range s.series {
		if one.metric != q.metric || one.level != level || level != nodeLevel && level != cluster && one.namespace != q.namespace {
			continue
		}
		for _, p := range s.sampled(one, s.window(q.from), s.window(q.to)) {
			for k := p.from; k < p.to; k++ {
				key := pointKey{at: s.time(k).UnixNano(), namespace: one.namespace, container: one.container, node: one.node, resource: one.resource}
				if one.pod != nil {
					key.pod = one.pod.name
				}
				points[key] = p.at(k)
				if one.count != nil {
					points[key] = one.count.at(k)
				}
			}
		}
	}
	return points, len(points)
}
