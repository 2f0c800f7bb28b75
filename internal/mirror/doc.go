// Package mirror keeps a resource's snapshot in memory, moved on by its feed, for
// readers that must not wait for Redis. Readers take a Root: an immutable state
// that never changes under them. docs/design/pipeline.md tells the protocol.
package mirror
