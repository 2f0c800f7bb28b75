package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/rest"
)

// alternatingTime is how long each story of the replicas lasts.
const alternatingTime = 12 * time.Second

const (
	churnedPods   = "/api/v1/namespaces/" + churnSpace + "/pods"
	allowBookmark = "&allowWatchBookmarks=true&timeoutSeconds=2"
)

// alternator is one address that sends every request to the next replica.
func alternator(replicas []string, transport http.RoundTripper) (*httptest.Server, error) {
	var targets []*url.URL
	for _, replica := range replicas {
		target, err := url.Parse(replica)
		if err != nil {
			return nil, err
		}
		targets = append(targets, target)
	}
	var number atomic.Int64
	return httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(targets[int(number.Add(1))%len(targets)]) },
		Transport: transport, FlushInterval: -1,
	}), nil
}

// replicasPart reads through one address in front of both replicas while objects change.
func replicasPart(ctx context.Context, h *house, r *result) error {
	if h.cfg.second != "krm" {
		return errors.New("only KRM has two replicas here")
	}
	transport, err := rest.TransportFor(h.second.config) // it brings the suite's credentials
	if err != nil {
		return err
	}
	server, err := alternator(h.replicas, transport)
	if err != nil {
		return err
	}
	defer server.Close()
	both, err := newSide("alternating", &rest.Config{Host: server.URL}, h.dir)
	if err != nil {
		return err
	}
	changes := &churn{world: h.world, random: rand.New(rand.NewPCG(2, uint64(time.Now().UnixNano())))}
	if err := changes.prepare(ctx); err != nil {
		return err
	}
	running, end := context.WithTimeout(ctx, alternatingTime)
	defer end()
	faults := make(chan string, 1000)
	g, running := errgroup.WithContext(running)
	g.Go(func() error { return changes.Run(running, 40) })
	counts := make([]int, 3)
	for i, story := range []func(context.Context, *side, chan<- string) (int, error){pagesForward, conditionalForward, watchOnce} {
		g.Go(func() (err error) {
			counts[i], err = story(running, both, faults)
			return err
		})
	}
	err = g.Wait()
	close(faults)
	found := 0
	for fault := range faults {
		if found++; found <= 5 {
			r.fault("replicas: %s", fault)
		}
	}
	if err != nil {
		return err
	}
	h.say("replicas in turn: %d walks, %d conditional reads, %d watch events; %d faults", counts[0], counts[1], counts[2], found)
	for i, n := range counts {
		if n == 0 {
			return fmt.Errorf("story %d of the replicas did nothing", i+1)
		}
	}
	if found == 0 {
		r.replicas = "ok"
	} else {
		r.replicas = "bad"
	}
	return nil
}

// older says whether version a is before b.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || order < 0
}

// pagesForward walks through the list again and again, each page from another replica:
// all pages of a walk show one moment, later walks later ones, no key comes twice.
func pagesForward(ctx context.Context, s *side, faults chan<- string) (walks int, err error) {
	last := "1"
	for ctx.Err() == nil {
		token, version, before := "", "", ""
		for {
			path := churnedPods + "?limit=3"
			if token != "" {
				path += "&continue=" + url.QueryEscape(token)
			}
			p, err := listPage(context.WithoutCancel(ctx), s, path)
			if err != nil {
				return walks, err
			}
			if version == "" {
				version = p.Metadata.ResourceVersion
			}
			if p.Metadata.ResourceVersion != version {
				faults <- fmt.Sprintf("a page is at version %s, the first was at %s", p.Metadata.ResourceVersion, version)
			}
			for _, item := range p.Items {
				if item.Metadata.Name <= before {
					faults <- fmt.Sprintf("%s comes after %s in a walk", item.Metadata.Name, before)
				}
				before = item.Metadata.Name
			}
			if token = p.Metadata.Continue; token == "" {
				break
			}
		}
		if older(version, last) {
			faults <- fmt.Sprintf("a list is at version %s, the one before was at %s", version, last)
		}
		last = version
		walks++
	}
	return walks, nil
}

