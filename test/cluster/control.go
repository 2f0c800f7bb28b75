package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// The running cluster takes orders as HTTP POST over a socket in DIR/run, which
// only the cluster's owner may open. An answer comes when the order is done; an
// error is plain text.

// listenControl opens the control socket of d. The lock must be held.
func listenControl(d Dir) (net.Listener, error) {
	_ = os.Remove(d.run("control"))
	path, done, err := socketPath(d)
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the control socket in %s: %w", d.run(""), err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l, nil
}

// socketPath names the control socket through an open file of its folder: the
// name of a socket may have only 107 bytes, and folders of tests are often
// longer. Call done when the name was used.
func socketPath(d Dir) (path string, done func(), err error) {
	folder, err := os.Open(d.run(""))
	if err != nil {
		return "", nil, fmt.Errorf("open the cluster's folder: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/control", folder.Fd()), func() { _ = folder.Close() }, nil
}

// serveControl answers orders until ctx ends.
func (s *supervisor) serveControl(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		s.fail(errStopped)
	})
	mux.HandleFunc("POST /restart", func(w http.ResponseWriter, r *http.Request) {
		down, err := time.ParseDuration(r.FormValue("down"))
		grace := apiServerGrace
		if r.FormValue("kill") == "true" {
			grace = 0
		}
		if err == nil {
			err = s.restart(ctx, r.FormValue("component"), grace, down)
		}
		answer(w, err)
	})
	mux.HandleFunc("POST /restore", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.restore(ctx, r.FormValue("file")))
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stopped := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stopped()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the control socket: %w", err)
	}
	return nil
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// order sends an order to the cluster that runs in d and waits for its end.
func order(ctx context.Context, d Dir, path string, params url.Values) error {
	if !d.running() {
		return fmt.Errorf("no cluster runs in %s: start one with cluster up --dir=%s", d, d)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		path, done, err := socketPath(d)
		if err != nil {
			return nil, err
		}
		defer done()
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	transport := &http.Transport{DialContext: dial, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 2 * readyWithin}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://cluster"+path, strings.NewReader(params.Encode()))
	if err != nil {
		return fmt.Errorf("order %s: %w", path, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("order %s from the cluster in %s: %w", path, d, err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNoContent {
		return nil
	}
	text, err := io.ReadAll(response.Body)
	return errors.Join(errors.New(strings.TrimSpace(string(text))), err)
}
