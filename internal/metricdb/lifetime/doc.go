// Package lifetime keeps in the metric database when each pod was created, scheduled,
// started, finished and deleted, and what it requested: so that requests × time is
// exact, also for pods that came and went between two looks of the collector.
//
// Follower follows the pods that KRM's aggregator publishes and writes their lives;
// Pods reads them.
package lifetime
