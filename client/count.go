package client

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

const countPath = "/krm/v1/count"

// CountOptions say which objects to count, and by what. The zero value counts all.
type CountOptions struct {
	By            string // "node", "phase", "namespace", "label:KEY", or a field's JSONPath; "" for the total only
	LabelSelector string
	FieldSelector string
	Where         string // as in [ListOptions]
}

// Counts are numbers of objects.
type Counts struct {
	Total  int64   `json:"total"`
	Counts []Group `json:"counts"` // the largest first; none unless they are counted by something
}

// Group is the objects that share a value.
type Group struct {
	Value string `json:"value"` // "" for those that have none
	Count int64  `json:"count"`
}

// Count says how many objects there are. KRM counts; no object travels.
func (r Resource[T, L]) Count(ctx context.Context, opts CountOptions) (*Counts, Freshness, error) {
	if err := r.check(); err != nil {
		return nil, Freshness{}, err
	}
	query := queryOf("resource", schema.GroupResource{Group: r.kind.Group, Resource: r.kind.Resource}.String(),
		"by", opts.By, "namespace", r.namespace, "labelSelector", opts.LabelSelector,
		"fieldSelector", opts.FieldSelector, "krm.io/fieldSelector", opts.Where)
	got, err := r.client.get(ctx, question{Request: Request{Path: countPath, Query: query, Accept: mediaJSON}})
	if err != nil {
		return nil, Freshness{}, err
	}
	var counts struct {
		Counts
		Total *int64 `json:"total"`
	}
	if err := utiljson.Unmarshal(got.payload.body, &counts); err != nil {
		return nil, Freshness{}, fmt.Errorf("GET %s: decode the counts: %w: %s", got.url, err, excerpt(got.payload.body))
	}
	if counts.Total == nil {
		return nil, Freshness{}, fmt.Errorf("GET %s: the answer has no total (is this KRM's address?): %s", got.url, excerpt(got.payload.body))
	}
	counts.Counts.Total = *counts.Total
	return &counts.Counts, got.fresh, nil
}
