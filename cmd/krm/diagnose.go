package main

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/kubernetes-resource-monitor/krm/client"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// silentAfter is the age from which a heartbeat counts no longer; processes send
// one every few seconds.
const silentAfter = 15 * time.Second

// health is what a person needs to know of a watched resource.
type health struct {
	state   string   // in a few words
	remarks []string // "RESOURCE: ROLE INSTANCE: STATE: MESSAGE"; none if all is well
}

// diagnose judges a resource by the heartbeats of who works on it. Of a role's
// instances the best one counts, as others stand by; of the roles the worst.
func diagnose(resource client.ResourceStatus, now time.Time) health {
	result := health{state: string(object.StateFollowing)}
	worst := rank(object.StateFollowing)
	for _, role := range []string{object.RoleStreamer, object.RoleVerifier, object.RoleAggregator} {
		verdict := diagnoseRole(resource, role, now)
		if verdict.rank > worst {
			worst, result.state = verdict.rank, verdict.state
		}
		if verdict.remark != "" {
			result.remarks = append(result.remarks, resourceOf(resource).String()+": "+verdict.remark)
		}
	}
	if worst == rank(object.StateFollowing) && !resource.Synced {
		result.state = "not synced"
	}
	if worst == rank(object.StateSyncing) || result.state == "not synced" {
		result.state += progressText(resource.Progress)
	}
	return result
}

// verdict is what diagnose thinks of one role.
type verdict struct {
	rank   int // the higher the worse
	state  string
	remark string
}

func diagnoseRole(resource client.ResourceStatus, role string, now time.Time) verdict {
	var mine []client.RoleStatus
	for _, status := range resource.Roles {
		if status.Role == role {
			mine = append(mine, status)
		}
	}
	if len(mine) == 0 {
		return verdict{rankGone, "no " + role, fmt.Sprintf("no %s: start one with \"krm %s --resource %s\"",
			role, role, resourceOf(resource))}
	}
	last := slices.MaxFunc(mine, func(a, b client.RoleStatus) int { return a.At.Compare(b.At) })
	mine = slices.DeleteFunc(mine, func(status client.RoleStatus) bool { return now.Sub(status.At) > silentAfter })
	if len(mine) == 0 {
		return verdict{rankGone, role + " silent", fmt.Sprintf("%s %s: silent for %s: is it running?",
			role, last.Instance, duration.HumanDuration(now.Sub(last.At)))}
	}
	best := slices.MinFunc(mine, func(a, b client.RoleStatus) int { return rank(object.State(a.State)) - rank(object.State(b.State)) })
	if best.State == string(object.StateFollowing) {
		return verdict{state: best.State, rank: rank(object.StateFollowing)}
	}
	return verdict{
		rank(object.State(best.State)), role + " " + best.State,
		sayWhy(fmt.Sprintf("%s %s: %s", role, best.Instance, best.State), best.Message),
	}
}

const rankGone = 100

// rank orders states from well to bad. States of a newer server count as failing.
func rank(state object.State) int {
	order := []object.State{
		object.StateFollowing, object.StateStarting, object.StateStandby, object.StateSyncing,
		object.StateUnreachable, object.StateAbsent, object.StateForbidden, object.StateFailing,
	}
	if place := slices.Index(order, state); place >= 0 {
		return place
	}
	return len(order) - 1
}

// progressText is how far the complete list is that is under way.
func progressText(progress *client.Progress) string {
	switch {
	case progress == nil || progress.Received == 0 && progress.Expect == 0:
		return ""
	case progress.Expect == 0:
		return fmt.Sprintf(" (%d objects so far)", progress.Received)
	}
	return fmt.Sprintf(" (%d%%)", min(100, 100*progress.Received/progress.Expect))
}
