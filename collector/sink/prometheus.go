package sink

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// ExpositionPath is where the newest batches are exposed.
const ExpositionPath = "/metrics/resource-model"

const (
	openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	readers     = 2 // at a time: an answer may be hundreds of megabytes
)

// Prometheus keeps the newest batch of each cluster and exposes it, as an http.Handler,
// in OpenMetrics format. It takes batches of all clusters.
type Prometheus struct {
	mu     sync.Mutex
	newest map[string]*metrics.Batch
	slots  chan struct{}
}

// NewPrometheus returns a sink that has no batch yet.
func NewPrometheus() *Prometheus {
	return &Prometheus{newest: map[string]*metrics.Batch{}, slots: make(chan struct{}, readers)}
}

// Run does nothing.
func (p *Prometheus) Run(context.Context) error { return nil }

// Write keeps b until the cluster's next batch.
func (p *Prometheus) Write(_ context.Context, b *metrics.Batch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest[b.Cluster] = b
	return nil
}

// ServeHTTP writes the newest batches. Values are of the moment when they were
// measured; krm_batch_timestamp_seconds tells which window that was.
func (p *Prometheus) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "others are reading the model: try again", http.StatusServiceUnavailable)
		return
	}
	p.mu.Lock()
	newest := maps.Clone(p.newest)
	p.mu.Unlock()
	w.Header().Set("Content-Type", openMetrics)
	w.Header().Set("Vary", "Accept-Encoding")
	var to io.Writer = w
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		packed, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // the level is known
		defer func() { _ = packed.Close() }()               // the client has gone, if anything
		to = packed
	}
	_ = Expose(r.Context(), to, newest) // as above
}

// Expose writes batches, by cluster, in OpenMetrics format. Of a large cluster that is
// hundreds of megabytes; they are written as they are made.
func Expose(ctx context.Context, to io.Writer, newest map[string]*metrics.Batch) error {
	e := &exposition{ctx: ctx, to: bufio.NewWriterSize(to, 256<<10), families: map[string]*exposed{}}
	e.batchTimes(newest)
	for _, cluster := range slices.Sorted(maps.Keys(newest)) {
		e.collect(newest[cluster])
	}
	for _, name := range slices.Sorted(maps.Keys(e.families)) {
		if err := e.write(e.families[name]); err != nil {
			return err
		}
	}
	_, _ = e.to.WriteString("# EOF\n") // Flush tells
	if err := e.to.Flush(); err != nil {
		return fmt.Errorf("expose the model: %w", err)
	}
	return nil
}

// exposition is one answer in the making.
type exposition struct {
	ctx      context.Context
	to       *bufio.Writer
	families map[string]*exposed
	line     []byte
}

// exposed is a family with the columns that hold it.
type exposed struct {
	family
	help    string
	columns []exposedColumn
}

type exposedColumn struct {
	*metrics.Column
	table   *metrics.Table
	level   metrics.Kind // of the rows that belong to the family: a labelled table has rows of several
	labels  []string     // of the table's rows
	divisor float64
	label   string
}

func (e *exposition) batchTimes(newest map[string]*metrics.Batch) {
	const name = "krm_batch_timestamp_seconds"
	fmt.Fprintf(e.to, "# TYPE %s gauge\n# UNIT %s seconds\n# HELP %s End of the window that the newest batch is of.\n", name, name, name)
	for _, cluster := range slices.Sorted(maps.Keys(newest)) {
		fmt.Fprintf(e.to, "%s{cluster=\"%s\"} %d\n", name, escape(cluster), newest[cluster].Time.Unix())
	}
}

