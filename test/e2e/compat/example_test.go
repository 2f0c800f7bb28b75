package main

import (
	"context"
	"fmt"
	"log"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// The third way of use, beside the two that package client shows: a controller that
// reads from KRM and writes to the cluster.
func Example() {
	krm, err := client.New("https://krm.example.com", client.Options{TokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token"})
	if err != nil {
		log.Fatal(err)
	}
	clusterConfig, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	controllers, err := manager.New(clusterConfig, manager.Options{
		NewCache: func(_ *rest.Config, opts cache.Options) (cache.Cache, error) {
			opts.HTTPClient = nil // the cluster's, with its certificates
			return cache.New(krm.RESTConfig(), opts)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	var pods corev1.PodList
	if err := controllers.GetClient().List(context.Background(), &pods); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(pods.Items), "pods, read from KRM")
}
