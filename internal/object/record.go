package object

import (
	"fmt"
	"strings"
	"time"
)

// Key names one object of a resource.
type Key struct {
	Namespace string // "" for cluster-scoped resources
	Name      string
}

// String is "namespace/name", or "name" without a namespace. Keys are ordered by
// the bytes of this form, as the API server orders its lists.
func (k Key) String() string {
	if k.Namespace == "" {
		return k.Name
	}
	return k.Namespace + "/" + k.Name
}

// Compare orders keys by the bytes of their string form: a-b/zz before a/zz.
func (k Key) Compare(other Key) int {
	if k.Namespace == other.Namespace {
		return strings.Compare(k.Name, other.Name)
	}
	return strings.Compare(k.String(), other.String())
}

// ParseKey reads what Key.String wrote.
func ParseKey(text string) Key {
	if namespace, name, found := strings.Cut(text, "/"); found {
		return Key{Namespace: namespace, Name: name}
	}
	return Key{Name: text}
}

// Head is what merging needs to know of an object.
type Head struct {
	Key     Key
	UID     string    // metadata.uid; a key that is used again has another UID
	Version Version   // metadata.resourceVersion; a tombstone's is the deletion's
	Deleted bool      // a tombstone
	SeenAt  time.Time // when our process received it, UTC
}

// Record is one object as the API server last described it. A Record is never
// changed after it is built: share it freely and do not write to Body or Cells.
type Record struct {
	Head
	Body  []byte // the object as JSON, without managedFields; a tombstone's is the last state
	Cells []byte // the Table row's cells as a JSON array; empty if the server made none
}

// Packed is a Record whose body and cells are compressed. Only a codec of
// internal/store opens it; all others pass Data on as it is.
type Packed struct {
	Head
	Data []byte
}

// Column is one column of a resource's Table, as meta.k8s.io/v1 defines it.
type Column struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Format      string `json:"format"`
	Description string `json:"description"`
	Priority    int32  `json:"priority"` // 0 is shown always, others with -o wide
}

// Freshness says how far an answer may be trusted: Verified is true of every
// object, and from there on the stream was followed up to Streamed.
type Freshness struct {
	Streamed   Version   `json:"streamedResourceVersion"` // the position; what a list at this moment carries
	StreamedAt time.Time `json:"streamedAt"`              // when the stream was last known to be there, UTC
	Verified   Version   `json:"verifiedResourceVersion,omitempty"`
	VerifiedAt time.Time `json:"verifiedAt,omitzero"` // when that list was taken, UTC
}

// Drift counts what verification found wrong, by kind.
type Drift struct {
	Missing int64 `json:"missing"` // the API server had it, KRM did not
	Stale   int64 `json:"stale"`   // KRM had an older version
	Ghost   int64 `json:"ghost"`   // KRM had it, the API server did not
	Altered int64 `json:"altered"` // the same version with another body
}

// Add returns the sum of d and other.
func (d Drift) Add(other Drift) Drift {
	return Drift{d.Missing + other.Missing, d.Stale + other.Stale, d.Ghost + other.Ghost, d.Altered + other.Altered}
}

// Total is the number of wrong objects of any kind.
func (d Drift) Total() int64 { return d.Missing + d.Stale + d.Ghost + d.Altered }

func (d Drift) String() string {
	return fmt.Sprintf("missing=%d stale=%d ghost=%d altered=%d", d.Missing, d.Stale, d.Ghost, d.Altered)
}
