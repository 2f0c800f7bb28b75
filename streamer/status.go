package streamer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// layer is a part of the streamer that has a status of its own.
type layer int

// The layers, the one that speaks first at the end: while Redis is away, that is
// the news, however well the watch is.
const (
	watching layer = iota // what the API server lets us do
	beating               // the lease
	writing               // the log
	layers
)

// board holds the status of every layer and reports the one that matters, at
// every change and every 5 s.
type board struct {
	logger  *slog.Logger
	changed chan struct{}

	mu   sync.Mutex
	log  Log
	said [layers]object.Status
}

func newBoard(logger *slog.Logger) *board {
	return &board{logger: logger, changed: make(chan struct{}, 1)}
}

// report says where to report from now on.
func (b *board) report(log Log) {
	b.mu.Lock()
	b.log = log
	b.mu.Unlock()
}

// set says how a layer is. A layer with the state "" has nothing to say; if that
// is so of all of them, nothing is reported.
func (b *board) set(l layer, state object.State, message string) {
	status := object.Status{Role: object.RoleStreamer, State: state, Message: message}
	b.mu.Lock()
	changed := b.said[l] != status
	b.said[l] = status
	b.mu.Unlock()
	if !changed {
		return
	}
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// state is what the layer said last.
func (b *board) state(l layer) object.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.said[l].State
}

// now returns the status to report and where.
func (b *board) now() (status object.Status, log Log) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, said := range b.said {
		if said.State != "" {
			status = said
		}
	}
	status.At = time.Now().UTC()
	return status, b.log
}

// run reports until ctx ends.
func (b *board) run(ctx context.Context) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.changed:
		case <-ticker.C:
		}
		status, log := b.now()
		if status.State == "" || log == nil {
			continue
		}
		err := b.send(ctx, log, status)
		if err != nil && !failed && ctx.Err() == nil {
			b.logger.Warn("cannot report the status", "state", status.State, "err", err)
		}
		failed = err != nil
	}
}

func (b *board) send(ctx context.Context, log Log, status object.Status) error {
	ctx, cancel := context.WithTimeout(ctx, reportEvery)
	defer cancel()
	return log.Report(ctx, status)
}
