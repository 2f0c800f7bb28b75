package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// cluster is a KRM in memory. What happens to it is planned: a watch that has
// nothing to tell asks for the plan's next step.
type cluster struct {
	t       testing.TB
	media   string
	version int
	pods    map[string]*corev1.Pod
	history []change
	oldest  int // history up to here is forgotten
	pages   map[string][]string
	plan    []string
	refuse  int // how many of the next requests are answered 503
	done    func()
}

type change struct {
	version int
	kind    string
	pod     *corev1.Pod
}

// step does the plan's next one, and says how it ends the watch, if it does.
func (c *cluster) step() (ends string) {
	if len(c.plan) == 0 {
		return ""
	}
	next := c.plan[0]
	c.plan = c.plan[1:]
	verb, rest, _ := strings.Cut(next, " ")
	switch verb {
	case "set": // creates or changes
		pod, found := c.pods[rest]
		kind := "MODIFIED"
		if !found {
			kind = "ADDED"
			pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: rest, UID: types.UID(fmt.Sprint("u", c.version+1))}}
		}
		c.record(kind, rest, pod)
	case "delete":
		if pod, found := c.pods[rest]; found {
			c.record("DELETED", rest, pod)
			delete(c.pods, rest)
		}
	case "forget":
		c.oldest = c.version
		c.pages = map[string][]string{}
	case "gap": // what happens next is never told
		for range min(6, len(c.plan)) {
			c.step()
		}
		c.oldest = c.version
		return "end"
	case "away":
		c.refuse += 2
	default:
		return verb
	}
	return ""
}

func (c *cluster) record(kind, name string, pod *corev1.Pod) {
	c.version++
	pod = pod.DeepCopy()
	pod.ResourceVersion = strconv.Itoa(c.version)
	pod.Spec.NodeName = fmt.Sprint("node-", c.version)
	c.pods[name] = pod
	c.history = append(c.history, change{c.version, kind, pod})
}

func (c *cluster) RoundTrip(request *http.Request) (*http.Response, error) {
	query := request.URL.Query()
	switch {
	case c.refuse > 0:
		c.refuse--
		return answerOf(503, "text/plain", strings.NewReader("busy")), nil
	case query.Get("watch") == "":
		return c.list(query.Get("limit"), query.Get("continue")), nil
	}
	from, err := strconv.Atoi(query.Get("resourceVersion"))
	if err != nil {
		return nil, err
	}
	if query.Get("allowWatchBookmarks") != "true" {
		return nil, errors.New("a watch without bookmarks")
	}
	return answerOf(200, c.media+";stream=watch", &watchBody{cluster: c, at: from, ctx: request.Context()}), nil
}

// list has pages of two pods, whatever is asked; a token is the names that are left.
func (c *cluster) list(limit, token string) *http.Response {
	if limit == "" {
		c.t.Error("a list without a limit")
	}
	names := slices.Sorted(maps.Keys(c.pods))
	version := strconv.Itoa(c.version)
	if token != "" {
		left, kept := c.pages[token]
		if !kept {
			return answerOf(410, c.media, bytes.NewReader(encode(c.t, c.media, expired())))
		}
		names, version = left, strings.Split(token, "/")[0]
	}
	list := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: version}}
	for _, name := range names[:min(2, len(names))] {
		list.Items = append(list.Items, *c.at(name, version))
	}
	if len(names) > 2 {
		list.Continue = fmt.Sprint(version, "/", len(names))
		c.pages[list.Continue] = names[2:]
		c.step() // the world moves between two pages
	}
	return answerOf(200, c.media, bytes.NewReader(encode(c.t, c.media, list)))
}

// at is a pod as it was at a version.
func (c *cluster) at(name, version string) (pod *corev1.Pod) {
	limit, _ := strconv.Atoi(version)
	for _, change := range c.history {
		if change.version <= limit && change.pod.Name == name {
			pod = change.pod
		}
	}
	return pod
}

// watchBody is the stream of one watch.
type watchBody struct {
	cluster *cluster
	at      int
	ctx     context.Context
	pending []byte
	err     error
}

func (b *watchBody) Read(into []byte) (int, error) {
	for len(b.pending) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.advance()
	}
	n := copy(into, b.pending)
	b.pending = b.pending[n:]
	return n, nil
}