// conditionalForward reads with If-None-Match: what an answer says never gets older, and
// a 304 comes only where nothing newer had been seen.
func conditionalForward(ctx context.Context, s *side, faults chan<- string) (reads int, err error) {
	tag, last := "", "1"
	for ctx.Err() == nil {
		header := http.Header{}
		if tag != "" {
			header.Set("If-None-Match", tag)
		}
		got, err := s.ask(context.WithoutCancel(ctx), http.MethodGet, churnedPods, header)
		if err != nil {
			return reads, err
		}
		version := got.header.Get("Krm-Resource-Version")
		if got.status == http.StatusOK {
			var list page
			if err := json.Unmarshal(got.body, &list); err != nil {
				return reads, err
			}
			version = list.Metadata.ResourceVersion
			tag = got.header.Get("Etag")
		} else if got.status != http.StatusNotModified {
			return reads, fmt.Errorf("a conditional read: %d %s", got.status, clip(string(got.body)))
		}
		if version != "" && older(version, last) {
			faults <- fmt.Sprintf("a conditional read (%d) is at version %s, the one before was at %s", got.status, version, last)
		}
		if version != "" {
			last = version
		}
		reads++
	}
	return reads, nil
}

// watchOnce watches for two seconds at a time, each time on another replica from the
// version of the last frame: versions only rise, and at the end what was told adds up to
// the list.
func watchOnce(ctx context.Context, s *side, faults chan<- string) (events int, err error) {
	begun, err := listPage(ctx, s, churnedPods)
	if err != nil {
		return 0, err
	}
	held := map[string]string{}
	for _, item := range begun.Items {
		held[item.Metadata.Name] = item.Metadata.ResourceVersion
	}
	last := begun.Metadata.ResourceVersion
	outlast, end := context.WithTimeout(context.WithoutCancel(ctx), alternatingTime+30*time.Second)
	defer end()
	for done := false; !done; {
		done = ctx.Err() != nil // once more after the last change
		got, err := s.ask(outlast, http.MethodGet, churnedPods+"?watch=1&resourceVersion="+last+allowBookmark, nil)
		if err != nil {
			return events, err
		}
		if got.status != http.StatusOK {
			return events, fmt.Errorf("a watch from version %s: %d %s", last, got.status, clip(string(got.body)))
		}
		decoder := json.NewDecoder(strings.NewReader(string(got.body)))
		for decoder.More() {
			var frame struct {
				Type   string
				Object struct{ Metadata metav1.ObjectMeta }
			}
			if err := decoder.Decode(&frame); err != nil {
				return events, fmt.Errorf("read a watch: %w", err)
			}
			version, name := frame.Object.Metadata.ResourceVersion, frame.Object.Metadata.Name
			if frame.Type == "ERROR" {
				return events, fmt.Errorf("a watch from version %s ends with an error", last)
			}
			if older(version, last) || version == last && frame.Type != "BOOKMARK" {
				faults <- fmt.Sprintf("a watch brings %s of %s at version %s after %s", frame.Type, name, version, last)
			}
			last = version
			switch frame.Type {
			case "ADDED", "MODIFIED":
				if _, known := held[name]; known != (frame.Type == "MODIFIED") {
					faults <- fmt.Sprintf("a watch brings %s of %s at version %s: it was there before: %t", frame.Type, name, version, known)
				}
				held[name] = version
				events++
			case "DELETED":
				delete(held, name)
				events++
			}
		}
	}
	ended, err := listPage(outlast, s, churnedPods)
	if err != nil {
		return events, err
	}
	for _, item := range ended.Items {
		if held[item.Metadata.Name] != item.Metadata.ResourceVersion {
			faults <- fmt.Sprintf("watches lost %s at version %s: they told of %q", item.Metadata.Name, item.Metadata.ResourceVersion, held[item.Metadata.Name])
		}
		delete(held, item.Metadata.Name)
	}
	for name := range held {
		faults <- fmt.Sprintf("watches lost the deletion of %s", name)
	}
	return events, nil
}
