package kube

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// At returns one object exactly as it was at the version at, deleted since or
// not: the same bytes as a watch delivers. object.ErrNotFound comes if there was
// no such object then, object.ErrExpired if the server no longer keeps that time,
// and object.ErrUnsupported if it answers for another time than the one asked for.
func (c *Client) At(ctx context.Context, r object.Resource, key object.Key, at object.Version) (object.Record, error) {
	query := exactly(at)
	query.Set("fieldSelector", "metadata.name="+key.Name)
	var record object.Record
	err := c.exact(ctx, r, key.Namespace, query, at, func(r object.Record) bool {
		if r.Key == key { // a server may ignore the selector
			record = r
		}
		return record.Body == nil
	})
	if err == nil && record.Body == nil {
		err = object.ErrNotFound
	}
	if err != nil {
		return object.Record{}, fmt.Errorf("get %v %v at version %s: %w", r, key, at, grants(err, r))
	}
	return record, nil
}

// AllAt yields every object of r exactly as it was at the version at. Its errors
// are those of At.
func (c *Client) AllAt(ctx context.Context, r object.Resource, at object.Version) iter.Seq2[object.Record, error] {
	return func(yield func(object.Record, error) bool) {
		err := c.exact(ctx, r, "", exactly(at), at, func(r object.Record) bool { return yield(r, nil) })
		if err != nil {
			yield(object.Record{}, fmt.Errorf("list %v at version %s: %w", r, at, grants(err, r)))
		}
	}
}

func exactly(at object.Version) url.Values {
	return url.Values{"resourceVersion": {string(at)}, "resourceVersionMatch": {"Exact"}}
}

// exact yields the records of a list that must be at the version at.
func (c *Client) exact(ctx context.Context, r object.Resource, namespace string, query url.Values, at object.Version, yield func(object.Record) bool) error {
	for p, err := range c.pages(ctx, r, namespace, query, asTable) {
		if err != nil {
			return err
		}
		if p.version != at {
			return fmt.Errorf("%w: asked for exactly version %s, it answered with %s", object.ErrUnsupported, at, p.version)
		}
		err := p.each(func(f *found) error {
			record, err := p.decoder.record(f, p.at)
			if err == nil && !yield(record) {
				err = errEnough
			}
			return err
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
