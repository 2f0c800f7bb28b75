// Package client reads a cluster's state from KRM, the Kubernetes Resource
// Monitor, with the types of k8s.io/api, and tells how fresh each answer is.
//
// Install it with
//
//	go get github.com/kubernetes-resource-monitor/krm/client
//
// and use it like this:
//
//	krm, err := client.New("http://127.0.0.1:8080", client.Options{})
//	if err != nil {
//		return err
//	}
//	pods, fresh, err := krm.Pods("default").List(ctx, client.ListOptions{LabelSelector: "app=web"})
//	if err != nil {
//		return err
//	}
//	fmt.Println(len(pods.Items), "pods, as of", fresh.StreamedAt)
//
// # What is promised
//
// An answer comes whole and decoded, or an error comes: KRM never answers with an
// empty list because it is not ready. It says 503 then, and the client waits and
// asks again for a while before it gives up.
//
// Reading is repeated after broken connections and after 429, 502, 503 and 504;
// see [Options.Retries]. Everything takes a context and ends with it.
//
// # Errors
//
// What the server refuses is an error for the helpers of
// k8s.io/apimachinery/pkg/api/errors: IsNotFound, IsServiceUnavailable and so on.
// If no whole answer came it is a [*ConnectionError].
//
// # Watching
//
// [Resource.Watch] tells what there is and then every change, and looks after
// broken connections by itself. [Resource.Cached] is for those who ask now and
// then: as long as nothing has changed, nothing is sent or decoded.
//
// # How it travels
//
// Built-in types travel as protobuf, and everything else as JSON. [Of] reads custom
// resources with Go types of one's own, [Client.Unstructured] without.
//
// # client-go and controller-runtime
//
// KRM serves the Kubernetes API at its own paths, read-only. client-go, kubectl and
// controllers work against it as well; what they do not show is [Freshness].
// [Client.RESTConfig] is all they need:
//
//	clientset, err := kubernetes.NewForConfig(krm.RESTConfig())
//
// and for a controller that reads from KRM and writes to the cluster:
//
//	manager, err := ctrl.NewManager(clusterConfig, ctrl.Options{
//		NewCache: func(_ *rest.Config, opts cache.Options) (cache.Cache, error) {
//			opts.HTTPClient = nil // the cluster's, with its certificates
//			return cache.New(krm.RESTConfig(), opts)
//		},
//	})
package client
