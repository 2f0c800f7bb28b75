package client_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kubernetes-resource-monitor/krm/client"
)

// demo is a stand-in for KRM with one pod.
func demo() *httptest.Server {
	const pod = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web-1","namespace":"default"},` +
		`"spec":{"nodeName":"node-1"},"status":{"phase":"Running"}}`
	answers := map[string]string{
		"/api/v1/namespaces/default/pods":       `{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1042"},"items":[` + pod + `]}`,
		"/api/v1/namespaces/default/pods/web-1": pod,
		"/krm/v1/status": `{"resources":[{"resource":"pods","kind":"Pod","version":"v1","namespaced":true,"synced":true,"objects":1,` +
			`"drift":{"missing":0,"stale":0,"ghost":0,"altered":0},"verifiedRounds":7}],"redis":{"ok":true}}`,
	}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Krm-Resource-Version", "1042")
		w.Header().Set("Krm-Streamed-At", "2026-03-01T12:00:00.250Z")
		w.Header().Set("Krm-Verified-Resource-Version", "1040")
		w.Header().Set("Krm-Verified-At", "2026-03-01T11:59:30.000Z")
		switch body, found := answers[r.URL.Path]; {
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusAccepted)
		case found:
			_, _ = io.WriteString(w, body)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","code":404,"reason":"NotFound","message":"pods \"web-2\" not found"}`)
		}
	}))
}

func Example() {
	server := demo()
	defer server.Close()

	krm, err := client.New(server.URL, client.Options{}) // such as http://127.0.0.1:8080
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	pods, fresh, err := krm.Pods("default").List(ctx, client.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		log.Fatal(err)
	}
	for _, pod := range pods.Items {
		fmt.Println(pod.Name, "on", pod.Spec.NodeName, "is", pod.Status.Phase)
	}
	fmt.Println("true as of", fresh.StreamedAt.Format(time.RFC3339Nano))
	fmt.Println("verified as of", fresh.VerifiedAt.Format(time.RFC3339Nano))
	// Output:
	// web-1 on node-1 is Running
	// true as of 2026-03-01T12:00:00.25Z
	// verified as of 2026-03-01T11:59:30Z
}

func ExampleResource_Get() {
	server := demo()
	defer server.Close()
	krm, err := client.New(server.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}

	_, _, err = krm.Pods("default").Get(context.Background(), "web-2")
	switch {
	case apierrors.IsNotFound(err):
		fmt.Println("it does not exist:", err)
	case apierrors.IsServiceUnavailable(err):
		fmt.Println("KRM does not know all pods yet")
	case err != nil:
		log.Fatal(err)
	}
	// Output:
	// it does not exist: pods "web-2" not found
}

func ExampleClient_Get() {
	server := demo()
	defer server.Close()
	krm, err := client.New(server.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}

	// Any path of the Kubernetes API, of a custom resource too.
	body, fresh, err := krm.Get(context.Background(), client.Request{Path: "/api/v1/namespaces/default/pods/web-1"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.30s… at %s\n", body, fresh.StreamedResourceVersion)
	// Output:
	// {"kind":"Pod","apiVersion":"v1… at 1042
}

func ExampleClient_Status() {
	server := demo()
	defer server.Close()
	krm, err := client.New(server.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}

	status, err := krm.Status(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, resource := range status.Resources {
		fmt.Printf("%s: %d objects, verified %d times, %d wrong\n",
			resource.Resource, resource.Objects, resource.VerifiedRounds, resource.Drift.Total())
	}
	// Output:
	// pods: 1 objects, verified 7 times, 0 wrong
}

func ExampleClient_Verify() {
	server := demo()
	defer server.Close()
	krm, err := client.New(server.URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}

	if err := krm.Verify(context.Background(), "pods", client.VerifyOptions{Full: true}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("asked")
	// Output:
	// asked
}
