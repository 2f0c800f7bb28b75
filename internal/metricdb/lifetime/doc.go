// Package lifetime keeps in the metric database when each pod was created, scheduled,
// started, finished and deleted, and what it requested when, and the same of claims to
// storage (persistentvolumeclaims): so that requests × time is exact, also for what came and
// went between two looks of the collector, and for what was resized meanwhile.
//
// Follower follows the pods, or the claims, that KRM's aggregator publishes, and writes
// their lives; Pods and Claims read them.
//
// # When something holds what it requests
//
// A pod from when it was scheduled until it finished or was deleted; one that never
// had a node held nothing, and has no life. A claim while it is bound; see Claim. Requests
// that change (KEP-1287; a claim that is expanded) count from when KRM's streamer saw the change; times that
// Kubernetes does not tell (deletions, binding) are the streamer's, too. All others are
// those of the API server and the nodes, in whole seconds.
//
// A deletion that nobody saw is dated when it was noticed, and the life is marked as Estimated: the
// aggregator found an object missing and has no last state of it, or a follower had to
// read all anew.
//
// # Records
//
// Each record says what was known of one life, and what was requested at the record's
// time; fields that are not known are absent. With the prefix krm/:
//
//	pod         claim         at the creation
//	pod.change  claim.change  when requests changed; and when it was scheduled (bound), started, finished or
//	                          deleted, if that was on a later day (UTC) than its creation
//	pod.day     claim.day     at the begin of each day (UTC) that it saw
//	lifetimes                 at the epoch: where in the feed the follower is, by cluster and resource
//
// Tags: cluster_name, namespace_name, pod_name, pod_id, nodename, labels; of claims
// claim_name and claim_id. They stay those with which it was first written. Fields: created, scheduled (of claims
// bound), started, finished, deleted (Unix ms), estimated (0 or 1, with deleted),
// containers, cpu.request (millicores), memory.request, storage.request (bytes), gpu.request.
//
// So who was there in an interval is told by the records of its first day and those of the others that are from
// then on: reading a month does not become slower with the years before it.
//
// # Restarts, failures, several followers
//
// What is known of a life is a set of facts with times of their own. Learning one again,
// or in another order, changes nothing: a follower that is killed goes on from its last
// place, and two of them for one cluster write the same. The place is written last. If the feed does
// not reach back to it (it is kept for some minutes), everything that it still says and the snapshot are
// read, that is logged and counted as a gap: what came and went meanwhile is not known,
// and changes are dated when the newest state was seen. The first start does the same.
//
// Days are those of the feed's clock: a day's records are written a minute after it
// began; days that nobody saw are made up for.
//
// An object that comes back with the same UID after its deletion (etcd was restored)
// has no life on the day of the deletion.
package lifetime
