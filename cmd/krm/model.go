package main

import (
	"github.com/kubernetes-resource-monitor/krm/apiserver/model"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// newModel returns what follows the collectors' batches in Redis.
func newModel(p *process) *model.Follower {
	return model.NewFollower(p.redis.Frames(), model.FollowerOptions{Registry: p.registry}, p.log)
}

// withMetrics adds to what is served the resource metrics, as long as there are some.
func withMetrics(source model.Source, served func() []object.Resource) func() []object.Resource {
	return func() []object.Resource { return append(served(), model.Resources(source)...) }
}
