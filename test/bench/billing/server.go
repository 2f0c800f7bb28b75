package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// lab is what all servers need.
type lab struct {
	cfg    config
	dir    string
	say    func(string, ...any)
	world  *world
	influx int // the process id of influxd; 0: not known
}

func (l *lab) path(names ...string) string {
	return filepath.Join(append([]string{l.dir}, names...)...)
}

// server is a real krm that answers the billing API over one database. It collects
// nothing, so that it does nothing but answer.
type server struct {
	process *process.Process
	base    string
	log     string
	http    *http.Client
}

// serve starts krm standalone with the arguments that name the database.
func (l *lab) serve(ctx context.Context, name string, args ...string) (*server, error) {
	port, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	s := &server{base: fmt.Sprintf("http://127.0.0.1:%d", port), log: l.path(name + ".log"), http: &http.Client{Timeout: 5 * time.Minute}}
	s.process, err = process.Start(process.Spec{
		Name: "krm", Path: l.cfg.krm, Log: s.log,
		Args: append([]string{
			"standalone", fmt.Sprintf("--listen=127.0.0.1:%d", port), "--kubeconfig=" + l.path("kubeconfig"), "--resource=pods", "--collect=false",
		}, args...),
		Env: []string{"API_USERNAME=" + username, "API_PASSWORD=" + password},
	})
	if err != nil {
		return nil, err
	}
	err = process.Poll(ctx, time.Minute, "krm", func(ctx context.Context) error {
		select {
		case <-s.process.Done():
			return process.Final(fmt.Errorf("krm ended: %w\n%s", s.process.Err(), process.Tail(s.log, 15)))
		default:
		}
		_, err := process.Scrape(ctx, s.base)
		return err
	})
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) stop() {
	if s != nil && s.process != nil {
		s.process.Stop(20 * time.Second)
	}
}