func (b *watchBody) advance() {
	c := b.cluster
	if b.at < c.oldest {
		b.pending, b.err = encodeEvent(c.t, c.media, "ERROR", expired()), io.EOF
		return
	}
	for _, change := range c.history {
		if change.version > b.at {
			b.send(change.kind, change.pod, change.version)
			return
		}
	}
	if len(c.plan) == 0 { // all has been told
		c.done()
		c.plan = []string{"silent"}
	}
	switch c.step() {
	case "bookmark":
		b.send("BOOKMARK", &corev1.Pod{ObjectMeta: metav1.ObjectMeta{ResourceVersion: strconv.Itoa(c.version)}}, c.version)
	case "end":
		b.err = io.EOF
	case "cut": // within a frame
		b.pending, b.err = []byte("\x00\x00\x01"), errors.New("connection reset")
		if c.media == mediaJSON {
			b.pending = []byte(`{"type":"ADD`)
		}
	case "half":
		b.pending, b.err = encodeEvent(c.t, c.media, "ADDED", &corev1.Pod{})[:9], io.EOF
	case "silent":
		<-b.ctx.Done()
		b.err = b.ctx.Err()
	case "busy":
		status := &metav1.Status{Status: "Failure", Reason: metav1.StatusReasonTooManyRequests, Code: 429, Details: &metav1.StatusDetails{RetryAfterSeconds: 3}}
		b.pending, b.err = encodeEvent(c.t, c.media, "ERROR", status), io.EOF
	}
}

func (b *watchBody) send(kind string, object runtime.Object, version int) {
	b.pending, b.at = encodeEvent(b.cluster.t, b.cluster.media, kind, object), version
}

// story replays a watch and says what is wrong with it.
type story struct {
	pods    map[string]*corev1.Pod
	version int
	synced  int
	faults  []string
}

func (s *story) blame(format string, values ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, values...))
}

func (s *story) tell(event client.Event[corev1.Pod]) {
	if event.ResourceVersion != "" {
		version, err := strconv.Atoi(event.ResourceVersion)
		if err != nil || version < s.version {
			s.blame("%s goes from %d back to %s", event.Type, s.version, event.ResourceVersion)
		}
		s.version = version
	}
	if event.Type == client.Bookmark {
		if event.Synced {
			s.synced++
		}
		if event.Object != nil || event.ResourceVersion == "" {
			s.blame("bookmark %+v", event)
		}
		return
	}
	name := event.Object.Name
	before, found := s.pods[name]
	switch {
	case event.Type == client.Added && found, event.Type != client.Added && !found,
		event.Type != client.Added && before.UID != event.Object.UID,
		event.Type == client.Modified && before.ResourceVersion == event.Object.ResourceVersion:
		s.blame("%s of %s %s/%s, known is %v", event.Type, name, event.Object.UID, event.Object.ResourceVersion, before)
	}
	s.pods[name] = event.Object
	if event.Type == client.Deleted {
		delete(s.pods, name)
	}
}

// play runs a watch through a plan.
func play(t *testing.T, media string, plan []string) (told story, truth map[string]*corev1.Pod, took time.Duration, err error) {
	told.pods = map[string]*corev1.Pod{}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		world := &cluster{t: t, media: media, version: 100, pods: map[string]*corev1.Pod{}, pages: map[string][]string{}, plan: plan, done: cancel}
		for i := range 5 {
			world.plan = append([]string{fmt.Sprint("set p", i)}, world.plan...)
			world.step()
		}
		began := time.Now()
		krm := connect(t, "http://host", client.Options{Retries: -1, HTTPClient: &http.Client{Transport: world}})
		for event, failed := range krm.Pods("").Watch(ctx, client.WatchOptions{}) {
			if err = failed; err == nil {
				told.tell(event)
			}
		}
		took, truth = time.Since(began), world.pods
	})
	for _, pod := range told.pods { // the server's come without
		pod.TypeMeta = metav1.TypeMeta{}
	}
	return told, truth, took, err
}

// TestWatchTellsTheTruth: whatever happens on the way, what a watch tells adds up to
// what there is, and is a legal story of each object.
func TestWatchTellsTheTruth(t *testing.T) {
	steps := rapid.SliceOfN(rapid.SampledFrom([]string{
		"set p0", "set p1", "set p2", "set p5", "set p6", "delete p0", "delete p1", "delete p2", "delete p5",
		"forget", "gap", "gap", "away", "bookmark", "end", "cut", "half", "silent", "busy",
	}), 0, 40)
	rapid.Check(t, func(rt *rapid.T) {
		plan := steps.Draw(rt, "plan")
		told, truth, took, err := play(t, rapid.SampledFrom([]string{mediaJSON, mediaProtobuf}).Draw(rt, "media"), plan)
		if !errors.Is(err, context.Canceled) {
			rt.Fatalf("the watch ended with %v, want the context's end", err)
		}
		if len(told.faults) > 0 || told.synced == 0 {
			rt.Fatalf("synced %d times; %s", told.synced, strings.Join(told.faults, "\n"))
		}
		if diff := cmp.Diff(truth, told.pods); diff != "" {
			rt.Fatal(diff)
		}
		if most := time.Duration(len(plan)+1) * (2*time.Minute + 15*time.Second); took > most {
			rt.Fatalf("it took %v, want at most %v", took, most)
		}
	})
}
