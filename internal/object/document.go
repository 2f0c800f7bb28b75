package object

import "time"

// The paths of the API server's own documents that are asked for in two forms get
// the second form's name behind a space, so that both can be kept by path.
const (
	// AggregatedCore is /api as an APIGroupDiscoveryList, version v2.
	AggregatedCore = "/api APIGroupDiscoveryList"
	// AggregatedGroups is /apis as an APIGroupDiscoveryList, version v2.
	AggregatedGroups = "/apis APIGroupDiscoveryList"
)

// The parts of the API server's documents; each is read and replaced as a whole.
const (
	DiscoveryPart = "discovery" // /version, /api, /apis and every group version's list of resources
	OpenAPIPart   = "openapi"   // /openapi/v2, the index /openapi/v3 and what it names
)

// Document is one of the documents in which the API server describes its API.
type Document struct {
	Path     string // "/apis/apps/v1", "/openapi/v3/api/v1", AggregatedCore
	Revision string // its ETag or a hash: another text has another revision
	Body     []byte // JSON, as the server sent it
}

// DocumentsRead is what reading one part of the documents brought.
type DocumentsRead struct {
	ClusterUID string            // "" if it may not be read
	Revisions  map[string]string // of every document that there is now, by path
	Changed    []Document        // those that were not known at this revision
}

// PackedDocument is a Document that is stored; its store opens it.
type PackedDocument struct {
	Revision string
	Data     []byte
}

// Documents is a set of stored documents. It is never changed after it is built.
type Documents struct {
	Revision   string                    // of the whole set; "" if nothing was ever stored
	ClusterUID string                    // whose documents they are, "" if unknown
	CheckedAt  map[string]time.Time      // by part: when the API server last confirmed it
	ByPath     map[string]PackedDocument // without Data if only revisions were asked for
}
