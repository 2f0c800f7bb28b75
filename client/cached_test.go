package client_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// changing serves a list of pods that changes when it is told to.
type changing struct {
	t       *testing.T
	mu      sync.Mutex
	version int
	full    int // answers with a body
	asked   []string
	hold    chan struct{} // if not nil, an answer waits for it
}

func (c *changing) RoundTrip(request *http.Request) (*http.Response, error) {
	c.mu.Lock()
	etag, hold := fmt.Sprintf(`W/"%d"`, c.version), c.hold
	c.hold = nil
	list := podList(c.version)
	c.asked = append(c.asked, request.Header.Get("If-None-Match"))
	c.mu.Unlock()
	if hold != nil {
		<-hold
	}
	answer := answerOf(http.StatusNotModified, "", strings.NewReader(""))
	if request.Header.Get("If-None-Match") != etag {
		c.mu.Lock()
		c.full++
		c.mu.Unlock()
		answer = answerOf(http.StatusOK, bestOf(request), bytes.NewReader(encode(c.t, bestOf(request), list)))
	}
	answer.Header.Set("ETag", etag)
	answer.Header.Set("Krm-Resource-Version", fmt.Sprint(100+len(c.asked)))
	return answer, nil
}

func TestCached(t *testing.T) {
	world := &changing{t: t, version: 1}
	krm := connect(t, "http://host", client.Options{HTTPClient: &http.Client{Transport: world}})
	cached := krm.Pods("").Cached(client.ListOptions{})
	first, fresh, err := cached.Shared(t.Context())
	if err != nil || len(first.Items) != 1 || fresh.StreamedResourceVersion != "101" {
		t.Fatal(first, fresh, err)
	}
	again, fresh, err := cached.Shared(t.Context())
	if err != nil || again != first || world.full != 1 || fresh.StreamedResourceVersion != "102" {
		t.Fatalf("%p, %p, %d bodies, %+v, %v: want the same list with a new freshness", first, again, world.full, fresh, err)
	}
	mine, _, err := cached.List(t.Context())
	if err != nil || mine == first || len(mine.Items) != 1 || world.full != 1 {
		t.Fatalf("%p, %p, %d bodies, %v: want a copy", first, mine, world.full, err)
	}
	mine.Items[0].Labels["app"] = "changed"
	if first.Items[0].Labels["app"] == "changed" {
		t.Error("a change of the copy changes what is kept")
	}
	world.version = 2
	news, _, err := cached.Shared(t.Context())
	if err != nil || news == first || len(news.Items) != 2 || len(first.Items) != 1 {
		t.Fatal(news, err)
	}
	if got := fmt.Sprint(world.asked); got != `[ W/"1" W/"1" W/"1"]` {
		t.Error(got)
	}
	for _, opts := range []client.ListOptions{{Limit: 1}, {Continue: "x"}} {
		if _, _, err := krm.Pods("").Cached(opts).Shared(t.Context()); err == nil {
			t.Errorf("%+v is cached", opts)
		}
	}
}

// TestCachedLateAnswer: an answer that was long on its way replaces no newer one.
func TestCachedLateAnswer(t *testing.T) {
	world := &changing{t: t, version: 1, hold: make(chan struct{})}
	hold := world.hold
	krm := connect(t, "http://host", client.Options{HTTPClient: &http.Client{Transport: world}})
	cached := krm.Pods("").Cached(client.ListOptions{})
	late := make(chan int)
	go func() {
		list, _, err := cached.Shared(t.Context())
		if err != nil {
			t.Error(err)
		}
		late <- len(list.Items)
	}()
	for waiting := true; waiting; {
		world.mu.Lock()
		waiting = world.hold != nil
		world.mu.Unlock()
	}
	world.mu.Lock()
	world.version = 2
	world.mu.Unlock()
	if list, _, err := cached.Shared(t.Context()); err != nil || len(list.Items) != 2 {
		t.Fatal(list, err)
	}
	close(hold)
	if got := <-late; got != 1 {
		t.Errorf("the late answer has %d pods", got)
	}
	before := world.full
	if list, _, err := cached.Shared(t.Context()); err != nil || len(list.Items) != 2 || world.full != before {
		t.Errorf("got %d pods with %d more bodies, %v", len(list.Items), world.full-before, err)
	}
}

// TestNotModifiedUnasked: a 304 that nobody asked for is no answer.
func TestNotModifiedUnasked(t *testing.T) {
	krm := connect(t, "http://host", client.Options{HTTPClient: &http.Client{Transport: wire(func(*http.Request) (*http.Response, error) {
		return answerOf(304, "", strings.NewReader("")), nil
	})}})
	if list, _, err := krm.Pods("").List(t.Context(), client.ListOptions{}); err == nil {
		t.Errorf("got %v", list)
	}
}
