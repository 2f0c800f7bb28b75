package main

import "fmt"

// workload is a made-up company's applications: the same for the same number of
// pods, so that starting again finds what is there.
type workload struct {
	namespaces []string
	apps       []app
}

// app is one Deployment with its Service and, for some, an Ingress or a volume.
type app struct {
	number    int // in the plan, from 0
	namespace string
	name      string
	component string
	replicas  int
	ingress   bool
	volume    bool
}

// planWorkload spreads pods over Deployments of uneven size, about eight pods
// each, up to 200 Deployments.
func planWorkload(pods int) workload {
	if pods == 0 {
		return workload{}
	}
	namespaces := []string{"shop", "payments", "search", "media", "platform", "analytics"}
	kinds := []struct{ name, component string }{
		{"web", "frontend"},
		{"api", "backend"},
		{"worker", "backend"},
		{"gateway", "frontend"},
		{"scheduler", "backend"},
		{"cache", "store"},
		{"indexer", "backend"},
		{"notifier", "backend"},
		{"catalog", "backend"},
		{"auth", "backend"},
	}
	count := min(200, max(1, pods/8))
	plan := workload{namespaces: namespaces[:min(len(namespaces), count)]}
	for i, replicas := range shares(pods, count) {
		kind := kinds[i/len(namespaces)%len(kinds)]
		a := app{
			number:    i,
			namespace: namespaces[i%len(namespaces)],
			name:      kind.name,
			component: kind.component,
			replicas:  replicas,
			ingress:   kind.component == "frontend",
			volume:    i%4 == 0,
		}
		if round := i / len(namespaces) / len(kinds); round > 0 {
			a.name = fmt.Sprintf("%s-%d", kind.name, round+1)
		}
		plan.apps = append(plan.apps, a)
	}
	return plan
}

// shares splits total into count parts of at least one, some five times as big
// as others. It needs total >= count > 0.
func shares(total, count int) []int {
	weights := []int{3, 5, 2, 1, 4}
	sum := 0
	for i := range count {
		sum += weights[i%len(weights)]
	}
	parts := make([]int, count)
	left := total - count
	for i := range count {
		parts[i] = 1 + (total-count)*weights[i%len(weights)]/sum
		left -= parts[i] - 1
	}
	for i := 0; left > 0; i, left = i+1, left-1 { // what rounding left over
		parts[i%count]++
	}
	return parts
}
