// Package collector measures the nodes of a cluster, window after window, and makes a
// batch of metrics of each.
//
// A Pipeline works for one cluster, or for a shard of its nodes. Windows are aligned to
// multiples of the resolution. A little after the end of each (Schedule) every node is
// scraped (gather), a node at its own moment of a short span so that they do not all
// come at once; samples go into the batch as they come (assembly), each into its node's
// place. When all nodes have answered, failed or run out of time, the processors fill in
// what follows from the samples, and the batch goes to the sinks, sealed.
//
// A node that fails costs only itself: nobody waits for what has failed, and a node that
// did not answer in time the last time is not waited for when all others are in.
package collector
