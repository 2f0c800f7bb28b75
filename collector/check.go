package collector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/kubernetes-resource-monitor/krm/collector/objects"
	"github.com/kubernetes-resource-monitor/krm/collector/source"
)

// Check tries every node of a cluster once, and writes nothing anywhere.
type Check struct {
	cluster string
	sources []NamedSource
	objects Objects
	options Options
}

// NewCheck returns the Check of what a Pipeline would do.
func NewCheck(cluster string, sources []NamedSource, objects Objects, options Options) *Check {
	return &Check{cluster: cluster, sources: sources, objects: objects, options: options}
}

// Cluster is the name of the cluster.
func (c *Check) Cluster() string { return c.cluster }

// finding is what came of one node and source.
type finding struct {
	node, source, url string
	target            source.Target
	took              time.Duration
	sets              int
	err, missing      error
}

// Run asks every node, and prints a table of what works. It waits for the cluster's
// objects until ctx ends. It returns an error if there are no nodes, or if one failed.
func (c *Check) Run(ctx context.Context, out io.Writer) error {
	for slices.Contains(c.objects.Unsynced(), "nodes") {
		if sleep(ctx, look) != nil {
			return fmt.Errorf("cluster %s: its nodes are not known: run \"krm streamer\" and \"krm aggregator\" for nodes, pods and namespaces, or name a kubeconfig in --source", c.cluster)
		}
	}
	findings := c.plan()
	slots := make(chan struct{}, 32)
	var group sync.WaitGroup
	for _, f := range findings {
		if f.err != nil {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			c.try(ctx, f)
		})
	}
	group.Wait()
	return c.print(out, findings)
}

func (c *Check) plan() (findings []*finding) {
	c.objects.Read(func(look *objects.View) {
		for _, n := range look.Nodes() {
			if !c.options.Shard.Owns(n.Name) {
				continue
			}
			for i, s := range c.sources {
				target, err := s.Target(n)
				if errors.Is(err, source.ErrNothing) {
					continue
				}
				findings = append(findings, &finding{node: n.Name, source: c.sources[i].Name, url: target.URL, target: target, err: err})
			}
		}
	})
	return findings
}

func (c *Check) try(ctx context.Context, f *finding) {
	ctx, cancel := context.WithTimeout(ctx, c.options.Schedule.Timeout)
	defer cancel()
	i := slices.IndexFunc(c.sources, func(s NamedSource) bool { return s.Name == f.source })
	began := time.Now()
	sample, err := c.sources[i].Scrape(ctx, f.target)
	f.took, f.err = time.Since(began), err
	if err == nil {
		f.sets, f.missing = len(sample.Sets), sample.Missing
		sample.Release()
	}
}

func (c *Check) print(out io.Writer, findings []*finding) error {
	failed, advice := 0, map[string]string{}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NODE\tSOURCE\tRESULT\tTOOK\tSETS\tURL")
	for _, f := range findings {
		result := "ok"
		switch {
		case f.err != nil:
			result = reason(f.err)
			failed++
			advice[f.source+" "+result] = f.err.Error()
		case f.missing != nil:
			result = "partly: " + reason(f.missing)
			advice[f.source+" "+result] = f.missing.Error()
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%v\t%d\t%s\n", f.node, f.source, result, f.took.Round(time.Millisecond), f.sets, f.url)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print what was found: %w", err)
	}
	for _, what := range slices.Sorted(maps.Keys(advice)) {
		fmt.Fprintf(out, "\n%s: %s\n", what, strings.TrimSpace(advice[what]))
	}
	switch {
	case len(findings) == 0:
		return fmt.Errorf("cluster %s has no nodes", c.cluster)
	case failed > 0:
		return fmt.Errorf("cluster %s: %d of %d did not answer as they should", c.cluster, failed, len(findings))
	}
	return nil
}
