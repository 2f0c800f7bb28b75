// Package store keeps KRM's state in Redis. It is the only package that knows
// Redis and the names of its keys; docs/design/pipeline.md is the protocol.
//
// Each resource has three writers: a [Log] (the streamer's), a [Listing] (the
// verifier's) and a [Snapshot] (the aggregator's). A writer owns its part while
// it holds the role's lease. Every write is a script that first compares the
// role's fence, so a writer that was overtaken gets object.ErrFenced and nothing
// is written. [Feed] reads what the aggregator publishes and needs no lease.
//
// Bodies are compressed once, in Append, with a dictionary that the first batch
// trains, and stay as they are until a reader unpacks them.
//
// Errors of Redis itself come back wrapped, with object.ErrFull beside them when
// Redis is at its maxmemory.
package store
