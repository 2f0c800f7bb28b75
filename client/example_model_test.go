package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// What a pod has used in the last five minutes.
func ExampleClient_Model() {
	krm, err := client.New("http://127.0.0.1:8080", client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, from := context.Background(), time.Now().Add(-5*time.Minute)
	series, fresh, err := krm.Model().Namespace("default").Pod("web-0").Metric(ctx, "cpu/usage_rate", from, time.Time{})
	if err != nil {
		log.Fatal(err)
	}
	for _, point := range series.Points {
		fmt.Println(point.Time, point.Value, "millicores")
	}
	fmt.Println("as of", fresh.At, fresh.Warnings)
}

// Everything that was measured in the newest batch, container by container.
func ExampleModel_Export() {
	krm, err := client.New("http://127.0.0.1:8080", client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for set, err := range krm.Model().Export(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		for _, value := range set.Metrics["memory/working_set"] {
			fmt.Println(set.Labels["pod_name"], set.Labels["container_name"], value.Value)
		}
	}
}
