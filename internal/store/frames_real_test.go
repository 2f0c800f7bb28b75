//go:build integration

package store

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestFramesOnRealRedis(t *testing.T) {
	testFrames(t, startRedis(t).server())
}

func TestFramesOnRealCluster(t *testing.T) {
	r := startRedis(t, "--cluster-enabled", "yes")
	r.do("cluster", "addslotsrange", 0, 16383)
	client := redis.NewClient(&redis.Options{Addr: r.addr})
	defer func() { _ = client.Close() }()
	for !strings.Contains(client.ClusterInfo(t.Context()).Val(), "cluster_state:ok") {
		<-time.After(20 * time.Millisecond)
	}
	s := r.server()
	s.options.Cluster = true
	testFrames(t, s)
}
