package main

import (
	"fmt"
	"time"
)

// fleet is how many nodes, pods and containers are made up.
type fleet struct {
	nodes, pods, containers int // pods of each node, containers of each pod
	seed                    int64
	booted                  time.Time
}

// app is what a made-up pod runs; pods of one app are much alike.
type app struct {
	number    int
	namespace string
	name      string
	cpu       float64 // millicores of its first container, the request's half
	memory    int64   // bytes of its first container
}

// app returns the i-th app: about 20 pods belong to each, 10 apps to a namespace.
func (f fleet) app(i int) app {
	s := source(f.seed).child(int64(i))
	kinds := []string{"web", "api", "worker", "gateway", "scheduler", "cache", "indexer", "notifier", "catalog", "auth"}
	return app{
		number:    i,
		namespace: fmt.Sprintf("team-%03d", i/10),
		name:      fmt.Sprintf("%s-%d", kinds[i%10], i),
		cpu:       s.spread(1, 12, 4), // many are nearly idle, some take a core
		memory:    int64(s.spread(2, 60<<20, 2)),
	}
}

// apps is how many there are.
func (f fleet) apps() int { return max(1, f.nodes*f.pods/20) }

func (f fleet) nodeName(i int) string { return fmt.Sprintf("node-%04d", i) }

// pod returns the j-th pod of the i-th node, and its app. Apps are spread over nodes.
func (f fleet) pod(i, j int) (*Pod, app) {
	number := j*f.nodes + i
	a := f.app(number % f.apps())
	s := source(f.seed).child(1_000_000 + int64(number))
	p := &Pod{
		Namespace: a.namespace,
		Name:      fmt.Sprintf("%s-%08x-%05x", a.name, source(f.seed).child(int64(a.number)).hash(3)&0xffffffff, s.hash(1)&0xfffff),
		UID:       fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", s.hash(2)&0xffffffff, s.hash(3)&0xffff, s.hash(4)&0xfff, s.hash(5)&0xfff, s.hash(6)&0xffffffffffff),
		Started:   f.booted.Add(time.Duration(s.hash(7)%3600) * time.Second),
		Volumes:   []string{"kube-api-access-" + fmt.Sprintf("%05x", s.hash(8)&0xfffff)},
		source:    s,
	}
	p.Name += fmt.Sprintf("-%d", number) // names are unique, whatever the draw
	for k := range f.containers {
		c := &Container{
			Name:    containerName(k),
			Image:   fmt.Sprintf("registry.example.com/%s/%s:1.%d.0", a.namespace, containerName(k), a.number%7),
			Started: p.Started.Add(2 * time.Second),
			CPU:     a.cpu * (0.5 + s.unit(int64(20+k))),
			Memory:  a.memory,
			source:  s.child(int64(100 + k)),
		}
		if k > 0 { // what stands beside the main container is small
			c.CPU, c.Memory = 1+c.CPU/20, 16<<20+c.Memory/10
		}
		p.Containers = append(p.Containers, c)
	}
	return p, a
}

func containerName(k int) string {
	if k == 0 {
		return "main"
	}
	return fmt.Sprintf("sidecar-%d", k)
}

// build makes all nodes with their pods.
func (f fleet) build() []*Node {
	nodes := make([]*Node, f.nodes)
	for i := range nodes {
		nodes[i] = NewNode(f.nodeName(i), f.booted, nodeMemory)
		pods := make([]*Pod, f.pods)
		for j := range pods {
			pods[j], _ = f.pod(i, j)
		}
		nodes[i].Put(pods)
	}
	return nodes
}
