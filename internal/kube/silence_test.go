package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// wire is an API server in memory, for tests with a clock of their own. Each
// request is answered with what answer returns.
type wire func(*http.Request) (io.ReadCloser, error)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := w(r)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(r.Context(), func() { body.Close() }) // as net/http does
	body = &cancelled{ReadCloser: body, err: r.Context().Err}
	return &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{}, Body: body, Request: r}, nil
}

// cancelled is a body that cannot be read any more once its request's context ended.
type cancelled struct {
	io.ReadCloser
	err func() error
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.err(); err != nil {
		return 0, err
	}
	return c.ReadCloser.Read(p)
}

func TestSilentWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, &rest.Config{Host: "http://wire", Transport: wire(func(*http.Request) (io.ReadCloser, error) {
			r, w := io.Pipe()
			go func() { // an event each minute, three of them
				for range 3 {
					time.Sleep(time.Minute)
					_, _ = io.WriteString(w, podEvent("ADDED", "x", "11"))
				}
			}()
			return r, nil
		})}, Options{})
		began := time.Now()
		got, err := told(c.Watch(t.Context(), pods, "10", 0))
		if len(got) != 3 || !errors.Is(err, object.ErrSilent) || time.Since(began) != 3*time.Minute+90*time.Second {
			t.Errorf("%d events, error %v after %v", len(got), err, time.Since(began))
		}
	})
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, &rest.Config{Host: "http://wire", Transport: wire(func(r *http.Request) (io.ReadCloser, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}, Options{Silence: time.Second})
		began := time.Now()
		_, _, err := c.Metadata(t.Context(), pods)
		if !errors.Is(err, object.ErrSilent) || time.Since(began) != time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
	})
}

func TestSlowConsumerIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, &rest.Config{Host: "http://wire", Transport: wire(func(*http.Request) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(strings.Repeat(podEvent("ADDED", "x", "11"), 1000))), nil
		})}, Options{})
		n := 0
		for _, err := range c.Watch(t.Context(), pods, "10", 0) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			time.Sleep(time.Hour)
		}
		if n != 1000 {
			t.Errorf("%d events", n)
		}
	})
}

// A server that ignores sendInitialEvents and has nothing more to tell would hang
// its watchers for ever.
func TestInitialEventsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, &rest.Config{Host: "http://wire", Transport: wire(func(*http.Request) (io.ReadCloser, error) {
			r, w := io.Pipe()
			go func() { _, _ = io.WriteString(w, podEvent("ADDED", "x", "11")) }()
			return r, nil
		})}, Options{})
		_, err := told(c.Initial(t.Context(), pods))
		if !errors.Is(err, object.ErrUnsupported) || !errors.Is(err, object.ErrSilent) {
			t.Errorf("error %v", err)
		}
	})
}

func TestInitialEventsOfABusyOrdinaryWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, &rest.Config{Host: "http://wire", Transport: wire(func(*http.Request) (io.ReadCloser, error) {
			r, w := io.Pipe()
			go func() {
				for range 60 {
					_, _ = io.WriteString(w, podEvent("MODIFIED", "x", "11"))
					time.Sleep(time.Second)
				}
				w.Close()
			}()
			return r, nil
		})}, Options{WatchTimeout: time.Minute})
		if _, err := told(c.Initial(t.Context(), pods)); !errors.Is(err, object.ErrUnsupported) {
			t.Errorf("error %v", err)
		}
	})
}

func TestProbeOfAServerThatIgnoresIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, &rest.Config{Host: "http://wire", Transport: wire(func(r *http.Request) (io.ReadCloser, error) {
			if r.URL.Query().Has("watch") {
				body, _ := io.Pipe() // never brings anything
				return body, nil
			}
			return io.NopCloser(strings.NewReader(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"78"},"items":[]}`)), nil
		})}, Options{})
		for _, want := range []time.Duration{10 * time.Second, 0} { // the second one knows
			began := time.Now()
			got, err := c.Probe(t.Context(), pods)
			if got != "78" || err != nil || time.Since(began) != want {
				t.Errorf("got %q, %v after %v", got, err, time.Since(began))
			}
		}
	})
}
