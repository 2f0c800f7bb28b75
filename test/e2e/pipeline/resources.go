package main

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubernetes-resource-monitor/krm/test/e2e/reader"
)

const widgetGroup = "krm.test"

// kind is one of the resources that KRM watches in this suite.
type kind struct {
	schema.GroupVersionResource
	namespaced bool
}

// name is what KRM calls it: pods, deployments.apps.
func (k kind) name() string { return k.GroupResource().String() }

// list is where all objects of the kind are listed.
func (k kind) list() string { return reader.PathOf(k.GroupVersionResource) }

// one is where the object of that key is.
func (k kind) one(key string) string {
	namespace, name, found := strings.Cut(key, "/")
	if !found {
		return k.list() + "/" + key
	}
	root, _ := strings.CutSuffix(k.list(), "/"+k.Resource)
	return root + "/namespaces/" + namespace + "/" + k.Resource + "/" + name
}

func core(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Version: "v1", Resource: resource}
}

// The kinds: those that KRM exists for, and one of our own.
var (
	pods        = kind{core("pods"), true}
	nodes       = kind{core("nodes"), false}
	services    = kind{core("services"), true}
	claims      = kind{core("persistentvolumeclaims"), true}
	namespaces  = kind{core("namespaces"), false}
	deployments = kind{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, true}
	ingresses   = kind{schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "ingresses"}, true}
	widgets     = kind{schema.GroupVersionResource{Group: widgetGroup, Version: "v1", Resource: "widgets"}, true}
)

func kinds() []kind {
	return []kind{pods, nodes, services, claims, namespaces, deployments, ingresses, widgets}
}
