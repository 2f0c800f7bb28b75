package rollup

import (
	"context"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Cover is how much of what should have been measured was.
type Cover struct {
	Samples  int64
	Expected int64 // windows that the resolution promises; never below Samples
}

// Ratio is 1 if nothing is missing, and if nothing was expected.
func (c Cover) Ratio() float64 {
	if c.Expected == 0 {
		return 1
	}
	return float64(c.Samples) / float64(c.Expected)
}

func (c *Cover) add(d Cover) { c.Samples, c.Expected = c.Samples+d.Samples, c.Expected+d.Expected }

// Coverage says how complete an answer is. Expected are the windows that end while a
// pod runs, from its start to its end as package lifetime knows them; of what it does not know,
// from the first to the last sample; of the cluster, the whole interval.
type Coverage struct {
	Cover                    // of all groups, and of pods that have no sample at all
	Each     []Cover         // of each group, as they are ordered
	Every    []time.Duration // the resolutions of the interval, ascending
	Late     int64           // hours in it that changed after they were closed
	Complete bool            // the interval is over, and all its hours are closed with all their batches
}

// coverer computes coverage for an answer.
type coverer struct {
	*answer
	lives    map[string]*lifetime.Life // by lifetime.Key
	counted  map[string]bool           // those whose pods have samples
	variants map[groupKey]int          // how many groups in the making a set has in a bucket
	identity []string
	now      time.Time
	complete bool
}

func newCoverer(a *answer) *coverer {
	return &coverer{
		answer: a, counted: map[string]bool{}, variants: map[groupKey]int{},
		identity: metricdb.Identity(a.q.Metric, a.q.Level), now: time.Now(),
	}
}

// read reads lifetimes, and whether all hours are closed.
func (c *coverer) read(ctx context.Context) error {
	if ofPods(c.q.Level) {
		found, err := c.v.readLives(ctx)
		if err != nil {
			return err
		}
		c.lives = found.by
	}
	for _, g := range c.groups {
		c.variants[groupKey{g.tags.Only(c.identity).Key(), g.bucket}]++
	}
	var err error
	c.complete, err = c.v.Complete(ctx)
	return err
}

func ofPods(level metrics.Kind) bool { return level == metrics.Pod || level == metrics.Container }

// add adds what a group in the making has, to the one that it is of.
func (c *coverer) add(to *merged, g *group) {
	cover := Cover{Samples: g.count, Expected: c.expected(g)}
	cover.Expected = max(cover.Expected, cover.Samples)
	to.cover.add(cover)
}

// needsSpans says whether some set's life is only known from its samples.
func (c *coverer) needsSpans() bool {
	for _, g := range c.groups {
		if g.unspanned && c.q.Level != metrics.Cluster && (c.variant(g) || c.life(g) == nil) {
			return true
		}
	}
	return false
}

// variant says whether a set has several groups in the making: its tags changed.
func (c *coverer) variant(g *group) bool {
	return c.variants[groupKey{g.tags.Only(c.identity).Key(), g.bucket}] > 1
}

// life is what is known of the pod that a group is of; nil if not when it ran.
func (c *coverer) life(g *group) *lifetime.Life {
	life := c.lives[lifetime.Key(g.tags)]
	if life == nil || life.Started.IsZero() {
		return nil
	}
	return life
}

func (c *coverer) expected(g *group) int64 {
	cluster := g.tags.Get(metricdb.TagCluster)
	line := c.v.lines[cluster]
	begin, end := c.q.From, c.q.To
	if c.g.Bucket > 0 {
		if at := time.Unix(0, g.bucket); at.After(begin) {
			begin = at
		}
		if at := time.Unix(0, g.bucket).Add(c.g.Bucket); at.Before(end) {
			end = at
		}
	}
	life := c.life(g)
	c.counted[lifetime.Key(g.tags)] = true
	switch {
	case c.variant(g):
		return line.windows(g.first.UnixNano(), g.last.UnixNano()+1)
	case c.q.Level == metrics.Cluster:
		return line.windows(begin.UnixNano(), min(end.UnixNano(), c.now.UnixNano()))
	case life != nil:
		return c.windows(life, begin, end)
	}
	return line.windows(g.first.UnixNano(), g.last.UnixNano()+1)
}

// windows is how many windows end while a pod runs within [begin, end).
func (c *coverer) windows(life *lifetime.Life, begin, end time.Time) int64 {
	if life.Started.After(begin) {
		begin = life.Started
	}
	over := life.Ended()
	if over.IsZero() {
		over = c.now
	}
	if over.Before(end) {
		end = over
	}
	return c.v.lines[life.Tags.Get(metricdb.TagCluster)].windows(begin.UnixNano(), end.UnixNano())
}

// coverage sums up.
func (c *coverer) coverage(groups []*merged) Coverage {
	all := Coverage{Every: c.v.every, Late: c.plan.late, Complete: c.complete}
	for _, m := range groups {
		all.Each = append(all.Each, m.cover)
		all.add(m.cover)
	}
	if d, ok := metrics.Lookup(c.q.Metric); !ofPods(c.q.Level) || ok && d.Labelled {
		return all
	}
	for key, life := range c.lives {
		if c.counted[key] || life.Started.IsZero() || !c.unseen(life) {
			continue
		}
		n := c.windows(life, c.q.From, c.q.To)
		if c.q.Level == metrics.Container {
			n *= life.Containers
		}
		all.Expected += n
	}
	return all
}

// unseen says that a pod without samples should have had some.
func (c *coverer) unseen(life *lifetime.Life) bool {
	for i := range c.q.Where {
		switch m := &c.q.Where[i]; m.Tag {
		case metricdb.TagContainer, metricdb.TagImage, metricdb.TagResource:
			return false
		case metricdb.TagType:
		default:
			if !m.Holds(life.Tags) {
				return false
			}
		}
	}
	return true
}
