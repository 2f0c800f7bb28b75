package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Redis is a real redis-server on 127.0.0.1 with an append-only file that is
// flushed to disk every second. Its data outlive its restarts.
type Redis struct {
	binary  string
	dir     string
	port    int
	log     string
	process *Process
}

// StartRedis starts redis-server with its data in dir, and returns once it answers.
func StartRedis(ctx context.Context, binary, dir, log string) (*Redis, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create Redis' folder: %w", err)
	}
	r := &Redis{binary: binary, dir: dir, port: port, log: log}
	return r, r.Start(ctx)
}

// Addr is host:port.
func (r *Redis) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// PID is the server's process id.
func (r *Redis) PID() int { return r.process.PID() }

// Start starts the server on its data and port, and returns once it answers.
func (r *Redis) Start(ctx context.Context) error {
	var err error
	r.process, err = Start(Spec{
		Name: "redis", Path: r.binary, Log: r.log,
		Args: []string{
			"--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--dir", r.dir,
			"--appendonly", "yes", "--appendfsync", "everysec", "--aof-load-truncated", "yes",
			"--save", "", "--maxmemory-policy", "noeviction", "--daemonize", "no",
		},
	})
	if err != nil {
		return err
	}
	return Poll(ctx, 30*time.Second, "redis-server", func(context.Context) error { return r.ping() })
}

func (r *Redis) ping() error {
	select {
	case <-r.process.Done():
		return Final(fmt.Errorf("redis-server ended: %w\n%s", r.process.Err(), Tail(r.log, 5)))
	default:
	}
	c, err := net.DialTimeout("tcp", r.Addr(), time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && strings.TrimSpace(answer) != "+PONG" {
		err = errors.New(strings.TrimSpace(answer)) // -LOADING
	}
	return err
}

// Stop ends the server; it writes its data first.
func (r *Redis) Stop() { r.process.Stop(20 * time.Second) }

// LoseTail kills the server and cuts the last n bytes off its append-only file:
// writes that it had acknowledged are gone at the next Start.
func (r *Redis) LoseTail(n int64) error {
	r.process.Kill()
	files, err := filepath.Glob(filepath.Join(r.dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("find the append-only file in %s: %w", r.dir, errors.Join(err, os.ErrNotExist))
	}
	sort.Strings(files)
	last := files[len(files)-1]
	info, err := os.Stat(last)
	if err != nil {
		return fmt.Errorf("cut the append-only file: %w", err)
	}
	if err := os.Truncate(last, max(0, info.Size()-n)); err != nil {
		return fmt.Errorf("cut the append-only file: %w", err)
	}
	return nil
}
