package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// Status is what KRM says of itself: /krm/v1/status.
type Status struct {
	Resources []ResourceStatus `json:"resources"` // what is watched, by group and name
	Redis     RedisStatus      `json:"redis"`
	// At is the server's clock in whole seconds when it answered, for the age of the
	// times above; the local clock if the server does not send it.
	At time.Time `json:"-"`
}

// RedisStatus says whether the server reaches its Redis.
type RedisStatus struct {
	OK      bool   `json:"ok"`
	Message string `json:"message,omitempty"`
}

// ResourceStatus is the state of one watched resource.
type ResourceStatus struct {
	Resource   string `json:"resource"` // "pods", "deployments.apps"
	Kind       string `json:"kind"`
	Group      string `json:"group"`
	Version    string `json:"version"`
	Namespaced bool   `json:"namespaced"`

	Synced    bool      `json:"synced"` // it is served; false until the first complete list is merged
	Objects   int64     `json:"objects"`
	Freshness Freshness `json:"freshness"`

	Drift          Drift `json:"drift"`     // since KRM first watched the resource
	LastDrift      Drift `json:"lastDrift"` // of the last verification
	VerifiedRounds int64 `json:"verifiedRounds"`
	Late           int64 `json:"late"` // rounds that the stream had not reached after 10 s

	Progress *Progress    `json:"progress,omitempty"` // of the complete list that is under way, if one is
	Roles    []RoleStatus `json:"roles"`
}

// Drift counts the objects that verification found wrong, and mended, by kind.
type Drift struct {
	Missing int64 `json:"missing"` // the API server had it, KRM did not
	Stale   int64 `json:"stale"`   // KRM had an older version
	Ghost   int64 `json:"ghost"`   // KRM had it, the API server did not
	Altered int64 `json:"altered"` // the same version with another body; only full verification finds it
}

// Total is the number of wrong objects of any kind.
func (d Drift) Total() int64 { return d.Missing + d.Stale + d.Ghost + d.Altered }

// Progress counts the objects of a complete list that is under way.
type Progress struct {
	Received int64 `json:"received"`
	Expect   int64 `json:"expect"` // about how many will come; 0 if unknown
}

// RoleStatus is the last heartbeat of a process that works on a resource.
type RoleStatus struct {
	Role     string    `json:"role"`     // "streamer", "verifier" or "aggregator"
	Instance string    `json:"instance"` // host name and process id
	State    string    `json:"state"`    // "following" when all is well, "standby" when another instance works
	Message  string    `json:"message,omitempty"`
	At       time.Time `json:"at"` // by the process's clock, UTC
}

const statusPath = "/krm/v1/status"

// Status asks how fresh and how right each watched resource is, and who works on it.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	got, err := c.get(ctx, question{Request: Request{Path: statusPath, Accept: mediaJSON}})
	if err != nil {
		return nil, err
	}
	status := &Status{At: got.date}
	if err := utiljson.Unmarshal(got.payload.body, status); err != nil {
		return nil, fmt.Errorf("GET %s: decode the status: %w: %s", got.url, err, excerpt(got.payload.body))
	}
	if status.Resources == nil {
		return nil, fmt.Errorf("GET %s: the answer has no resources (is this KRM's address?): %s", got.url, excerpt(got.payload.body))
	}
	if status.At.IsZero() {
		status.At = time.Now().UTC()
	}
	return status, nil
}

// VerifyOptions say how to verify.
type VerifyOptions struct {
	Full bool // compare the bodies too, not only which objects exist at which version
}

// Verify asks for a verification of resource, named as in ResourceStatus.Resource,
// now and not when it is due. It does not wait for it: [Client.Status] then tells
// of one more round, whose Freshness.VerifiedAt is later. It is not repeated after
// a failure.
func (c *Client) Verify(ctx context.Context, resource string, opts VerifyOptions) error {
	query := url.Values{"resource": {resource}}
	if opts.Full {
		query.Set("full", "true")
	}
	_, _, err := c.try(ctx, http.MethodPost, question{Request: Request{Path: "/krm/v1/verify", Query: query, Accept: mediaJSON}})
	return err
}
