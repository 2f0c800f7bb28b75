package apiserver

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// aliveFor is how old a heartbeat may be for its process to count as alive.
const aliveFor = 15 * time.Second

// check is one line of /readyz.
type check struct {
	name   string
	failed bool
	says   string
}

func (c check) String() string {
	if c.failed {
		return fmt.Sprintf("[-]%s failed: %s", c.name, c.says)
	}
	return fmt.Sprintf("[+]%s %s", c.name, c.says)
}

// readyz says whether everything that is watched can be served: "ok", or each
// check on a line if one fails or with ?verbose.
func (s *Server) readyz(c *gin.Context) {
	checks := s.checks(time.Now())
	code, verdict := http.StatusOK, "readyz check passed"
	var lines []string
	for _, check := range checks {
		lines = append(lines, check.String())
		if check.failed {
			code, verdict = http.StatusServiceUnavailable, "readyz check failed"
		}
	}
	if _, verbose := c.GetQuery("verbose"); code == http.StatusOK && !verbose {
		c.String(code, "ok")
		return
	}
	c.String(code, "%s\n%s\n", strings.Join(lines, "\n"), verdict)
}

func (s *Server) checks(now time.Time) []check {
	registered, at, err := s.set.Registered()
	redis := check{name: "redis", says: "ok"}
	switch {
	case at.IsZero():
		redis.failed, redis.says = true, err.Error()
	case err != nil:
		// What is mirrored is served on, with warnings.
		redis.says = fmt.Sprintf("does not answer: the last state is served (%v)", err)
	}
	checks := []check{redis}
	for _, r := range registered {
		checks = append(checks, s.checkResource(r, now))
	}
	return checks
}

// checkResource fails if a live streamer works on a resource that cannot be served
// yet. What the cluster does not have, or does not show us, is not waited for.
func (s *Server) checkResource(r object.Registered, now time.Time) check {
	result := check{name: r.Resource.String(), says: "ok"}
	m, mirrored := s.set.Lookup(r.Resource.Group, r.Resource.Version, r.Resource.Name)
	streamer, alive := liveStreamer(r.Statuses, now)
	switch {
	case alive && (streamer.State == object.StateAbsent || streamer.State == object.StateForbidden):
		result.says = fmt.Sprintf("skipped: %s: %s", streamer.State, streamer.Message)
	case mirrored && m.Root() != nil:
	case !alive:
		result.says = "skipped: not synced, and no streamer is alive"
	case mirrored && m.Err() != nil:
		result.failed, result.says = true, m.Err().Error()
	case streamer.State == object.StateUnreachable || streamer.State == object.StateFailing:
		result.failed, result.says = true, fmt.Sprintf("%s: %s", streamer.State, streamer.Message)
	case mirrored:
		result.failed, result.says = true, m.Status().Progress()
	default:
		result.failed, result.says = true, "waiting for the streamer to find the resource"
	}
	return result
}

// liveStreamer returns the heartbeat of the streamer that works, of one that
// stands by if there is no other.
func liveStreamer(statuses []object.Status, now time.Time) (streamer object.Status, alive bool) {
	for _, status := range statuses {
		if status.Role != object.RoleStreamer || now.Sub(status.At) > aliveFor {
			continue
		}
		if !alive || streamer.State == object.StateStandby {
			streamer, alive = status, true
		}
	}
	return streamer, alive
}
