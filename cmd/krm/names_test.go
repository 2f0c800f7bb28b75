package main

import (
	"testing"

	"github.com/kubernetes-resource-monitor/krm/client"
)

func TestFind(t *testing.T) {
	watched := []client.ResourceStatus{
		{Resource: "pods", Kind: "Pod", Version: "v1"},
		{Resource: "persistentvolumeclaims", Kind: "PersistentVolumeClaim", Version: "v1"},
		{Resource: "services", Kind: "Service", Version: "v1"},
		{Resource: "nodes", Kind: "Node", Version: "v1"},
		{Resource: "namespaces", Kind: "Namespace", Version: "v1"},
		{Resource: "deployments.apps", Kind: "Deployment", Group: "apps", Version: "v1"},
		{Resource: "ingresses", Kind: "Ingress", Group: "networking.k8s.io", Version: "v1"}, // the group may be missing
		{Resource: "widgets.example.com", Kind: "Widget", Group: "example.com", Version: "v1alpha1"},
		{Resource: "services.serving.knative.dev", Kind: "Service", Group: "serving.knative.dev", Version: "v1"},
	}
	f := func(want string, typed ...string) {
		t.Helper()
		for _, name := range typed {
			got, err := find(watched, name)
			if err != nil || resourceOf(got).String() != want {
				t.Errorf("find %q: %q, %v, want %q", name, resourceOf(got), err, want)
			}
		}
	}
	f("pods", "pods", "pod", "po", "Pod", "PODS", "pods.v1", "pods.", "pods.v1.")
	f("persistentvolumeclaims", "pvc", "persistentvolumeclaim")
	f("services", "svc", "services.v1")
	f("services.serving.knative.dev", "services.serving.knative.dev", "service.v1.serving.knative.dev")
	f("nodes", "no", "node")
	f("namespaces", "ns")
	f("deployments.apps", "deploy", "deployments", "deployment.apps", "deploy.v1.apps")
	f("ingresses.networking.k8s.io", "ing", "ingress", "ingresses.networking.k8s.io")
	f("widgets.example.com", "widgets", "widget", "widgets.v1alpha1.example.com")

	fails := func(typed, want string) {
		t.Helper()
		if got, err := find(watched, typed); err == nil || err.Error() != want {
			t.Errorf("find %q: %v, %v, want %q", typed, got, err, want)
		}
	}
	fails("services", `resource "services": want services or services.serving.knative.dev`)
	const only = ": KRM does not watch it, only pods, persistentvolumeclaims, services, nodes, namespaces, deployments.apps, " +
		"ingresses.networking.k8s.io, widgets.example.com, services.serving.knative.dev"
	for _, typed := range []string{"", "secrets", "pods.apps", "deployments.v2.apps", "widgets.example", "pods.apps."} {
		fails(typed, `resource "`+typed+`"`+only)
	}
	if _, err := find(nil, "pods"); err == nil || err.Error() != `resource "pods": KRM does not watch anything yet (krm streamer --resource pods would)` {
		t.Errorf("nothing is watched: %v", err)
	}
}