// collect sorts a batch's columns into families.
func (e *exposition) collect(b *metrics.Batch) {
	labels := rowLabels(b)
	for kind := range metrics.Kinds {
		t := b.Tables[kind]
		levels := []metrics.Kind{kind}
		if kind >= metrics.Levels {
			levels = []metrics.Kind{metrics.Node, metrics.Pod, metrics.Container, metrics.SystemContainer}
		}
		for _, c := range t.Columns() {
			if c.Metric.Hidden() && c.Metric.ID != metrics.PodsMissing {
				continue
			}
			for _, level := range levels {
				if c.Metric.Sums && kind >= metrics.Levels && level != metrics.Container {
					continue // in one family with their sum they would count twice; accelerator/memory_used tells of each
				}
				e.add(exposedColumn{Column: c, table: t, level: level, labels: labels[kind]})
			}
		}
	}
}

func (e *exposition) add(c exposedColumn) {
	f := familyOf(c.Metric, c.level)
	known := e.families[f.name]
	if known == nil {
		known = &exposed{family: f, help: c.Metric.Description}
		if f.label != "" {
			known.help = "Requests for extended resources"
		}
		e.families[f.name] = known
	}
	c.divisor, c.label = f.divisor, f.label
	known.columns = append(known.columns, c)
}

// write writes a family, if it has any value.
func (e *exposition) write(f *exposed) error {
	begun := false
	for _, c := range f.columns {
		for row := range c.table.Rows {
			bits, ok := c.Get(row)
			if !ok || c.table.Kind >= metrics.Levels && c.table.Entities[row].Parent.Kind != c.level {
				continue
			}
			if !begun {
				begun = true
				e.head(f)
			}
			e.sample(f, c, row, bits)
		}
		if err := e.ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (e *exposition) head(f *exposed) {
	kind := "gauge"
	if f.counter {
		kind = "counter"
	}
	fmt.Fprintf(e.to, "# TYPE %s %s\n", f.name, kind)
	if f.unit != "" {
		fmt.Fprintf(e.to, "# UNIT %s %s\n", f.name, f.unit)
	}
	fmt.Fprintf(e.to, "# HELP %s %s.\n", f.name, f.help)
}

func (e *exposition) sample(f *exposed, c exposedColumn, row metrics.Row, bits int64) {
	b := append(e.line[:0], f.name...)
	if f.counter {
		b = append(b, "_total"...)
	}
	b = append(b, '{')
	b = append(b, c.labels[row]...)
	if c.label != "" {
		b = append(append(b, ','), c.label...)
	}
	b = append(b, "} "...)
	if c.divisor == 1 && !c.Metric.Float {
		b = strconv.AppendInt(b, bits, 10)
	} else {
		b = strconv.AppendFloat(b, c.Metric.Number(bits)/c.divisor, 'g', -1, 64)
	}
	e.line = append(b, '\n')
	_, _ = e.to.Write(e.line) // Flush tells
}

// rowLabels renders the labels of every row of a batch.
func rowLabels(b *metrics.Batch) (all [metrics.Kinds][]string) {
	for kind := range metrics.Kinds {
		t := b.Tables[kind]
		all[kind] = make([]string, len(t.Entities))
		for row := range t.Rows {
			own := &t.Entities[row]
			above := all[own.Parent.Kind]
			all[kind][row] = labelsOf(b, kind, own, above)
		}
	}
	return all
}

func labelsOf(b *metrics.Batch, kind metrics.Kind, own *metrics.Entity, above []string) string {
	pair := func(key, value string) string { return "," + key + `="` + escape(value) + `"` }
	switch kind {
	case metrics.Cluster:
		return `cluster="` + escape(b.Cluster) + `"`
	case metrics.Namespace, metrics.Node:
		return above[0] + pair(levelWord(kind), own.Name)
	case metrics.Pod:
		text := above[own.Parent.Row] + pair("pod", own.Name)
		if own.Meta != nil && own.Meta.Node != "" {
			text += pair("node", own.Meta.Node)
		}
		return text
	case metrics.Container, metrics.SystemContainer:
		return above[own.Parent.Row] + pair("container", own.Name)
	}
	text := above[own.Parent.Row]
	for _, label := range metrics.SplitLabels(kind, own.Name) {
		text += pair(label.Key, label.Value)
	}
	return text
}
