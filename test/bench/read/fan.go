package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// fan is one measurement of watchers: so many of them, each on a connection of its
// own, and so many changes a second, each of which all of them get.
type fan struct {
	watchers, rate int
}

// fanned is what came of it at one side.
type fanned struct {
	watchers int
	events   int     // changes that were acknowledged
	rate     float64 // of them, a second
	delays   samples // from the acknowledgement to the arrival, of each change at each watcher
	lost     int     // arrivals that did not happen within fanPatience
	disorder int     // events that came twice or after a later one
	ended    int     // watchers that the server ended
	cpus     float64 // that the server took meanwhile
}

const fanPatience = 15 * time.Second

// arrival is when an event was read by one watcher.
type arrival struct {
	version uint64
	at      time.Time
}

// watcher is one of them.
type watcher struct {
	seen []arrival
	last atomic.Uint64 // the version of the last event
	err  error         // why it ended, if it was not us
}

// run measures f at one side, for d.
func (f fan) run(ctx context.Context, s *side, c *churner, d time.Duration) (result fanned, done churned, err error) {
	result.watchers = f.watchers
	version, err := listVersion(ctx, s)
	if err != nil {
		return result, done, err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watchers := make([]*watcher, f.watchers)
	var reading sync.WaitGroup
	opening, openingCtx := errgroup.WithContext(ctx)
	opening.SetLimit(32)
	for i := range watchers {
		watchers[i] = &watcher{seen: make([]arrival, 0, 2*f.rate*int(d.Seconds()+1))}
		opening.Go(func() error {
			body, err := openWatch(openingCtx, watching, s, version)
			if err == nil {
				reading.Go(func() { watchers[i].read(watching, body) })
			}
			return err
		})
	}
	if err := opening.Wait(); err != nil {
		stop()
		reading.Wait()
		return result, done, err
	}
	done, err = f.churn(ctx, s, c, d, &result)
	if err == nil {
		err = awaitAll(ctx, watchers, done)
	}
	stop()
	reading.Wait()
	if err != nil {
		return result, done, err
	}
	result.events, result.rate = len(done.acks), done.rate()
	result.count(watchers, done.acks)
	return result, done, nil
}

// churn makes the changes.
func (f fan) churn(ctx context.Context, s *side, c *churner, d time.Duration, result *fanned) (churned, error) {
	runtime.GC() // what comparing and handshakes have left
	if err := process.Pause(ctx, time.Second); err != nil {
		return churned{}, err
	}
	before, err := process.ReadUsage(s.pid)
	if err != nil {
		return churned{}, err
	}
	c.start(ctx, f.rate)
	paused := process.Pause(ctx, d)
	done, err := c.stop()
	after, usageErr := process.ReadUsage(s.pid)
	result.cpus = over(after.CPUSeconds-before.CPUSeconds, done.took.Seconds())
	return done, errors.Join(paused, err, usageErr)
}

// awaitAll returns once all watchers have the last change, or after fanPatience.
func awaitAll(ctx context.Context, watchers []*watcher, done churned) error {
	var last uint64
	for _, acked := range done.acks {
		last = max(last, acked.version)
	}
	for deadline := time.Now().Add(fanPatience); time.Now().Before(deadline); {
		behind := 0
		for _, w := range watchers {
			if w.last.Load() < last {
				behind++
			}
		}
		if behind == 0 {
			return nil
		}
		if err := process.Pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil // count tells what is lost
}

// listVersion is the version from which to watch.
func listVersion(ctx context.Context, s *side) (string, error) {
	body, err := s.get(ctx, "/api/v1/namespaces/"+namespaceOf(0)+"/pods")
	if err != nil {
		return "", err
	}
	var list struct {
		Metadata struct{ ResourceVersion string }
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return "", fmt.Errorf("decode a list: %w", err)
	}
	return list.Metadata.ResourceVersion, nil
}

// openWatch returns once the answer has begun. It lasts as long as watching.
func openWatch(opening, watching context.Context, s *side, version string) (*http.Response, error) {
	ctx, cancel := context.WithCancel(watching)
	stop := context.AfterFunc(opening, cancel) // until here only, so that one fault ends all openings
	timer := time.AfterFunc(30*time.Second, cancel)
	request, err := s.request(ctx, read{path: allPods + "?watch=true&timeoutSeconds=600&resourceVersion=" + version, accept: mediaJSON, encoding: "identity"})
	if err != nil {
		cancel()
		return nil, err
	}
	transport := s.transport()
	transport.IdleConnTimeout = time.Second // nobody uses it again
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if !timer.Stop() || !stop() {
		err = errors.Join(err, errors.New("no answer within 30 s"))
	}
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", answer.Status)
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("watch the pods of %s: %w", s.name, err)
	}
	return answer, nil
}

// read notes each event until ctx or the watch ends.
func (w *watcher) read(ctx context.Context, answer *http.Response) {
	defer answer.Body.Close()
	lines := bufio.NewReaderSize(answer.Body, 32<<10)
	for {
		line, err := lines.ReadSlice('\n')
		at := time.Now()
		if err == nil {
			err = w.note(line, at)
		}
		if err != nil {
			if ctx.Err() == nil {
				w.err = fmt.Errorf("the watch ended: %w", err)
			}
			return
		}
	}
}

// note takes down one event.
func (w *watcher) note(line []byte, at time.Time) error {
	version, err := eventVersion(line)
	if err != nil || version == 0 {
		return err
	}
	w.seen = append(w.seen, arrival{version, at})
	w.last.Store(version)
	return nil
}

// eventVersion is the version of the object in an event, 0 if it is a bookmark. It
// reads no more than it must: thousands of events a second come in.
func eventVersion(line []byte) (uint64, error) {
	if bytes.HasPrefix(line, []byte(`{"type":"BOOKMARK"`)) {
		return 0, nil
	}
	if !bytes.HasPrefix(line, []byte(`{"type":"MODIFIED"`)) {
		return 0, fmt.Errorf("an event that nobody caused: %.300s", line)
	}
	_, rest, found := bytes.Cut(line, []byte(`"resourceVersion":"`))
	digits, _, whole := bytes.Cut(rest, []byte(`"`))
	if !found || !whole {
		return 0, fmt.Errorf("an event without a resourceVersion: %.300s", line)
	}
	return strconv.ParseUint(string(digits), 10, 64)
}

// count compares what the watchers saw with what was acknowledged.
func (f *fanned) count(watchers []*watcher, acks []ack) {
	acked := make(map[uint64]time.Time, len(acks))
	for _, a := range acks {
		acked[a.version] = a.at
	}
	for _, w := range watchers {
		var last uint64
		came := 0
		for _, event := range w.seen {
			at, ours := acked[event.version]
			if event.version <= last || !ours {
				f.disorder++
				continue
			}
			last = event.version
			came++
			// An event may come before the acknowledgement: then it is in time.
			f.delays = append(f.delays, max(0, event.at.Sub(at)))
		}
		f.lost += len(acked) - came
		if w.err != nil {
			f.ended++
		}
	}
}
