package object

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// EventType says what an Event tells.
type EventType uint8

// The events of a watch. Added, Modified and Deleted carry a Record. Bookmark
// and InitialEnd carry a Version: everything up to it has been delivered.
// Columns carries the Table's columns, before the first row that has them.
const (
	Added EventType = iota + 1
	Modified
	Deleted
	Bookmark
	InitialEnd
	Columns
)

func (t EventType) String() string {
	switch t {
	case Added:
		return "ADDED"
	case Modified:
		return "MODIFIED"
	case Deleted:
		return "DELETED"
	case Bookmark:
		return "BOOKMARK"
	case InitialEnd:
		return "INITIAL-END"
	case Columns:
		return "COLUMNS"
	}
	return "UNKNOWN"
}

// Event is one frame of a watch.
type Event struct {
	Type    EventType
	Record  Record
	Version Version
	Columns []Column
}

// LogID is an entry's place in a resource's log or feed: the Redis stream ID
// "TENURE-N". A writer's tenure begins with the millisecond at which it took
// over and lies above every earlier entry, so an ID is never used twice, not
// even when Redis loses entries. "" is before the first.
type LogID string

// Compare is negative if id comes before other, 0 if they are the same, and
// positive if id comes after it. What is no number counts as 0.
func (id LogID) Compare(other LogID) int {
	if id == other {
		return 0
	}
	tenure, n := id.split()
	otherTenure, otherN := other.split()
	return cmp.Or(cmp.Compare(tenure, otherTenure), cmp.Compare(n, otherN))
}

func (id LogID) split() (tenure, n uint64) {
	before, after, _ := strings.Cut(string(id), "-")
	tenure, _ = strconv.ParseUint(before, 10, 64)
	n, _ = strconv.ParseUint(after, 10, 64)
	return tenure, n
}

// ItemKind says what a LogItem is.
type ItemKind uint8

// The items of a log, in the order of arrival.
const (
	ItemRecord      ItemKind = iota + 1 // Record or Packed, as the API server sent it
	ItemPosition                        // the stream has delivered everything up to Version
	ItemResyncBegin                     // a complete list follows; Lineage and Rewrite say of what
	ItemResyncEnd                       // the list is complete and true at Version
	ItemColumns                         // the Table's columns
)

// Resync describes the complete list that a log begins.
type Resync struct {
	Lineage    string // versions are comparable within one lineage only
	ClusterUID string // of namespace kube-system; "" if it may not be read
	Schema     string // fingerprint of what shapes the bodies: server version, OpenAPI hash, flags
	Rewrite    bool   // bodies may differ from earlier ones at the same version
	Expect     int64  // about how many records follow, 0 if unknown
}

// LogItem is one statement of the streamer.
type LogItem struct {
	Kind    ItemKind
	Record  Record    // ItemRecord, on the way in
	Packed  Packed    // ItemRecord, on the way out
	Version Version   // ItemPosition, ItemResyncEnd
	At      time.Time // when it was known, UTC
	Columns []Column  // ItemColumns
	Resync  Resync    // ItemResyncBegin
}

// LogEntry is what one append wrote. A reader whose last entry is not Prev has
// missed something: the log was trimmed before it, or Redis lost writes.
type LogEntry struct {
	ID    LogID
	Prev  LogID
	Items []LogItem
}

// LogState is what a streamer finds when it takes over a log.
type LogState struct {
	Resync     Resync // the last one that began; its Lineage is "" if there is no log yet
	Position   Version
	PositionAt time.Time
	Resyncing  bool // the last resync did not end
	Tail       LogID
}

// Ask is a wish that one process left in Redis for another.
type Ask string

// The wishes. Whoever picks one up removes it; whoever still needs it asks again.
const (
	AskAdvance Ask = "advance" // streamer: prove to be current, so that the position moves
	AskCheck   Ask = "check"   // streamer: break the watch and probe, etcd may have been restored
	AskResync  Ask = "resync"  // streamer: list everything again, a reader was overtaken
	AskVerify  Ask = "verify"  // verifier: verify now
	AskFull    Ask = "full"    // verifier: verify now, bodies included
)
