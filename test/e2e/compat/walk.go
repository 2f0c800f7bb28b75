package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// walks are requests of several steps.
func walks(w *world) (all []request) {
	for _, path := range []string{
		shopPods + "?limit=7", shopPods + "?limit=1&labelSelector=env%3Dprod", "/api/v1/pods?limit=20", shopPods + "?limit=54", shopGadgets + "?limit=4",
		"/apis/compat.krm.test/v1/gadgets?limit=11&fieldSelector=spec.colour!%3Dred", "/api/v1/nodes?limit=2", shopPods + "?limit=9&resourceVersion=0",
	} {
		all = append(all, request{path: "walk " + path, steps: func(ctx context.Context, s *side) (string, error) {
			return walk(ctx, s, path, func(int) error { return nil })
		}})
	}
	const stagePods = "/api/v1/namespaces/stage/pods?limit=3"
	all = append(all, request{path: "walk under writes " + stagePods, steps: func(ctx context.Context, s *side) (string, error) {
		return walkUnderWrites(ctx, w, s, stagePods)
	}})
	return all
}

// walk reads all pages of a list, calls between with each page's number after it, and
// tells what each page held.
func walk(ctx context.Context, s *side, path string, between func(page int) error) (string, error) {
	var out strings.Builder
	token, version := "", ""
	for number := 1; number < 1000; number++ {
		next := path
		if token != "" {
			next += "&continue=" + url.QueryEscape(token)
		}
		p, err := listPage(ctx, s, next)
		if err != nil {
			return "", err
		}
		if version == "" {
			version = p.Metadata.ResourceVersion
		}
		fmt.Fprintf(&out, "page %d, same version: %t, remaining: %s\n", number, p.Metadata.ResourceVersion == version, count(p.Metadata.RemainingItemCount))
		for _, item := range p.Items {
			fmt.Fprintf(&out, " %s/%s %s %s\n", item.Metadata.Namespace, item.Metadata.Name, item.Metadata.UID, item.Metadata.ResourceVersion)
		}
		if token = p.Metadata.Continue; token == "" {
			return out.String(), nil
		}
		if err := between(number); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: %s does not end", s.name, path)
}

func count(n *int64) string {
	if n == nil {
		return "unsaid"
	}
	return fmt.Sprint(*n)
}

// walkUnderWrites changes, after the first page, objects of the pages to come, and
// adds and removes some: the pages must show the moment of the first. Each side gets
// objects of its own, whose versions are left out.
func walkUnderWrites(ctx context.Context, w *world, s *side, path string) (string, error) {
	pods := w.client.Resource(podsResource).Namespace("stage")
	name := func(number int) string { return fmt.Sprintf("walk-%s-%02d", s.name, number) }
	selected := path + "&labelSelector=walk%3D" + s.name
	labels := map[string]any{"walk": s.name}
	none := int64(0)
	clear := func() error {
		return pods.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &none}, metav1.ListOptions{LabelSelector: "walk=" + s.name})
	}
	if err := clear(); err != nil {
		return "", err
	}
	create := func(number int) error {
		pod, err := pods.Create(ctx, newPod("stage", name(number), labels, "nobody"), metav1.CreateOptions{})
		if err != nil {
			return err
		}
		// Whoever reads a copy after a write of its own says which version it wants.
		_, err = s.ask(ctx, http.MethodGet, "/api/v1/namespaces/stage/pods?resourceVersionMatch=NotOlderThan&resourceVersion="+pod.GetResourceVersion(), nil)
		return err
	}
	for i := range 10 {
		if err := create(i); err != nil {
			return "", err
		}
	}
	text, err := walk(ctx, s, selected, func(number int) error {
		if number != 1 {
			return nil
		}
		if err := pods.Delete(ctx, name(8), metav1.DeleteOptions{GracePeriodSeconds: &none}); err != nil {
			return err
		}
		return create(77)
	})
	if err != nil {
		return "", err
	}
	after, err := walk(ctx, s, selected, func(int) error { return nil })
	if err != nil {
		return "", err
	}
	return anonymous(text+"after\n"+after, s.name), clear()
}

// anonymous leaves of the lines of a walk what two sides with objects of their own share.
func anonymous(text, name string) string {
	var out strings.Builder
	for line := range strings.Lines(strings.ReplaceAll(text, "walk-"+name, "walk")) {
		if fields := strings.Fields(line); strings.HasPrefix(line, " ") && len(fields) == 3 {
			line = " " + fields[0] + "\n"
		}
		out.WriteString(line)
	}
	return out.String()
}
