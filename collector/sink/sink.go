// Package sink takes finished batches of metrics to where they are wanted.
//
// A Fan hands each batch to every sink. Each sink has its own goroutine and a bounded
// queue, from which the oldest batch is dropped when it is full: a slow sink delays
// nobody else, and never the collector.
package sink

import (
	"context"
	"errors"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// Sink takes batches somewhere. Batches are sealed: nobody changes them any more, and
// they may be kept.
type Sink interface {
	// Write takes one batch. It is called by one goroutine, with batches of one cluster
	// in ascending order of their time, and ends when ctx does. After an error the same
	// batch comes again, a little later, unless the error is an ErrDrop: so what may have
	// been written must not be written twice.
	Write(ctx context.Context, b *metrics.Batch) error
	// Run does what has to be done beside, such as keeping a lease, until ctx ends. Write
	// is called while it runs only, and it returns nil when there is nothing to do.
	Run(ctx context.Context) error
}

// ErrDrop comes when a batch cannot be written, and another try will not mend that.
var ErrDrop = errors.New("the batch is dropped")

// ErrStandby comes when a batch need not be written, because another collector writes
// its own of the same window.
var ErrStandby = errors.New("another collector does the work")
