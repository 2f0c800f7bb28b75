package influx

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// calm keeps logs short: each thing is said once in a while.
type calm struct {
	every time.Duration
	mu    *sync.Mutex
	said  map[string]time.Time
	held  map[string]int
}

func newCalm() calm {
	return calm{every: time.Minute, mu: &sync.Mutex{}, said: map[string]time.Time{}, held: map[string]int{}}
}

// speak says whether to say what, and how often it was not said since it was said last.
func (c *calm) speak(what string) (unsaid int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, before := c.said[what]; before && time.Since(last) < c.every {
		c.held[what]++
		return 0, false
	}
	unsaid = c.held[what]
	c.said[what], c.held[what] = time.Now(), 0
	return unsaid, true
}

// full drives the alert metric: the queue's disk or the server's has no room left.
type full struct {
	mu     sync.Mutex
	gauge  prometheus.Gauge
	ours   bool
	theirs bool
}

func (f *full) queue(is bool) { f.set(&f.ours, is) }

func (f *full) server(is bool) { f.set(&f.theirs, is) }

func (f *full) set(which *bool, is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*which = is
	value := 0.0
	if f.ours || f.theirs {
		value = 1
	}
	f.gauge.Set(value)
}

// longestPause is how long a server can ask us to write nothing.
const longestPause = 10 * time.Minute

// patient notes until when the server wants to be left alone.
type patient struct {
	http.RoundTripper
	notBefore *atomic.Int64 // Unix nanoseconds
}

// RoundTrip sends a request, and reads Retry-After of an answer that says to come later.
func (p patient) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := p.RoundTripper.RoundTrip(request)
	if err == nil && (response.StatusCode == http.StatusTooManyRequests || response.StatusCode == http.StatusServiceUnavailable) {
		if wait := min(retryAfter(response.Header), longestPause); wait > 0 {
			p.notBefore.Store(time.Now().Add(wait).UnixNano())
		}
	}
	return response, err
}

// retryAfter reads the header of that name: seconds, or a time. 0 if there is none.
func retryAfter(header http.Header) time.Duration {
	text := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return time.Until(at)
	}
	return 0
}
