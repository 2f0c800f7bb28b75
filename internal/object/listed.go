package object

import "time"

// Listed is the verifier's complete statement about every key at one version.
type Listed struct {
	ID         string    // random; names this statement in wants and bodies
	Version    Version   // R, the list's own resourceVersion
	At         time.Time // when the list began, UTC
	After      Version   // the log's position before the list began; R below it means that etcd was restored
	Lineage    string    // the log's lineage before the list began
	ClusterUID string
	Full       bool // Items carry the hashes of their bodies
	Items      []ListedItem
}

// ListedItem is one object of a Listed.
type ListedItem struct {
	Key     Key
	UID     string
	Version Version
	Hash    uint64 // of the body as Hash makes it; 0 unless Listed.Full
}

// Change is one step of a snapshot.
type Change struct {
	Type EventType // Added, Modified or Deleted
	// Object is the new state. A Deleted one carries what was last known: Data is
	// empty when the deletion itself was not seen, and Version is then the version
	// at which the object was found to be gone.
	Object Packed
}

// FeedEntry is what one publication changed. Readers apply its Changes in order.
type FeedEntry struct {
	ID   LogID
	Prev LogID // a mirror whose last entry is not Prev starts anew from the snapshot
	// Hold says that the snapshot is between two states: readers keep serving the
	// state before until an entry without Hold.
	Hold bool
	// Barrier, if set, is the version below which no watch may continue: what
	// changed has no place in the order of versions (a repair, a resync).
	Barrier   Version
	Lineage   string
	Freshness Freshness
	Objects   int64    // live objects after Changes
	Columns   []Column // if they changed
	Changes   []Change
}

// SnapshotState describes a resource's snapshot as it stands in Redis, written
// in one transaction with the snapshot itself.
type SnapshotState struct {
	Synced     bool // a complete list has been merged since the lineage began
	Lineage    string
	ClusterUID string  // of the lineage; "" if unknown
	Schema     string  // of the newest complete list in the log; "" if unknown
	Floor      Version // of the newest complete list of any kind: log records up to it change nothing
	Freshness  Freshness
	Objects    int64
	Drift      Drift // since the snapshot was first made; survives restarts
	LastDrift  Drift // of the last verification
	Verified   int64 // verifications adopted
	Late       int64 // of those, adopted before the stream had reached them
	Checkpoint LogID // the log is merged up to here
	Resyncing  bool  // a part of a resync is merged that readers do not see yet
	Received   int64 // records merged in the resync that runs
	Expect     int64 // about how many it will bring, 0 if unknown
	Barrier    Version
	Listed     string // ID of the Listed adopted last
	Columns    []Column
	Tail       LogID // the feed's last entry
}

// Publication is one step of the aggregator, written in one transaction: the
// changed objects, the feed entry that tells of them, and the state after it.
type Publication struct {
	Entry      FeedEntry // ID and Prev are set by the store
	State      SnapshotState
	Tombstones []Head // to remember: deletions newer than the last verification
	Forgotten  []Key  // tombstones to drop
	TrimBefore LogID  // log entries before this one are no longer needed by the aggregator
	Drift      Drift  // what this step found, added to the counters in Redis
}
