package object

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrExpired comes when the API server, a log or a feed no longer keeps the
	// place from which to continue: read everything again.
	ErrExpired = errors.New("expired")
	// ErrNotFound comes when the API server knows no such resource (now).
	ErrNotFound = errors.New("no such resource")
	// ErrForbidden comes when the API server refuses us; the text names verb and resource.
	ErrForbidden = errors.New("forbidden")
	// ErrUnsupported comes when the API server refuses a way of asking that it is
	// too old for, or has switched off: use the fallback.
	ErrUnsupported = errors.New("not supported by the API server")
	// ErrSilent comes when a connection to the API server brought no byte for
	// longer than a live one can be quiet: it is taken for dead.
	ErrSilent = errors.New("silent")
	// ErrGarbled comes when what the API server sent on a watch or list cannot be
	// read: the connection is given up and opened anew.
	ErrGarbled = errors.New("garbled")
	// ErrFenced comes when another writer took over: stop writing, take over again or end.
	ErrFenced = errors.New("fenced by another writer")
	// ErrLost comes when Redis no longer holds what it had acknowledged: read the
	// state again and go on from there.
	ErrLost = errors.New("redis lost acknowledged writes")
	// ErrFull comes when Redis is at its maxmemory and refuses to write: nothing
	// was written, the same call may succeed later.
	ErrFull = errors.New("redis is full")
	// ErrUnreadable comes when one object's stored bytes cannot be opened, and another
	// try will not mend that: leave it out, and have everything verified in full.
	ErrUnreadable = errors.New("unreadable")
	// ErrNotSynced comes before the first complete list has been merged.
	ErrNotSynced = errors.New("not synced yet")
)

// RetryError asks to wait before the next try: the server said so (Retry-After).
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return fmt.Sprintf("%v (retry after %v)", e.Err, e.After) }

// Unwrap returns the cause.
func (e *RetryError) Unwrap() error { return e.Err }
