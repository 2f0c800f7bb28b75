package kube

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

var errPageTooLarge = errors.New("page too large")

// page is one page of a list.
type page struct {
	version   object.Version
	next      string // continue token; "" on the last page
	remaining int64  // how many objects follow this page; -1 if the server does not say
	columns   []byte
	table     bool
	elements  []byte // rows or items
	decoder   *decoder
	at        time.Time // when it was received, UTC
}

// each calls do for every object of p; what it is given is valid until it returns.
func (p *page) each(do func(*found) error) error {
	if p.elements == nil {
		return nil // a list without items is null
	}
	s := scanner{data: p.elements, keep: p.decoder.keep}
	if p.table {
		return s.elements((*scanner).row, do)
	}
	return s.elements((*scanner).object, do)
}

// parsePage checks all of text before anything of it is used.
func parsePage(text []byte, d *decoder) (*page, error) {
	s := scanner{data: text}
	var f found
	if err := s.object(&f); err != nil {
		return nil, err
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	version, err := object.ParseVersion(string(f.version))
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	p := &page{version: version, next: string(f.continueToken), remaining: -1, decoder: d}
	if f.remaining != nil {
		if p.remaining, err = strconv.ParseInt(string(f.remaining), 10, 64); err != nil {
			return nil, fmt.Errorf("remainingItemCount: %w", err)
		}
	}
	switch kind := string(f.kind); {
	case f.isTable():
		p.table, p.elements, p.columns = true, f.rows, f.columns
	case strings.HasSuffix(kind, "List"):
		p.elements = f.items
		d.listed(strings.TrimSuffix(kind, "List"), string(f.apiVersion))
	default:
		return nil, fmt.Errorf("answer of kind %q: want a list", clip(f.kind))
	}
	return p, nil
}

// pages yields the pages of one consistent list: all at the same version.
// namespace is "" for all. A page is valid until the next.
func (c *Client) pages(ctx context.Context, r object.Resource, namespace string, query url.Values, accept string) iter.Seq2[*page, error] {
	return func(yield func(*page, error) bool) {
		var version object.Version
		var buf []byte
		limit := c.opts.PageSize
		decoder := c.decoder(r)
		for {
			query.Set("limit", strconv.Itoa(limit))
			text, err := c.fetch(ctx, r, namespace, query, accept, buf[:0])
			if errors.Is(err, errPageTooLarge) && limit > 1 {
				limit = max(1, limit/4)
				continue
			}
			var p *page
			if err == nil {
				p, err = parsePage(text, decoder)
			}
			if err == nil && version != "" && p.version != version {
				err = fmt.Errorf("pages of one list at versions %s and %s", version, p.version)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			p.at = time.Now().UTC()
			if !yield(p, nil) || p.next == "" {
				return
			}
			version, buf = p.version, text
			query = continued(query, p.next)
		}
	}
}

// continued is query for the next page. The token says the version; servers
// refuse to be told again.
func continued(query url.Values, token string) url.Values {
	query.Del("resourceVersion")
	query.Del("resourceVersionMatch")
	query.Set("continue", token)
	return query
}

// fetch reads one page into buf.
func (c *Client) fetch(ctx context.Context, r object.Resource, namespace string, query url.Values, accept string, buf []byte) ([]byte, error) {
	if accept == asTable {
		query.Set("includeObject", "Object")
	}
	body, err := c.ask(ctx, request{verb: "list", resource: r.String(), path: r.Path(namespace), query: query, accept: accept})
	if err != nil {
		return nil, err
	}
	defer body.close()
	return readAll(body, buf, c.maxPage)
}

// List yields every object of r as Added and then InitialEnd with the version at
// which this is true, and ends. The list is consistent: never older than the call.
// object.ErrExpired comes if the server dropped its history before the last page:
// begin anew.
func (c *Client) List(ctx context.Context, r object.Resource) iter.Seq2[object.Event, error] {
	return func(yield func(object.Event, error) bool) {
		version, err := c.list(ctx, r, "", url.Values{}, func(event object.Event) bool { return yield(event, nil) })
		switch {
		case errors.Is(err, errEnough):
		case err != nil:
			yield(object.Event{}, fmt.Errorf("list %v: %w", r, grants(err, r)))
		default:
			yield(object.Event{Type: object.InitialEnd, Version: version}, nil)
		}
	}
}

// errEnough ends a walk over pages whose consumer wants no more.
var errEnough = errors.New("enough")

// list yields the columns and every object of one list, and returns its version.
func (c *Client) list(ctx context.Context, r object.Resource, namespace string, query url.Values, yield func(object.Event) bool) (version object.Version, err error) {
	for p, err := range c.pages(ctx, r, namespace, query, asTable) {
		if err != nil {
			return "", err
		}
		if p.columns != nil && version == "" {
			columns, err := parseColumns(p.columns)
			if err != nil {
				return "", err
			}
			if !yield(object.Event{Type: object.Columns, Columns: columns}) {
				return "", errEnough
			}
		}
		version = p.version
		err := p.each(func(f *found) error {
			record, err := p.decoder.record(f, p.at)
			if err == nil && !yield(object.Event{Type: object.Added, Record: record}) {
				err = errEnough
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return version, nil
}

// Metadata lists key, UID and version of every object of r, at one version. Of
// each object the server sends its metadata only, about a tenth of a pod.
// object.ErrExpired comes as in List.
func (c *Client) Metadata(ctx context.Context, r object.Resource) (version object.Version, items []object.ListedItem, err error) {
	return c.listed(ctx, r, asMetadataList, func(*decoder, *found) uint64 { return 0 })
}

// Bodies is Metadata with the hash of each body, as a watch would have delivered
// it. It reads everything and keeps no body.
func (c *Client) Bodies(ctx context.Context, r object.Resource) (version object.Version, items []object.ListedItem, err error) {
	var room []byte
	return c.listed(ctx, r, asTable, func(d *decoder, f *found) uint64 {
		room = d.appendBody(room[:0], f)
		return object.Hash(room)
	})
}

func (c *Client) listed(ctx context.Context, r object.Resource, accept string, hash func(*decoder, *found) uint64) (version object.Version, items []object.ListedItem, err error) {
	items = []object.ListedItem{}
	for p, err := range c.pages(ctx, r, "", url.Values{}, accept) {
		if err != nil {
			return "", nil, fmt.Errorf("list %v: %w", r, grants(err, r))
		}
		version = p.version
		err := p.each(func(f *found) error {
			head, err := p.decoder.head(f)
			if err != nil {
				return err
			}
			items = append(items, object.ListedItem{Key: head.Key, UID: head.UID, Version: head.Version, Hash: hash(p.decoder, f)})
			return nil
		})
		if err != nil {
			return "", nil, fmt.Errorf("list %v: %w", r, err)
		}
	}
	return version, items, nil
}

// Count returns about how many objects r has, and 0 if the server does not tell.
func (c *Client) Count(ctx context.Context, r object.Resource) (int64, error) {
	p, err := c.onePage(ctx, r)
	if err != nil {
		return 0, fmt.Errorf("count %v: %w", r, grants(err, r))
	}
	var n int64
	if err := p.each(func(*found) error { n++; return nil }); err != nil {
		return 0, fmt.Errorf("count %v: %w", r, err)
	}
	switch {
	case p.next == "":
		return n, nil
	case p.remaining < 0 || p.remaining > math.MaxInt64-n:
		return 0, nil
	}
	return n + p.remaining, nil
}

// probeByList lists one object for the list's version.
func (c *Client) probeByList(ctx context.Context, r object.Resource) (object.Version, error) {
	p, err := c.onePage(ctx, r)
	if err != nil {
		return "", err
	}
	return p.version, nil
}

// onePage returns the first page, of one object's metadata.
func (c *Client) onePage(ctx context.Context, r object.Resource) (*page, error) {
	text, err := c.fetch(ctx, r, "", url.Values{"limit": {"1"}}, asMetadataList, nil)
	if err != nil {
		return nil, err
	}
	return parsePage(text, c.decoder(r))
}
