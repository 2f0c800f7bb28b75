package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kubernetes-resource-monitor/krm/client"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// shortNames are kubectl's for the resources that KRM watches by default, by
// plural and group.
func shortNames(name string) []string {
	switch name {
	case "pods":
		return []string{"po"}
	case "deployments.apps":
		return []string{"deploy"}
	case "persistentvolumeclaims":
		return []string{"pvc"}
	case "services":
		return []string{"svc"}
	case "ingresses.networking.k8s.io":
		return []string{"ing"}
	case "nodes":
		return []string{"no"}
	case "namespaces":
		return []string{"ns"}
	}
	return nil
}

// resourceOf is the watched resource as the rest of KRM knows it.
func resourceOf(watched client.ResourceStatus) object.Resource {
	return object.Resource{
		Group: watched.Group, Version: watched.Version, Kind: watched.Kind, Namespaced: watched.Namespaced,
		Name: strings.TrimSuffix(watched.Resource, "."+watched.Group),
	}
}

// find returns the watched resource that a user means by typed: its plural, its
// kind or its short name in any case, perhaps with ".GROUP" or ".VERSION.GROUP".
func find(watched []client.ResourceStatus, typed string) (client.ResourceStatus, error) {
	var found []client.ResourceStatus
	for _, candidate := range watched {
		if means(typed, resourceOf(candidate)) {
			found = append(found, candidate)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return client.ResourceStatus{}, fmt.Errorf("resource %q: want %s", typed, orList(watchedNames(found)))
	case len(watched) == 0:
		return client.ResourceStatus{}, fmt.Errorf("resource %q: KRM does not watch anything yet (krm streamer --resource %s would)", typed, typed)
	}
	return client.ResourceStatus{}, fmt.Errorf("resource %q: KRM does not watch it, only %s", typed, strings.Join(watchedNames(watched), ", "))
}

func means(typed string, resource object.Resource) bool {
	name, rest, qualified := strings.Cut(strings.ToLower(typed), ".")
	whole := resource.Version + "." + resource.Group
	if qualified && !slices.Contains([]string{resource.Group, whole, strings.TrimSuffix(whole, ".")}, rest) {
		return false
	}
	return name == resource.Name || name == strings.ToLower(resource.Kind) || slices.Contains(shortNames(resource.String()), name)
}

func watchedNames(watched []client.ResourceStatus) []string {
	names := make([]string, 0, len(watched))
	for _, resource := range watched {
		names = append(names, resourceOf(resource).String())
	}
	return names
}
