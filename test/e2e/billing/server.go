package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/process"
)

// server is an InfluxDB of our own, to be stopped and killed. Its administrator is root
// with the password root, as the original took for given.
type server struct {
	*stage
	port    int
	process *process.Process
}

// defaultPort is InfluxDB's own, which KRM takes for given.
const defaultPort = 8086

// openServer starts it, on the default port if that is free.
func (st *stage) openServer(ctx context.Context) (*server, error) {
	s := &server{stage: st, port: defaultPort}
	if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", defaultPort)); err == nil {
		_ = l.Close()
	} else if s.port, err = process.FreePort(); err != nil {
		return nil, err
	}
	other, err := process.FreePort()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(st.room, "influxd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	settings := fmt.Sprintf(`reporting-disabled = true
bind-address = "127.0.0.1:%d"
[meta]
  dir = %q
[data]
  dir = %q
  wal-dir = %q
  index-version = "tsi1"
  query-log-enabled = false
[http]
  bind-address = "127.0.0.1:%d"
  auth-enabled = true
  log-enabled = false
[monitor]
  store-enabled = false
[logging]
  level = "warn"
`, other, filepath.Join(dir, "meta"), filepath.Join(dir, "data"), filepath.Join(dir, "wal"), s.port)
	if err := os.WriteFile(st.path("influxd.conf"), []byte(settings), 0o600); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	_, err = st.query(ctx, s.url(), "", "", "CREATE USER root WITH PASSWORD 'root' WITH ALL PRIVILEGES")
	return s, err
}

func (s *server) url() string { return fmt.Sprintf("http://127.0.0.1:%d", s.port) }

// start starts it on its data, and returns once it answers.
func (s *server) start(ctx context.Context) (err error) {
	s.process, err = s.stage.start(process.Spec{Name: "influxd", Path: s.cfg.influxd, Args: []string{"run", "-config", s.path("influxd.conf")}, Log: s.path("influxd.log")})
	if err != nil {
		return err
	}
	return process.Poll(ctx, 60*time.Second, "influxd", func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url()+"/ping", http.NoBody)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		return err
	})
}

// pause stops it in the middle of whatever it does; connections stay.
func (s *server) pause() error { return syscall.Kill(s.process.PID(), syscall.SIGSTOP) }

func (s *server) resume() error { return syscall.Kill(s.process.PID(), syscall.SIGCONT) }
