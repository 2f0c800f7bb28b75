package store

import (
	"strconv"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// keys are the names of one resource's keys. The braces are Redis Cluster's hash
// tag: all keys of a resource live in one slot, so that one script may use them.
type keys struct {
	base         string // "krm:{pods}:"
	log          string // stream of packed items
	logMeta      string // hash: tail, position, resync, …
	readers      string // hash: reader → the log entry from which on it needs the log
	listed       string // list of compressed chunks
	listedMeta   string // hash: id, head
	wants        string // hash: key → "", bodies that the aggregator lacks
	bodies       string // hash: key → head and packed body, from the verifier
	snapshot     string // hash: key → head and packed body
	tombstones   string // hash: key → head
	snapshotMeta string // hash: tail, state, columns, listed, drift counters
	feed         string // stream of publications
	asks         string // hash: ask → when, in Unix milliseconds
	dicts        string // set of the IDs of dict:ID
}

func newKeys(prefix string, resource object.Resource) keys {
	base := prefix + ":{" + resource.String() + "}:"
	return keys{
		base:         base,
		log:          base + "log",
		logMeta:      base + "log:meta",
		readers:      base + "readers",
		listed:       base + "listed",
		listedMeta:   base + "listed:meta",
		wants:        base + "wants",
		bodies:       base + "bodies",
		snapshot:     base + "snapshot",
		tombstones:   base + "tombstones",
		snapshotMeta: base + "snapshot:meta",
		feed:         base + "feed",
		asks:         base + "asks",
		dicts:        base + "dicts",
	}
}

func (k keys) lease(role string) string    { return k.base + "lease:" + role }
func (k keys) fence(role string) string    { return k.base + "fence:" + role }
func (k keys) upload(listed string) string { return k.base + "listed:" + listed }
func (k keys) dict(id uint32) string {
	return k.base + "dict:" + strconv.FormatUint(uint64(id), 10)
}

// all are the keys that do not depend on a dictionary or an upload.
func (k keys) all() []string {
	names := []string{
		k.log, k.logMeta, k.readers, k.listed, k.listedMeta, k.wants, k.bodies,
		k.snapshot, k.tombstones, k.snapshotMeta, k.feed, k.asks, k.dicts,
	}
	for _, role := range roles {
		names = append(names, k.lease(role), k.fence(role))
	}
	return names
}
