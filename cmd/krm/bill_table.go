package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// billColumn is a column of numbers in the table of a report.
type billColumn struct {
	group, head string
	cell        func(client.ReportLine) string
	always      bool // also if nothing of it was used
}

// billColumns are the columns that report has something in.
func billColumns(report *client.Report) []billColumn {
	sum := func(numbers func(client.ReportLine) []json.Number) func(client.ReportLine) string {
		return func(line client.ReportLine) string { return hundredths(numbers(line)...) }
	}
	const cpu, memory = "CPU, core-hours", "MEMORY, GiB-hours"
	columns := []billColumn{
		{cpu, "USED", sum(func(l client.ReportLine) []json.Number { return []json.Number{l.CPUUsed} }), true},
		{cpu, "REQUESTED", sum(func(l client.ReportLine) []json.Number { return []json.Number{l.CPURequested} }), true},
		{cpu, "BILLED", sum(func(l client.ReportLine) []json.Number { return []json.Number{l.CPUBilled} }), true},
		{memory, "USED", sum(func(l client.ReportLine) []json.Number { return []json.Number{l.MemoryUsed} }), true},
		{memory, "REQUESTED", sum(func(l client.ReportLine) []json.Number { return []json.Number{l.MemoryRequested} }), true},
		{memory, "BILLED", sum(func(l client.ReportLine) []json.Number { return []json.Number{l.MemoryBilled} }), true},
		{"", "GPU-H", sum(func(l client.ReportLine) []json.Number { return []json.Number{l.GPUHours} }), false},
		{"", "STORAGE", sum(func(l client.ReportLine) []json.Number { return []json.Number{l.EphemeralUsed, l.Claims} }), false},
		{"", "NETWORK", sum(func(l client.ReportLine) []json.Number { return []json.Number{l.NetworkIn, l.NetworkOut} }), false},
		{"", "POD-H", sum(func(l client.ReportLine) []json.Number { return []json.Number{l.PodHours} }), true},
		{"", "COVERAGE", coverageText, true},
	}
	if report.Currency != "" {
		columns = append(columns, billColumn{"", "COST", func(l client.ReportLine) string { return orDash(l.Cost.String()) }, true})
	}
	return slices.DeleteFunc(columns, func(c billColumn) bool { return !c.always && empty(c, report) })
}

func empty(c billColumn, report *client.Report) bool {
	return !slices.ContainsFunc(append(slices.Clone(report.Lines), report.Total), func(line client.ReportLine) bool {
		cell := c.cell(line)
		return cell != "-" && cell != "0.00"
	})
}

// hundredths is the sum of numbers with two digits: the table is to look at; csv and
// json have all of them.
func hundredths(numbers ...json.Number) string {
	sum := 0.0
	for _, number := range numbers {
		f, err := number.Float64()
		if err != nil {
			return orDash(number.String())
		}
		sum += f
	}
	return fmt.Sprintf("%.2f", sum)
}

// coverageText is never 100 % unless nothing is missing.
func coverageText(line client.ReportLine) string {
	switch {
	case line.Expected == 0:
		return "-"
	case line.Samples == line.Expected:
		return "100%"
	}
	return fmt.Sprintf("%.2f%%", min(line.Coverage*100, 99.99))
}

// billNames are the heads of the columns that say what a line is of.
func billNames(report *client.Report) (heads []string, clusters bool) {
	label, ofLabel := strings.CutPrefix(report.By, "label:")
	switch {
	case ofLabel:
		heads = []string{strings.ToUpper(cellText(label))}
	case report.By == "namespace":
		heads = []string{"NAMESPACE"}
	case report.By == "pod":
		heads = []string{"NAMESPACE", "POD"}
	default:
		heads = []string{"NAMESPACE", "POD", "CONTAINER"}
	}
	for _, line := range report.Lines {
		clusters = clusters || line.Cluster != "" && line.Cluster != "default"
	}
	if clusters {
		heads = append([]string{"CLUSTER"}, heads...)
	}
	return heads, clusters
}

