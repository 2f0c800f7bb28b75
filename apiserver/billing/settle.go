package billing

import (
	"context"
	"fmt"
	"math/big"
	"strings"

	"github.com/kubernetes-resource-monitor/krm/internal/metricdb"
	"github.com/kubernetes-resource-monitor/krm/internal/metricdb/lifetime"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// podID tells pods apart: names are used again. Claims to storage have no pod, and
// their own UID.
type podID struct{ cluster, namespace, pod, uid string }

func podOf(t metricdb.Tags) podID {
	return podID{t.Get(metricdb.TagCluster), t.Get(metricdb.TagNamespace), t.Get(metricdb.TagPod), t.Get(metricdb.TagPodID)}
}

// settle turns what was read into what is billed: with the lives of pods, which know
// to the millisecond what was requested and how long.
func (b *books) settle() {
	seen := map[podID]bool{}
	for key, e := range b.entries {
		longest(e.amounts[gpuTime], e.gpuRows)
		e.amounts[podTime].Set(e.presence)
		seen[key.podID] = true
	}
	for id, l := range b.lives {
		lived := l.Held(b.asked.from, b.asked.to, b.until)
		if lived <= 0 {
			continue
		}
		e := b.entry(entryKey{podID: id})
		e.amounts[podTime].SetInt64(int64(lived))
		requested := l.Requested(b.asked.from, b.asked.to, b.until)
		switch {
		case !seen[id]:
			e.estimate(&requested)
		case b.asked.by != "container":
			e.exact(columnsOf(0), requested.CPU)
			e.exact(columnsOf(1), requested.Memory)
			longest(e.amounts[gpuTime], requested.GPU)
		}
	}
}

// estimate is for pods that no scrape saw: they are billed what they requested while
// they lived, and are taken to have used it.
func (e *entry) estimate(requested *lifetime.Sums) {
	e.estimated = true
	for i, m := range columnsOf(0) {
		e.amounts[m].Set(requested.CPU)
		e.amounts[columnsOf(1)[i]].Set(requested.Memory)
	}
	e.amounts[gpuTime].Set(requested.GPU)
}

// exact replaces what samples say of a pod's requests. What was not sampled of its life
// is billed as requested; what is billed is never less than what is used.
func (e *entry) exact(columns [3]amount, requested *big.Int) {
	used, sampled, billed := e.amounts[columns[0]], e.amounts[columns[1]], e.amounts[columns[2]]
	billed.Add(billed, requested).Sub(billed, sampled)
	sampled.Set(requested)
	longest(billed, used)
}

// claims adds what was claimed of storage.
func (b *books) claims(ctx context.Context, db metricdb.DB) error {
	all, err := lifetime.Claims(ctx, db, b.asked.from, b.asked.to, onlyOf(b.asked.cluster)...)
	if err != nil {
		return fmt.Errorf("read claims to storage: %w", err)
	}
	for i := range all {
		c := &all[i]
		if requested := c.Requested(b.asked.from, b.asked.to, b.until); requested.Sign() > 0 {
			e := b.entry(entryKey{podID: podID{cluster: c.Tags.Get(metricdb.TagCluster), namespace: c.Tags.Get(metricdb.TagNamespace), uid: c.UID()}})
			e.addAmount(claimsRequested, requested)
			e.joined = c.Tags.Get(metricdb.TagLabels)
		}
	}
	return nil
}

// label gives every entry its labels, where they matter, and its cost.
func (a *API) label(ctx context.Context, b *books) error {
	if b.asked.tariff == nil && b.asked.by != "label" {
		return nil
	}
	joined, err := a.joinedLabels(ctx, b)
	if err != nil {
		return err
	}
	for key, e := range b.entries {
		if key.pod != "" {
			e.joined = joined[key.podID]
		}
		e.labels = splitLabels(e.joined, a.options.LabelSeparator)
		if b.asked.tariff != nil {
			e.cost = b.asked.tariff.cost(&e.amounts, key.cluster, key.namespace, e.labels)
		}
	}
	return nil
}

// joinedLabels are the labels of each pod: as the event log has them, else as the
// last in order among those of its samples.
func (a *API) joinedLabels(ctx context.Context, b *books) (map[podID]string, error) {
	joined := map[podID]string{}
	known := true
	for key := range b.entries {
		l := b.lives[key.podID]
		known = known && (key.pod == "" || l != nil && l.Tags.Get(metricdb.TagLabels) != "")
	}
	if !known {
		groups, _, err := b.past.Answer(ctx, "memory/request", metrics.Pod, metricdb.Grouping{
			By: []string{metricdb.TagCluster, metricdb.TagNamespace, metricdb.TagPod, metricdb.TagPodID, metricdb.TagLabels}, Span: true,
		})
		if err != nil {
			return nil, err
		}
		for i := range groups {
			joined[podOf(groups[i].Tags)] = groups[i].Tags.Get(metricdb.TagLabels)
		}
	}
	for id, l := range b.lives {
		if labels := l.Tags.Get(metricdb.TagLabels); labels != "" {
			joined[id] = labels
		}
	}
	return joined, nil
}

func splitLabels(joined, separator string) map[string]string {
	labels := map[string]string{}
	for part := range strings.SplitSeq(joined, separator) {
		if key, value, ok := strings.Cut(part, ":"); ok {
			labels[key] = value
		}
	}
	return labels
}
