package store

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Embedded is a Redis inside this process, for krm standalone: miniredis on a
// port of 127.0.0.1. It keeps everything in memory and nothing on disk.
type Embedded struct {
	server   *miniredis.Miniredis
	password string // others on this machine reach the port too
	log      *slog.Logger
}

// StartEmbedded opens the port. Run must follow: without it no lease ever expires.
func StartEmbedded(log *slog.Logger) (*Embedded, error) {
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("start embedded redis: %w", err)
	}
	e := &Embedded{server: server, password: randomID() + randomID(), log: log}
	server.RequireAuth(e.password)
	log.Info("embedded redis started", "addr", server.Addr())
	return e, nil
}

// Options is how to connect to it.
func (e *Embedded) Options() Options {
	return Options{Addrs: []string{e.Addr()}, Password: e.password, Embedded: true}
}

// Addr is where it listens, as Options.Addrs wants it.
func (e *Embedded) Addr() string { return e.server.Addr() }

// Run moves the server's clock, which does not move by itself, until ctx ends,
// and then closes the server: end its users first.
func (e *Embedded) Run(ctx context.Context) error {
	defer e.server.Close()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			e.log.Info("embedded redis stopped")
			return nil
		case now := <-ticker.C:
			e.server.FastForward(now.Sub(last))
			last = now
		}
	}
}
