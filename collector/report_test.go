package collector

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

func TestReporterTellsChangesOnly(t *testing.T) {
	var out bytes.Buffer
	r := newReporter(slog.New(slog.NewTextHandler(&out, nil)))
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	tell := func(minutes int, reasons ...string) (line string) {
		b := &metrics.Batch{Time: noon.Add(time.Duration(minutes) * time.Minute)}
		for i, reason := range reasons {
			n := metrics.NodeStatus{Name: fmt.Sprint("n", i), Reason: reason}
			if reason != "" {
				n.Error = "it was " + reason
			}
			b.Nodes = append(b.Nodes, n)
		}
		out.Reset()
		r.batch(b)
		_, line, _ = strings.Cut(strings.TrimSpace(out.String()), "level=")
		return line
	}
	got := []string{
		tell(0, "", "", ""),
		tell(1, "", "timeout", ""),
		tell(2, "", "timeout", ""), // known
		tell(3, "timeout", "timeout", ""),
		tell(3, "timeout", "timeout", "timeout"), // far more
		tell(4, "timeout", "forbidden", ""),
		tell(5, "timeout", "forbidden", "removed"),
		tell(30, "timeout", "forbidden", ""), // it is time to tell again
		tell(31, "", "", ""),
		tell(32, "", "", ""),
	}
	const warn = `WARN msg="nodes have no metrics; krm_node_scrape_success tells which" `
	both := warn + `failed=2 nodes=3 reasons="forbidden: 1, timeout: 1" node=n0 err="it was timeout"`
	want := []string{
		"", warn + `failed=1 nodes=3 reasons="timeout: 1" node=n1 err="it was timeout"`, "", "",
		warn + `failed=3 nodes=3 reasons="timeout: 3" node=n0 err="it was timeout"`, both, "", both,
		`INFO msg="all nodes have metrics again" nodes=3`, "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	out.Reset()
	for range 10 {
		r.partial("kubernetes", "a", errors.New("no cadvisor"))
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines about a missing part: %s", n, out.String())
	}
}
