package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// ReportOptions say what a report is about. The zero value is the last whole month in
// UTC, by namespace.
type ReportOptions struct {
	Month      string    // "2026-10"
	Timezone   string    // of the month: "Europe/Zurich"; UTC if ""
	By         string    // "namespace", "pod", "container" or "label:KEY"
	Begin, End time.Time // instead of a Month, both
	Cluster    string    // all if ""
}

func (o ReportOptions) body(format string) ([]byte, error) {
	fields := map[string]string{"format": format}
	for name, value := range map[string]string{"month": o.Month, "timezone": o.Timezone, "by": o.By, "cluster": o.Cluster} {
		if value != "" {
			fields[name] = value
		}
	}
	if !o.Begin.IsZero() {
		fields["timeBeginInterval"] = o.Begin.UTC().Format(time.RFC3339Nano)
	}
	if !o.End.IsZero() {
		fields["timeEndInterval"] = o.End.UTC().Format(time.RFC3339Nano)
	}
	return json.Marshal(fields)
}

// Report is what an interval came to.
type Report struct {
	Begin      time.Time    `json:"begin"`
	End        time.Time    `json:"end"` // excluded
	Month      string       `json:"month"`
	Timezone   string       `json:"timezone"`
	By         string       `json:"by"`
	Resolution string       `json:"resolution"`
	Complete   bool         `json:"complete"` // false while data of the interval may still come
	Currency   string       `json:"currency"` // "" if the server has no prices
	Lines      []ReportLine `json:"lines"`
	Subtotal   ReportLine   `json:"subtotal"` // of the lines of pods and claims
	Total      ReportLine   `json:"total"`    // of all lines
}

// ReportLine is a line. Numbers are decimal, as the server wrote them: those of Lines
// add up to those of the sums to the last digit. What the report is not by is "".
type ReportLine struct {
	// Kind is "pods"; "claims" of storage that no pod can be named for; "system" for
	// what nodes use beside their pods, "idle" for what is left of their capacity.
	Kind      string `json:"kind"`
	Cluster   string `json:"cluster_name"`
	Namespace string `json:"namespace_name"`
	Pod       string `json:"pod_name"`
	PodUID    string `json:"pod_uid"`
	Container string `json:"container_name"` // "" is what the pod has as a whole
	Label     string `json:"label"`          // the label's value

	CPUUsed         json.Number `json:"cpu_used_core_hours"`
	CPURequested    json.Number `json:"cpu_requested_core_hours"`
	CPUBilled       json.Number `json:"cpu_billed_core_hours"` // the greater of both, sample by sample
	MemoryUsed      json.Number `json:"memory_used_gib_hours"`
	MemoryRequested json.Number `json:"memory_requested_gib_hours"`
	MemoryBilled    json.Number `json:"memory_billed_gib_hours"`
	GPUHours        json.Number `json:"gpu_hours"`
	GPUMemory       json.Number `json:"gpu_memory_gib_hours"`
	EphemeralUsed   json.Number `json:"ephemeral_used_gib_hours"`
	Claims          json.Number `json:"claims_requested_gib_hours"`
	NetworkIn       json.Number `json:"network_in_gib"`
	NetworkOut      json.Number `json:"network_out_gib"`
	PodHours        json.Number `json:"pod_hours"`

	Samples   int64       `json:"samples"`
	Expected  int64       `json:"expected"`
	Coverage  float64     `json:"coverage"`
	Estimated int64       `json:"estimated_pods"` // pods that no scrape saw: taken to have used what they requested
	Cost      json.Number `json:"cost"`
	Currency  string      `json:"currency"`
}

// Report asks what an interval came to. Errors are those of Query.
func (b Billing) Report(ctx context.Context, opts ReportOptions) (*Report, error) {
	text, err := b.ReportText(ctx, opts, "json")
	if err != nil {
		return nil, err
	}
	report := &Report{}
	if err := json.Unmarshal(text, report); err != nil {
		return nil, fmt.Errorf("decode the report: %w: %s", err, excerpt(text))
	}
	if report.By == "" {
		return nil, fmt.Errorf("decode the report: it is none (is this KRM's address?): %s", excerpt(text))
	}
	return report, nil
}

// ReportText is Report as the server wrote it, in the format "json" or "csv": for a
// closed month always the same bytes.
func (b Billing) ReportText(ctx context.Context, opts ReportOptions, format string) ([]byte, error) {
	body, err := opts.body(format)
	if err != nil {
		return nil, fmt.Errorf("encode the query: %w", err)
	}
	accept := mediaJSON
	if format == "csv" {
		accept = "text/csv"
	}
	got, err := b.post(ctx, "/api/report", accept, body)
	return got.payload.body, err
}