// namesOf are what a line is of. What is of no group stands in parentheses.
func namesOf(report *client.Report, line client.ReportLine, heads []string, clusters bool) []string {
	names := []string{line.Namespace, line.Pod, line.Container}
	if strings.HasPrefix(report.By, "label:") {
		names = []string{line.Label}
	}
	switch line.Kind {
	case "pods":
	case "claims":
		names[min(1, len(heads)-1)] = "(claims)"
	case "subtotal", "total":
		names[0] = strings.ToUpper(line.Kind)
	default:
		names[0] = "(" + line.Kind + ")"
	}
	if clusters {
		names = append([]string{line.Cluster}, names...)
	}
	for i, name := range names {
		names[i] = orDash(cellText(name))
	}
	return names[:len(heads)]
}

// printReport writes the lines as a table, and below it how far they may be trusted.
func printReport(w io.Writer, report *client.Report) error {
	heads, clusters := billNames(report)
	columns := billColumns(report)
	var rows [][]string
	for _, line := range append(slices.Clone(report.Lines), report.Subtotal, report.Total) {
		row := namesOf(report, line, heads, clusters)
		for _, c := range columns {
			row = append(row, c.cell(line))
		}
		rows = append(rows, row)
	}
	names := len(heads)
	for _, c := range columns {
		heads = append(heads, c.head)
	}
	widths := make([]int, len(heads))
	for _, row := range append(rows, heads) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	writeGroups(&b, columns, widths, names)
	for _, row := range append([][]string{heads}, rows...) {
		writeRow(&b, row, widths, names)
	}
	b.WriteString(remarksOf(report))
	_, err := io.WriteString(w, b.String())
	return err
}

// writeGroups writes what several columns have in common, in their middle.
func writeGroups(b *strings.Builder, columns []billColumn, widths []int, names int) {
	var line strings.Builder
	for _, width := range widths[:names] {
		line.WriteString(strings.Repeat(" ", width+2))
	}
	for i := 0; i < len(columns); {
		room, group := -2, columns[i].group
		for ; i < len(columns) && columns[i].group == group; i++ {
			room += widths[names+i] + 2
		}
		if left := room - len(group) - 2; group != "" && left >= 0 {
			group = strings.Repeat("-", left/2) + " " + group + " " + strings.Repeat("-", left-left/2)
		}
		fmt.Fprintf(&line, "%-*s  ", room, group)
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// writeRow writes names on the left of their columns and numbers on the right.
func writeRow(b *strings.Builder, row []string, widths []int, names int) {
	var line strings.Builder
	for i, cell := range row {
		space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i < names {
			line.WriteString(cell + space + "  ")
		} else {
			line.WriteString(space + cell + "  ")
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

func remarksOf(report *client.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s to %s", report.Begin.Format(time.RFC3339), report.End.Format(time.RFC3339))
	if report.Month != "" {
		fmt.Fprintf(&b, " (%s, %s)", report.Month, report.Timezone)
	}
	fmt.Fprintf(&b, ", sampled every %s. Storage in GiB-hours, network in GiB, both ways.\n", report.Resolution)
	if report.Currency != "" {
		fmt.Fprintf(&b, "Costs in %s.\n", report.Currency)
	}
	if total := report.Total; total.Samples < total.Expected {
		fmt.Fprintln(&b, "Where COVERAGE is below 100% samples are missing: that time is billed as requested.")
	}
	if n := report.Total.Estimated; n > 0 {
		fmt.Fprintf(&b, "Pods that lived between two samples: %d. They are taken to have used what they requested.\n", n)
	}
	if !report.Complete {
		fmt.Fprintln(&b, "NOT COMPLETE: the interval is still open, or data is late; figures may change.")
	}
	return b.String()
}
