// Package metrics is the shared vocabulary of measurements: what is measured (the
// catalog), about what (keys and entities), one window's worth of it (a Batch, in
// columns), how batches travel (frames), and the fifteen minutes that apiservers
// keep of them (the Model).
//
// Names, units and levels are Heapster's; docs/design/metrics.md lists every
// deliberate difference.
package metrics
