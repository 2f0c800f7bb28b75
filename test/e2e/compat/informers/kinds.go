package main

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// follow starts one informer of each kind.
func follow(ctx context.Context, config *rest.Config, namespace, selector string) (all []*follower, err error) {
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	configMaps := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	gadgets := schema.GroupVersionResource{Group: "compat.krm.test", Version: "v1", Resource: "gadgets"}
	for _, start := range []struct {
		kind     string
		resource schema.GroupVersionResource
		selector string
		informer func(*rest.Config, schema.GroupVersionResource, string, string) (cache.SharedIndexInformer, error)
	}{
		{"typed", pods, "", newTyped},
		{"typed", pods, selector, newTyped},
		{"typed", configMaps, "", newTyped},
		{"dynamic", pods, selector, newDynamic},
		{"dynamic", gadgets, "", newDynamic},
		{"metadata", pods, "", newMetadata},
		{"metadata", gadgets, selector, newMetadata},
	} {
		f := &follower{Name: start.kind + "/" + start.resource.Resource, Resource: start.resource.Resource, Selected: start.selector != ""}
		if f.Selected {
			f.Name += "?" + selector
		}
		informer, err := start.informer(f.client(typeOf(start.kind, config)), start.resource, namespace, start.selector)
		if err != nil {
			return nil, err
		}
		if err := f.run(ctx, informer); err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	more, err := followCaches(ctx, config, namespace)
	return append(all, more...), err
}

// typeOf asks for protobuf where a typed client would.
func typeOf(kind string, config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	if kind == "typed" {
		config.ContentType = "application/vnd.kubernetes.protobuf"
		config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	}
	return config
}

func newTyped(config *rest.Config, resource schema.GroupVersionResource, namespace, selector string) (cache.SharedIndexInformer, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	if resource.Resource == "configmaps" {
		return coreinformers.NewFilteredConfigMapInformer(client, namespace, 0, cache.Indexers{}, selecting(selector)), nil
	}
	return coreinformers.NewFilteredPodInformer(client, namespace, 0, cache.Indexers{}, selecting(selector)), nil
}

func newDynamic(config *rest.Config, resource schema.GroupVersionResource, namespace, selector string) (cache.SharedIndexInformer, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return dynamicinformer.NewFilteredDynamicInformer(client, resource, namespace, 0, cache.Indexers{}, selecting(selector)).Informer(), nil
}

func newMetadata(config *rest.Config, resource schema.GroupVersionResource, namespace, selector string) (cache.SharedIndexInformer, error) {
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return metadatainformer.NewFilteredMetadataInformer(client, resource, namespace, 0, cache.Indexers{}, selecting(selector)).Informer(), nil
}
