package sink

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Log writes batches as text, for people: a line per set.
type Log struct {
	to io.Writer
	// Types are the kinds of sets that are written, as metrics.Kind.String has them; all
	// if there are none.
	types []string
}

// NewLog returns a sink that writes text. types are those of sets that are written
// (cluster, ns, node, pod, pod_container, sys_container); none means all.
func NewLog(to io.Writer, types []string) *Log { return &Log{to: to, types: types} }

// Run does nothing.
func (l *Log) Run(context.Context) error { return nil }

// Write writes a line for the batch and one per set, by key.
func (l *Log) Write(ctx context.Context, b *metrics.Batch) error {
	to := bufio.NewWriterSize(l.to, 64<<10)
	fmt.Fprintf(to, "batch %s cluster=%s nodes=%d\n", b.Time.Format(time.RFC3339), b.Cluster, len(b.Nodes))
	metrics.BatchView(b).Each(func(set metrics.Set) bool {
		if len(l.types) == 0 || slices.Contains(l.types, set.Key.Kind.String()) {
			writeSet(to, set)
		}
		return ctx.Err() == nil
	})
	if err := to.Flush(); err != nil {
		return fmt.Errorf("write a batch as text: %w", err)
	}
	return ctx.Err()
}

func writeSet(to *bufio.Writer, set metrics.Set) {
	var values []string
	set.Values(func(d *metrics.Descriptor, labels []metrics.Label, bits int64, _ time.Time) bool {
		if d.Hidden() {
			return true
		}
		name := d.Name
		if len(labels) > 0 {
			name += "{" + metrics.JoinLabels(labels) + "}"
		}
		value := strconv.FormatInt(bits, 10)
		if d.Float {
			value = strconv.FormatFloat(metrics.BitsFloat(bits), 'g', -1, 64)
		}
		values = append(values, name+"="+value)
		return true
	})
	slices.Sort(values)
	_, _ = to.WriteString("  " + set.Key.String() + " " + strings.Join(values, " ") + "\n") // Flush tells
}
