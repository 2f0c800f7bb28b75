package object

import "time"

// FrameStream names the frames that one collector writes: those of one cluster, or
// of a shard of its nodes. Shards of one cluster are streams of their own.
type FrameStream struct {
	Cluster string // the sources' cluster_name
	Shard   int    // 0 to Shards-1
	Shards  int
}

// Frame is one batch of metrics as it travels. internal/metrics knows what is in it.
type Frame struct {
	At   time.Time // the window's end: frames of a stream are ordered by it, and it is their name
	Data []byte
}
