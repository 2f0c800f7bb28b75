package billing

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strconv"
)

// report answers what an interval came to.
func (a *API) report(q request) error {
	asked, err := a.parseQuestion(q)
	if err != nil {
		return err
	}
	release, err := a.turn(q)
	if err != nil {
		return err
	}
	defer release()
	ctx, patience := within(q.Request.Context(), a.options.ReportTimeout)
	defer patience.end()
	extendDeadline(q, a.options.ReportTimeout)
	b, err := a.gather(ctx, asked, q.now)
	if err != nil {
		return causeOf(ctx, err)
	}
	a.headers(q, asked.from, asked.to, b.resolutions, b.complete)
	p := page{books: b, lines: b.lines(), resolution: q.Writer.Header().Get("Krm-Resolution")}
	decimals := 0
	if asked.tariff != nil {
		p.prices = a.options.Prices
		decimals = p.prices.Decimals
	}
	p.subtotal, p.total = b.round(p.lines, decimals)
	to := bufio.NewWriterSize(pieces{q: q}, pieceBytes)
	if asked.csv {
		begin(q, mediaCSV+"; charset=utf-8; header=present")
		err = p.writeCSV(to)
	} else {
		begin(q, mediaJSON)
		p.writeJSON(to)
	}
	if err == nil {
		err = to.Flush()
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// turn waits until a report may be made; release must be called after it.
func (a *API) turn(q request) (release func(), err error) {
	busy := func() error {
		return unavailable("busy", "%d reports are being made already: try again", a.options.Reports)
	}
	if !a.queue.TryAcquire(1) {
		return nil, busy()
	}
	extendDeadline(q, a.options.ReportWait)
	ctx, cancel := context.WithTimeout(q.Request.Context(), a.options.ReportWait)
	defer cancel()
	if a.reports.Acquire(ctx, 1) != nil {
		a.queue.Release(1)
		return nil, busy()
	}
	return func() { a.reports.Release(1); a.queue.Release(1) }, nil
}

// page is a report, ready to be written.
type page struct {
	*books
	prices          *Prices // nil if there are no costs
	resolution      string
	lines           []*line
	subtotal, total *line
}

// columns are those of lines.
func (p *page) columns() []column {
	columns := []column{{"kind", quote}}
	if p.asked.by == "label" {
		columns = append(columns, column{"cluster_name", quote}, column{"label", quote})
	} else {
		columns = append(columns, column{"cluster_name", quote}, column{"namespace_name", quote})
	}
	if p.asked.by == "pod" || p.asked.by == "container" {
		columns = append(columns, column{"pod_name", quote}, column{"pod_uid", quote})
	}
	if p.asked.by == "container" {
		columns = append(columns, column{"container_name", quote})
	}
	for m := range numAmounts {
		columns = append(columns, column{m.String(), bare})
	}
	for _, name := range []string{"samples", "expected", "coverage", "estimated_pods"} {
		columns = append(columns, column{name, bare})
	}
	if p.prices != nil {
		columns = append(columns, column{"cost", bare}, column{"currency", quote})
	}
	return columns
}

func (p *page) cells(l *line) []string {
	cells := []string{l.kind, l.cluster}
	if p.asked.by == "label" {
		cells = append(cells, l.label)
	} else {
		cells = append(cells, l.namespace)
	}
	if p.asked.by == "pod" || p.asked.by == "container" {
		cells = append(cells, l.pod, l.uid)
	}
	if p.asked.by == "container" {
		cells = append(cells, l.container)
	}
	for m := range numAmounts {
		cells = append(cells, fixed(l.rounded[m], amountDigits))
	}
	cells = append(cells, number(l.samples), number(l.expected), coverage(l.samples, l.expected), number(l.estimated))
	if p.prices != nil {
		cells = append(cells, fixed(l.paid, p.prices.Decimals), p.prices.Currency)
	}
	return cells
}

// writeCSV writes all lines, then the subtotal and the total.
func (p *page) writeCSV(to io.Writer) error {
	w := newCSV(to, p.columns())
	for _, l := range append(append([]*line(nil), p.lines...), p.subtotal, p.total) {
		if err := w.Write(p.cells(l)); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// writeJSON writes an object with the lines in it. A failure stays in to.
func (p *page) writeJSON(to *bufio.Writer) {
	about := []column{
		{"begin", quote},
		{"end", quote},
		{"month", quote},
		{"timezone", quote},
		{"by", quote},
		{"resolution", quote},
		{"complete", bare},
		{"currency", quote},
	}
	by, currency := p.asked.by, ""
	if by == "label" {
		by += ":" + p.asked.label
	}
	if p.prices != nil {
		currency = p.prices.Currency
	}
	head := appendObject(nil, about, []string{
		rfc3339(p.asked.from), rfc3339(p.asked.to), p.asked.month, p.asked.zone.String(), by,
		p.resolution, strconv.FormatBool(p.complete), currency,
	})
	_, _ = to.Write(head[:len(head)-1])
	_, _ = to.WriteString(",\"lines\":[")
	columns := p.columns()
	for i, l := range p.lines {
		if i > 0 {
			_ = to.WriteByte(',')
		}
		_, _ = to.Write(appendObject([]byte{'\n'}, columns, p.cells(l)))
	}
	_, _ = to.Write(appendObject([]byte("\n],\"subtotal\":"), columns, p.cells(p.subtotal)))
	_, _ = to.Write(appendObject([]byte(",\n\"total\":"), columns, p.cells(p.total)))
	_, _ = to.WriteString("}\n")
}
