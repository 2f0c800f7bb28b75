// Package metricdb is the metric database: what samples, roll-ups and lifetimes are
// written to and read from, for months rather than for fifteen minutes.
//
// # One contract, two databases
//
// DB is the contract. internal/metricdb/influx keeps it over InfluxDB (1.8 and
// later by InfluxQL with bound parameters, 2.x by Flux), internal/metricdb/embedded in
// one file below --data-dir, for krm standalone. connect.Open opens what a Config
// says. internal/metricdb/dbtest holds the suite that both pass; they answer alike, to
// the last bit for integers.
//
// # Samples
//
// A sample is one value of one metric of one metric set at the time of its batch (the
// end of the window). Its tags are Heapster's:
//
//	type            cluster, ns, node, pod, pod_container, sys_container: the level; of a
//	                labelled metric, the level of the set that the row belongs to
//	cluster_name    always
//	nodename        node, pod, pod_container, sys_container
//	namespace_name  ns, pod, pod_container
//	pod_name        pod, pod_container
//	pod_id          pod, pod_container: the pod's UID
//	container_name  pod_container, sys_container
//	container_base_image, labels, and labels that --store_label copies
//	resource_id; accelerator_id, make, model; gpu_index, gpu_name, gpu_uuid: of labelled metrics
//
// gpu/usage is a labelled metric of containers and nodes, and has sums, which lack the
// labels, at pod, ns, node and cluster. Only nodes have both: SumsOnly keeps them apart.
//
// A tag that is empty is absent. Control characters, and a backslash at the end of
// a value, are stored as U+FFFD, in both databases (InfluxDB's protocol cannot carry
// them); everything else comes back as it was written, up to 16 KiB. A float that is
// no finite number is no sample. Identity says which of the tags
// tell sets apart; the others describe, and may change while a pod lives.
//
// A pod's name that is used again is another pod: pod_id tells them apart, also in
// InfluxDB, where points do not carry it unless tags=pod_id asks for it. There the
// measurement krm/pods says, once an hour and when a pod is first seen, which UID a
// name has; a sample belongs to the UID that was seen last at or before its time.
// Where two pods of one name live at once, the one first seen later gets the samples.
//
// # Time
//
// All intervals are [From, To): From included, To excluded. Buckets are aligned to
// the Unix epoch. A metric is stored for one level per sample: a query names its level,
// always, because sums over several levels count twice and three times. Hours and days
// are UTC's, whatever zone a query's times are in.
//
// Batches and records may be of any time and come in any order. A set has one sample at
// a time: where a clock was set back, and minutes are measured again, the later one stays, and
// nothing is counted twice. Retention of the embedded database goes by the clock and by the
// batches, so that a clock in the future removes nothing for a day; InfluxDB's is the server's,
// by the server's clock.
//
// # What an integral is
//
// A sample at t with resolution r stands for the window (t-r, t]. The integral of a
// gauge is therefore the sum of value × r (a step, not a trapezoid). It is chosen
// because it is exact and can be reproduced from the samples with pencil and paper: cpu/usage_rate is
// the mean of its window already, so that value × r is the CPU time of that window; integrals of
// adjacent intervals add up without anything at their seams; a gap adds nothing
// (coverage says so) where a trapezoid would invent a line across it; and it is the
// sum of integers times one number, hence equal on every database, from raw samples
// and from roll-ups. r comes with each batch and is kept (Resolutions), so that a
// change of --metric-resolution changes no integral.
//
// The increase of a counter is the sum of its steps upwards; a sample that is lower than
// the one before was counted from 0, and adds its whole value. The step belongs to the later
// sample, so that increases of adjacent intervals add up too: the sample before From
// is looked for up to Lookback. A set's first sample has no step.
//
// # Integers
//
// Integers are kept as int64 and come back exactly, also above 2^53, on both
// databases. A Total is exact as long as it fits into int64; beyond, Exact is false and
// Float holds the sum to 53 bits. Samples of a metric have one type for ever: the
// catalog's. Where a database holds the other type from another writer, the server
// refuses those samples, and they are counted as dropped.
//
// # Records
//
// A Record is a row of numbers at a time with tags, in a named set: roll-ups, pod
// lifetimes. A record with the same set, time and tags replaces the former field by
// field. Records have a retention of their own, and are read back one by one (Records)
// or summed by tags (RecordTotals), quickly: a month of hourly roll-ups of 1,000 pods
// takes well below a second.
//
// # Errors
//
// ErrUnavailable: the database is away, or too slow: answer 503 with Retry-After.
// ErrInvalid: a query that no database can answer, such as a tag that does not exist:
// answer 400. ErrFull: the disk is full; reads go on. Everything else is a fault of ours.
// Nothing that comes from a caller becomes part of a query by formatting: values are
// bound parameters (InfluxQL) or go through one tested function (Flux literals), names
// of metrics, sets, fields and tags are checked against what is allowed first.
package metricdb
