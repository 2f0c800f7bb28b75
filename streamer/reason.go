package streamer

import (
	"context"
	"errors"
	"net"
	"syscall"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// reason is the label of a reconnect or a resync.
type reason string

// Why everything is read anew.
const (
	reasonFirst    reason = "first"           // there is no log yet
	reasonCluster  reason = "cluster-changed" // another UID of namespace kube-system
	reasonRestored reason = "restored"        // etcd went back
	reasonSchema   reason = "schema-changed"  // bodies may differ at the same version
	reasonPartial  reason = "unfinished"      // the last complete list did not end
	reasonReturned reason = "returned"        // the resource was gone for a while
	// And: expired, unequal, lost, asked.
)

// Why a watch ended.
const (
	reasonClosed    reason = "closed"    // by the server, in peace
	reasonBroken    reason = "broken"    // anything that is not below
	reasonSilent    reason = "silent"    // no byte for too long
	reasonGarbage   reason = "garbage"   // what came could not be read
	reasonExpired   reason = "expired"   // 410
	reasonThrottled reason = "throttled" // 429, 503
	reasonRefused   reason = "refused"   // the connection
	reasonForbidden reason = "forbidden" // 403
	reasonAbsent    reason = "absent"    // 404
	reasonFenced    reason = "fenced"    // by another streamer
	reasonLost      reason = "lost"      // Redis lost what it had acknowledged
	reasonUnequal   reason = "unequal"   // a second watch brought what the first did not
	reasonChecked   reason = "checked"   // a reader asked to look whether etcd was restored
	reasonAsked     reason = "asked"     // a reader asked for everything
)

// Why we end a watch ourselves.
var (
	errChecked  = errors.New("asked to check")
	errAsked    = errors.New("asked for everything")
	errUnequal  = errors.New("a second watch brought what this one did not")
	errRestored = errors.New("the list is older than the log: etcd was restored")
	errPartial  = errors.New("ended before the list was complete")
	errEnded    = errors.New("ended")
)

// whyEnded finds the reason of what ended a watch.
func whyEnded(err error) reason {
	if err == nil {
		return reasonClosed
	}
	for _, known := range []struct {
		err    error
		reason reason
	}{
		{errChecked, reasonChecked},
		{errAsked, reasonAsked},
		{errUnequal, reasonUnequal},
		{errRestored, reasonRestored},
		{object.ErrFenced, reasonFenced},
		{object.ErrLost, reasonLost},
		{object.ErrExpired, reasonExpired},
		{object.ErrNotFound, reasonAbsent},
		{object.ErrForbidden, reasonForbidden},
		{object.ErrSilent, reasonSilent},
		{object.ErrGarbled, reasonGarbage},
		{syscall.ECONNREFUSED, reasonRefused},
		{context.DeadlineExceeded, reasonSilent},
	} {
		if errors.Is(err, known.err) {
			return known.reason
		}
	}
	var retry *object.RetryError
	var timeout net.Error
	switch {
	case errors.As(err, &retry):
		return reasonThrottled
	case errors.As(err, &timeout) && timeout.Timeout():
		return reasonSilent
	}
	return reasonBroken
}

// stateOf is the state to report after the API server answered err.
func stateOf(err error) object.State {
	switch whyEnded(err) {
	case reasonAbsent:
		return object.StateAbsent
	case reasonForbidden:
		return object.StateForbidden
	case reasonGarbage, reasonUnequal, reasonRestored:
		return object.StateFailing
	}
	return object.StateUnreachable
}
