package apiserver

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Status is the answer of /krm/v1/status. The public client decodes the same JSON
// into types of its own; testdata/status.json is what both agree on.
type Status struct {
	Resources []ResourceStatus `json:"resources"` // by group and name
	Redis     RedisStatus      `json:"redis"`
}

// RedisStatus says whether this server reaches Redis.
type RedisStatus struct {
	OK      bool   `json:"ok"`
	Message string `json:"message,omitempty"`
}

// ResourceStatus is the state of one watched resource. Freshness, Objects and
// Synced are of what this server serves, the counters of what Redis holds.
type ResourceStatus struct {
	Resource   string `json:"resource"`
	Kind       string `json:"kind"`
	Group      string `json:"group"`
	Version    string `json:"version"`
	Namespaced bool   `json:"namespaced"`

	Synced    bool             `json:"synced"`
	Objects   int64            `json:"objects"`
	Freshness object.Freshness `json:"freshness"`

	Drift          object.Drift `json:"drift"`
	LastDrift      object.Drift `json:"lastDrift"`
	VerifiedRounds int64        `json:"verifiedRounds"`
	Late           int64        `json:"late"`

	Progress *Progress       `json:"progress,omitempty"` // of a complete list that is under way
	Roles    []object.Status `json:"roles"`
}

// Progress counts the objects of a complete list that is under way.
type Progress struct {
	Received int64 `json:"received"`
	Expect   int64 `json:"expect"` // about how many will come, 0 if unknown
}

// statusTimeout bounds what Redis is waited for.
const statusTimeout = 2 * time.Second

func (s *Server) status(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), statusTimeout)
	defer cancel()
	c.Header("Cache-Control", "private, no-store")
	c.JSON(http.StatusOK, s.collect(ctx))
}

func (s *Server) collect(ctx context.Context) Status {
	registered, _, err := s.set.Registered()
	status := Status{Resources: make([]ResourceStatus, len(registered)), Redis: RedisStatus{OK: true}}
	faults := make([]error, len(registered)+1)
	faults[len(registered)] = err
	var group sync.WaitGroup
	for i, r := range registered {
		group.Go(func() { status.Resources[i], faults[i] = s.resourceStatus(ctx, r) })
	}
	group.Wait()
	for _, err := range faults {
		if err != nil {
			status.Redis = RedisStatus{Message: err.Error()}
		}
	}
	return status
}

// resourceStatus fails with what keeps Redis from answering; the rest is filled in.
func (s *Server) resourceStatus(ctx context.Context, registered object.Registered) (ResourceStatus, error) {
	r := registered.Resource
	status := ResourceStatus{
		Resource: r.String(), Kind: r.Kind, Group: r.Group, Version: r.Version, Namespaced: r.Namespaced, Roles: registered.Statuses,
	}
	if status.Roles == nil {
		status.Roles = []object.Status{}
	}
	m, ok := s.set.Lookup(r.Group, r.Version, r.Name)
	if !ok {
		return status, nil
	}
	if root := m.Root(); root != nil {
		status.Synced, status.Objects, status.Freshness = true, int64(root.Len()), root.Freshness
	}
	state, err := m.State(ctx)
	if errors.Is(err, object.ErrNotSynced) {
		return status, nil
	}
	if err != nil {
		return status, err
	}
	status.Drift, status.LastDrift, status.VerifiedRounds, status.Late = state.Drift, state.LastDrift, state.Verified, state.Late
	switch mirrored := m.Status(); {
	case state.Resyncing || !state.Synced:
		status.Progress = &Progress{state.Received, state.Expect}
	case !status.Synced:
		status.Progress = &Progress{mirrored.Loaded, mirrored.Expect}
	}
	return status, nil
}
