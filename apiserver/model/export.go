package model

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// export answers with the newest value of all that is measured, of every node, pod and
// container. It is written as it is read, so it takes little memory.
func (a *API) export(q request) error {
	if err := checkForm(q.Request); err != nil {
		return err
	}
	if err := a.authorize(q, kubeapi.Access{Path: q.path}); err != nil {
		return err
	}
	v, err := a.view(q)
	if err != nil {
		return err
	}
	if a.options.DisableExport {
		a.send(q, []byte("[]\n"))
		return nil
	}
	if v == nil {
		a.send(q, []byte("null\n"))
		return nil
	}
	release, err := a.inTurn()
	if err != nil {
		return err
	}
	defer release()
	partialNodes(q, v)
	w := a.begin(q, "application/json", 0)
	e := exporter{at: v.Time(), end: quoteTime(v.Time()), buffer: make([]byte, 0, pieceBytes+pieceBytes/4)}
	e.buffer = append(e.buffer, '[')
	for set := range v.Each {
		e.add(set)
		if len(e.buffer) >= pieceBytes {
			w.write(e.buffer)
			e.buffer = e.buffer[:0]
			if w.err != nil || q.Request.Context().Err() != nil {
				break
			}
		}
	}
	w.write(append(e.buffer, "]\n"...))
	w.end()
	return nil
}

// inTurn waits for nothing: it refuses if too much is being answered already.
func (a *API) inTurn() (release func(), err error) {
	if a.exports.TryAcquire(1) {
		return func() { a.exports.Release(1) }, nil
	}
	const text = "too many complete lists of metrics are being answered: come back in a second"
	busy := apierrors.NewTooManyRequests(text, 1)
	busy.ErrStatus.Message = text
	return nil, busy
}

// exporter writes sets as the export has them.
type exporter struct {
	buffer   []byte
	at       time.Time // the batch's
	end      string    // at, quoted: the end of every value
	started  time.Time
	start    string // started, quoted
	sets     int
	labelled []labelled // of one set
}

// add adds a set, unless it is one of those sums that the export leaves out.
func (e *exporter) add(set metrics.Set) {
	if set.Key.Kind == metrics.Cluster || set.Key.Kind == metrics.Namespace {
		return
	}
	b := e.buffer
	if e.sets > 0 {
		b = append(b, ',')
	}
	e.sets++
	b = append(b, `{"metrics":{`...)
	e.labelled = e.labelled[:0]
	n := 0
	set.Values(func(d *metrics.Descriptor, labels []metrics.Label, bits int64, start time.Time) bool {
		switch {
		case !exported(d):
		case d.Labelled:
			e.labelled = append(e.labelled, labelled{d, labels, bits, start})
		default:
			if n > 0 {
				b = append(b, ',')
			}
			n++
			b = append(appendString(b, d.Name), `:[`...)
			b = append(e.value(b, d, nil, bits, start), ']')
		}
		return true
	})
	b = e.families(b, n)
	b = append(b, `},"labels":{`...)
	b = appendLabels(b, set.Info)
	e.buffer = append(b, `}}`...)
}

// labelled is a value of a labelled metric.
type labelled struct {
	d      *metrics.Descriptor
	labels []metrics.Label
	bits   int64
	start  time.Time
}

// families adds the set's labelled metrics, which may have several values each, after n
// others.
func (e *exporter) families(b []byte, n int) []byte {
	slices.SortStableFunc(e.labelled, func(x, y labelled) int { return cmp.Compare(x.d.ID, y.d.ID) })
	for i, l := range e.labelled {
		switch {
		case i > 0 && e.labelled[i-1].d == l.d:
			b = append(b, ',')
		case i > 0:
			b = append(appendString(append(b, `],`...), l.d.Name), `:[`...)
		default:
			if n > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, l.d.Name), `:[`...)
		}
		b = e.value(b, l.d, l.labels, l.bits, l.start)
	}
	if len(e.labelled) > 0 {
		b = append(b, ']')
	}
	return b
}

// value adds one value.
func (e *exporter) value(b []byte, d *metrics.Descriptor, labels []metrics.Label, bits int64, start time.Time) []byte {
	from := e.end
	// What started between the window's end and its scrape has no time before the end.
	if d.Type == metrics.Cumulative && !start.IsZero() && start.Before(e.at) {
		if !start.Equal(e.started) { // most values of a set have the same
			e.started, e.start = start, quoteTime(start)
		}
		from = e.start
	}
	b = append(append(b, `{"start":`...), from...)
	b = append(append(b, `,"end":`...), e.end...)
	if len(labels) > 0 {
		b = append(b, `,"labels":{`...)
		for i, l := range labels {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(append(appendString(b, l.Key), ':'), l.Value)
		}
		b = append(b, '}')
	}
	b = append(b, `,"value":`...)
	if d.Float {
		b = appendFloat(b, metrics.BitsFloat(bits))
	} else {
		b = strconv.AppendInt(b, bits, 10)
	}
	return append(b, '}')
}

func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) { // JSON has neither
		return append(b, '0')
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

func quoteTime(t time.Time) string { return `"` + t.UTC().Format(time.RFC3339Nano) + `"` }

// appendLabels adds the labels of a set that the export has.
func appendLabels(b []byte, set metrics.Info) []byte {
	n := 0
	add := func(key, value string) {
		if n > 0 {
			b = append(b, ',')
		}
		n++
		b = appendString(append(append(append(b, '"'), key...), `":`...), value)
	}
	meta := set.Meta
	if meta == nil {
		meta = &metrics.Meta{}
	}
	node := set.Key.Node
	if node == "" {
		node = meta.Node
	}
	add("nodename", node)
	add("hostname", meta.Hostname)
	add("host_id", meta.HostID)
	switch set.Key.Kind {
	case metrics.Node:
		add("container_name", "machine")
	case metrics.Pod:
		add("container_name", "/pod")
	default:
		add("container_name", set.Key.Container)
	}
	if set.Key.Kind == metrics.Container {
		add("container_base_image", set.Image)
	}
	if set.Key.Pod != "" {
		add("pod_name", set.Key.Pod)
		add("pod_id", meta.UID)
		add("namespace_id", meta.NamespaceID)
	}
	if set.Key.Kind != metrics.SystemContainer {
		add("labels", meta.Joined)
	}
	return b
}
