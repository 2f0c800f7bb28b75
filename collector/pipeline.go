package collector

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/collector/process"
	"github.com/kubernetes-resource-monitor/krm/collector/sink"
	"github.com/kubernetes-resource-monitor/krm/collector/source"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Source asks nodes. collector/source implements it.
type Source interface {
	// Target says where a node is asked. It returns source.ErrNothing of a node that the
	// source has nothing of.
	Target(node *objects.Node) (source.Target, error)
	// Scrape asks a node once, until ctx ends.
	Scrape(ctx context.Context, target source.Target) (*source.Sample, error)
}

// NamedSource is a source and what logs and metrics call it.
type NamedSource struct {
	Name string
	Source
}

// Objects are the cluster's nodes, pods and namespaces. collector/objects implements it.
type Objects interface {
	Read(look func(*objects.View))
	// Unsynced names the resources that have not been read yet.
	Unsynced() []string
}

// Sinks are where batches go. collector/sink implements it.
type Sinks interface {
	// Put takes a sealed batch; it does not wait.
	Put(b *metrics.Batch)
	// Tenure says whether we are to work.
	Tenure() sink.Tenure
}

// Options say how a Pipeline works. The zero value is the default.
type Options struct {
	Schedule Schedule // of 30 s
	Shard    Shard
	Parallel int // questions at a time, without those that only wait; default 500
	Labels   process.LabelOptions
	Metrics  *Metrics // nil: measured but not registered
	Health   *Health  // nil: nobody asks
}

const (
	// patience is how long the first window waits for what enrichment needs.
	patience = 10 * time.Second
	// look is how often a pipeline that cannot work looks whether it can.
	look = 200 * time.Millisecond
)

// Pipeline collects the metrics of one cluster, or of a shard of its nodes.
type Pipeline struct {
	cluster string
	sources []NamedSource
	objects Objects
	sinks   Sinks
	options Options
	metrics *Metrics
	log     *slog.Logger

	// What follows is Run's.
	ledger   *metrics.Ledger
	last     *metrics.Batch // the newest batch that was finished, sealed
	tenure   int
	nodes    map[string]*node // that were there in the newest round
	round    *round           // the newest one, which may still ask
	reporter *reporter
}

// New makes a Pipeline. The first of sources, of which there must be one, decides
// whether a node has metrics; the others add to it.
func New(cluster string, sources []NamedSource, objects Objects, sinks Sinks, options Options, log *slog.Logger) *Pipeline {
	if options.Schedule.Resolution == 0 {
		options.Schedule = NewSchedule(30*time.Second, 0, 0)
	}
	if options.Metrics == nil {
		options.Metrics = NewMetrics(nil)
	}
	options.Parallel = cmp.Or(options.Parallel, 500)
	options.Health.expect(cluster)
	log = log.With("cluster", cluster)
	return &Pipeline{
		cluster: cluster, sources: sources, objects: objects, sinks: sinks, options: options, metrics: options.Metrics, log: log,
		ledger: metrics.NewLedger(sink.Remembered), reporter: newReporter(log),
	}
}

// Run collects until ctx ends, and then returns nil. It begins with the window that has
// just ended, as soon as nodes are known. A Pipeline runs once.
func (p *Pipeline) Run(ctx context.Context) error {
	defer func() { p.round.finish() }()
	if p.awaitObjects(ctx) != nil {
		return nil
	}
	schedule := p.options.Schedule
	var last time.Time
	for {
		end, missed := schedule.First(time.Now()), 0
		if !last.IsZero() {
			end, missed = schedule.Next(last, time.Now())
		}
		if sleep(ctx, time.Until(schedule.Start(end))) != nil {
			return nil
		}
		last = end
		tenure := p.sinks.Tenure()
		p.metrics.standby(p.cluster, tenure.Standby)
		p.options.Health.standby(p.cluster, tenure.Standby)
		if tenure.Standby {
			continue
		}
		if missed > 0 {
			p.metrics.missed(p.cluster, missed)
			p.log.Warn("windows were missed: was the machine asleep, or is it too busy?", "windows", missed)
		}
		if !p.resume(tenure, end) {
			continue
		}
		if p.window(ctx, end) != nil {
			return nil
		}
	}
}

// awaitObjects waits until nodes are known, and a little for pods and namespaces.
func (p *Pipeline) awaitObjects(ctx context.Context) error {
	for begun := time.Now(); ; {
		missing, tenure := p.objects.Unsynced(), p.sinks.Tenure()
		complete := len(missing) == 0 && (tenure.Number > 0 || tenure.Standby)
		if complete || !slices.Contains(missing, "nodes") && time.Since(begun) > patience {
			return nil
		}
		if err := sleep(ctx, look); err != nil {
			return err
		}
	}
}

// resume goes on from the batch of the collector before us, at the beginning of a
// tenure. It returns false if that one has served the window already.
func (p *Pipeline) resume(tenure sink.Tenure, end time.Time) bool {
	if tenure.Number == p.tenure {
		return true
	}
	base := tenure.Base
	if base != nil && !base.Time.Before(end) && base.Time.Sub(end) < 2*p.options.Schedule.Resolution {
		return false
	}
	p.tenure = tenure.Number
	if base != nil && base.Time.Before(end) && end.Sub(base.Time) < sink.Remembered {
		p.ledger, p.last = tenure.Ledger, base
	}
	return true
}

// window serves the window that ended at end. Its error is ctx's.
func (p *Pipeline) window(ctx context.Context, end time.Time) error {
	p.round.finish()
	p.round = p.plan()
	p.round.start(ctx)
	b := p.ledger.Begin(p.cluster, end, p.options.Schedule.Resolution)
	b.Shard, b.Shards = p.options.Shard.Index, max(p.options.Shard.Count, 1)
	b.ScrapedAt = p.round.began.UTC()
	samples := newAssembly(b)
	if err := p.round.collect(ctx, samples.add); err != nil {
		return err
	}
	gathered := time.Now()
	var failed []string
	b.Nodes, failed = p.round.nodes()
	p.objects.Read(func(look *objects.View) {
		process.Complete(p.last, b, look, failed, p.options.Labels)
	})
	p.last = b
	p.metrics.finished(b, samples.sets, gathered.Sub(p.round.began), time.Since(gathered))
	p.options.Health.finished(b, samples.sets)
	p.reporter.batch(b)
	p.sinks.Put(b)
	return nil
}

// present says whether a node is there, and the same as when it was planned.
func (p *Pipeline) present(planned *objects.Node) (ok bool) {
	p.objects.Read(func(look *objects.View) {
		now := look.Node(planned.Name)
		ok = now != nil && now.UID == planned.UID
	})
	return ok
}
