package object

import "time"

// State is what a process does for a resource at the moment.
type State string

// The states of a process. Every one but StateFollowing and StateStandby needs a message.
const (
	StateStarting    State = "starting"
	StateStandby     State = "standby"     // another instance does the work
	StateSyncing     State = "syncing"     // the first or a new complete list is on its way
	StateFollowing   State = "following"   // all is well
	StateAbsent      State = "absent"      // the API server knows no such resource
	StateForbidden   State = "forbidden"   // RBAC refuses us
	StateUnreachable State = "unreachable" // the API server does not answer, or answers 429 or 5xx
	StateFailing     State = "failing"     // anything else
)

// The roles that register.
const (
	RoleStreamer   = "streamer"
	RoleVerifier   = "verifier"
	RoleAggregator = "aggregator"
)

// Status is a process's heartbeat for one resource.
type Status struct {
	Role     string    `json:"role"`
	Instance string    `json:"instance"` // host name and process id
	State    State     `json:"state"`
	Message  string    `json:"message,omitempty"`
	At       time.Time `json:"at"` // the process's clock, UTC
}

// Registered is a resource that some process watches.
type Registered struct {
	Resource Resource `json:"resource"`
	Statuses []Status `json:"statuses"` // by role and instance
}
