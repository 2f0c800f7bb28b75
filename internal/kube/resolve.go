package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

const (
	catalogAge = 30 * time.Second // how old a catalog may be that names a resource
	absentAge  = time.Second      // how old a catalog may be that names none
)

// catalog is what discovery said last.
type catalog struct {
	turn    chan struct{} // full while someone reads or asks, so that all who want it ask once
	entries []entry
	failed  map[schema.GroupVersion]error // groups whose server does not answer
	at      time.Time
}

// entry is one resource of one group and version.
type entry struct {
	resource   object.Resource
	shortNames []string
	watchable  bool
}

// Resolve finds the resource that name means, as kubectl does: a plural, singular
// or short name, NAME.GROUP (of whose group the beginning is enough if no group is
// called so), or NAME.VERSION.GROUP. Among several the first group of the
// server's order wins, in its preferred version. What discovery says is kept for
// 30 s, that there is no such resource for 1 s.
//
// object.ErrNotFound comes if there is none, with the nearest names, and
// object.ErrUnsupported if it cannot be listed and watched. A group whose own
// server does not answer hides only itself.
func (c *Client) Resolve(ctx context.Context, name string) (object.Resource, error) {
	want, err := object.ParseResource(name)
	if err != nil {
		return object.Resource{}, err
	}
	select {
	case c.catalog.turn <- struct{}{}:
		defer func() { <-c.catalog.turn }()
	case <-ctx.Done():
		return object.Resource{}, fmt.Errorf("resolve %q: %w", name, context.Cause(ctx))
	}
	found, ok := entry{}, false
	if time.Since(c.catalog.at) < catalogAge {
		found, ok = choose(c.catalog.entries, want)
	}
	if !ok && time.Since(c.catalog.at) >= absentAge {
		if err := c.discover(ctx); err != nil {
			return object.Resource{}, fmt.Errorf("resolve %q: %w", name, err)
		}
		found, ok = choose(c.catalog.entries, want)
	}
	switch {
	case !ok:
		return object.Resource{}, c.catalog.absent(name, want)
	case !found.watchable:
		return object.Resource{}, fmt.Errorf("resource %q: %v cannot be listed and watched: %w", name, found.resource, object.ErrUnsupported)
	}
	return found.resource, nil
}

// discover reads the catalog anew. Groups that do not answer are left out.
func (c *Client) discover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Silence)
	defer cancel()
	groups, lists, err := c.discovery.ServerGroupsAndResourcesWithContext(ctx)
	var partial *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &partial) {
		return answered(err)
	}
	c.catalog.failed = nil
	if partial != nil {
		c.catalog.failed = partial.Groups
		c.log.Debug("part of the API does not answer discovery", "err", err)
	}
	c.catalog.entries = entries(groups, lists)
	c.catalog.at = time.Now()
	return nil
}

// entries puts what discovery said in the order of preference.
func entries(groups []*metav1.APIGroup, lists []*metav1.APIResourceList) (all []entry) {
	byVersion := map[string]*metav1.APIResourceList{}
	for _, list := range lists {
		byVersion[list.GroupVersion] = list
	}
	for _, group := range groups {
		versions := []string{group.PreferredVersion.GroupVersion}
		for _, version := range group.Versions {
			if !slices.Contains(versions, version.GroupVersion) {
				versions = append(versions, version.GroupVersion)
			}
		}
		for _, version := range versions {
			if list := byVersion[version]; list != nil {
				all = appendEntries(all, list)
			}
		}
	}
	return all
}

func appendEntries(all []entry, list *metav1.APIResourceList) []entry {
	gv, err := schema.ParseGroupVersion(list.GroupVersion)
	if err != nil {
		return all
	}
	for _, r := range list.APIResources {
		if strings.Contains(r.Name, "/") { // a subresource
			continue
		}
		singular := r.SingularName
		if singular == "" {
			singular = strings.ToLower(r.Kind)
		}
		all = append(all, entry{
			resource: object.Resource{
				Group: gv.Group, Version: gv.Version, Name: r.Name,
				Kind: r.Kind, Singular: singular, Namespaced: r.Namespaced,
			},
			shortNames: r.ShortNames,
			watchable:  slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "watch"),
		})
	}
	return all
}

// choose finds what want means. Full names come before short ones, and a group's
// own name before what it only begins with; one that can be watched comes before
// one that cannot.
func choose(all []entry, want object.Resource) (found entry, ok bool) {
	for _, group := range []func(string) bool{
		func(group string) bool { return want.Group == "" || group == want.Group },
		func(group string) bool { return strings.HasPrefix(group, want.Group) },
	} {
		for _, name := range []func(entry) bool{
			func(e entry) bool { return e.resource.Name == want.Name },
			func(e entry) bool { return e.resource.Singular == want.Name },
			func(e entry) bool { return slices.Contains(e.shortNames, want.Name) },
		} {
			for _, e := range all {
				if !group(e.resource.Group) || !name(e) || want.Version != "" && want.Version != e.resource.Version {
					continue
				}
				if e.watchable {
					return e, true
				}
				if !ok {
					found, ok = e, true
				}
			}
			if ok {
				return found, true
			}
		}
	}
	return entry{}, false
}

// absent is the error for a name that stands for nothing.
func (c *catalog) absent(name string, want object.Resource) error {
	for gv, err := range c.failed {
		if want.Group != "" && gv.Group == want.Group {
			return fmt.Errorf("resource %q: the server of %v does not answer discovery: %w", name, gv, answered(err))
		}
	}
	hint := ""
	if near := nearest(name, c.names(want.Group != "")); len(near) > 0 {
		hint = "; did you mean " + strings.Join(near, " or ") + "?"
	}
	if len(c.failed) > 0 {
		var silent []string
		for gv := range c.failed {
			silent = append(silent, gv.String())
		}
		slices.Sort(silent)
		hint += fmt.Sprintf(" (no answer from the servers of %s)", strings.Join(silent, ", "))
	}
	return &absentError{text: fmt.Sprintf("resource %q: no such resource on this API server%s", name, hint)}
}

// absentError is object.ErrNotFound in a sentence of its own.
type absentError struct{ text string }

func (e *absentError) Error() string { return e.text }
func (e *absentError) Unwrap() error { return object.ErrNotFound }

// names maps every name under which a resource can be asked for to the one to
// suggest: its plural, with the group if withGroup.
func (c *catalog) names(withGroup bool) map[string]string {
	names := map[string]string{}
	add := func(name, suggestion string) {
		if _, taken := names[name]; !taken {
			names[name] = suggestion
		}
	}
	for _, e := range c.entries {
		if !e.watchable {
			continue
		}
		if withGroup {
			add(e.resource.String(), e.resource.String())
			continue
		}
		add(e.resource.Name, e.resource.Name)
		add(e.resource.Singular, e.resource.Name)
		for _, short := range e.shortNames {
			if len(short) > 2 { // two letters are near to everything
				add(short, e.resource.Name)
			}
		}
	}
	return names
}
