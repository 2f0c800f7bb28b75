package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	allPods  = "/api/v1/pods"
	listTurn = 400 * time.Millisecond
)

var canaryQuery = "?labelSelector=" + url.QueryEscape(canaryLabel+"=true")

// timed makes read number n and returns how long it took.
type timed = func(ctx context.Context, n int, body *bytes.Buffer) (time.Duration, error)

// jobs are the rows of the table. Each turn of a list takes at least listTurn, and at
// least one read.
func (l *lab) jobs() ([]job, error) {
	const getTurn = 1500 * time.Millisecond
	paths := l.podPaths()
	namespaces := shares(l.cfg.pods, perNamespace)
	same := func(path string) func(int) string { return func(int) string { return path } }
	oneAfterTheOther := func(n int) string { return "/api/v1/namespaces/" + namespaceOf(n%namespaces) + "/pods" }
	jobs := []job{
		l.raw("list_json", "LIST all, JSON, identity", same(allPods), mediaJSON, "identity"),
		l.raw("list_gzip", "LIST all, JSON, gzip", same(allPods), mediaJSON, "gzip"),
		l.raw("list_proto", "LIST all, protobuf", same(allPods), mediaProtobuf, "identity"),
		l.raw("selector", "LIST by label selector matching 1 %", same(allPods+canaryQuery), mediaJSON, "identity"),
		l.raw("namespace", "LIST of one namespace (100 pods)", oneAfterTheOther, mediaJSON, "identity"),
		l.raw(getRPS, "GET one pod, 16 clients", func(n int) string { return paths[n%len(paths)] }, mediaJSON, "identity"),
	}
	for i := range jobs {
		jobs[i].clients, jobs[i].turn = 1, listTurn
		if jobs[i].key == getRPS {
			jobs[i].clients, jobs[i].turn = getClients, getTurn
		}
	}
	typed, err := l.typed()
	return append(jobs, typed...), err
}

// The jobs that are treated apart.
const (
	getRPS    = "get_rps"
	client304 = "client_304"
	// clientSame is KRM's client against client-go, both at KRM.
	clientSame = "client_same"
)

// raw is a job that reads bytes. Paths are those of the numbers of reads.
func (l *lab) raw(key, title string, path func(n int) string, accept, encoding string) job {
	j := job{key: key, title: title}
	for which, s := range l.sides {
		j.do[which] = func(ctx context.Context, n int, body *bytes.Buffer) (time.Duration, error) {
			return s.fetch(ctx, read{path(n), accept, encoding}, body)
		}
	}
	return j
}

// podPaths are the paths of all pods, neighbours of different namespaces.
func (l *lab) podPaths() (paths []string) {
	const stride = 7919
	for i := range l.churner.pods {
		key := l.churner.pods[i*stride%len(l.churner.pods)]
		paths = append(paths, "/api/v1/namespaces/"+key.Namespace+"/pods/"+key.Name)
	}
	return paths
}

// typed are the jobs that end with decoded pods: client-go at kube-apiserver, and
// KRM's own client at KRM. Neither asks for gzip, but for one row: there client-go does
// what it does by itself, with the one and with the other server.
func (l *lab) typed() ([]job, error) {
	var plain, stock [2]timed
	for which := range l.sides {
		var err error
		if plain[which], err = l.clientGo(which, rest.Config{DisableCompression: true}); err != nil {
			return nil, err
		}
		if stock[which], err = l.clientGo(which, rest.Config{}); err != nil {
			return nil, err
		}
	}
	list, unchanged := plain[krm], plain[krm]
	if !l.cfg.same {
		var err error
		if list, unchanged, err = l.own(); err != nil {
			return nil, err
		}
	}
	return []job{
		{key: "client", title: "client typed List, protobuf", clients: 1, turn: listTurn, do: [2]timed{plain[kube], list}},
		{key: client304, title: "the same, answered by 304", clients: 1, turn: listTurn, do: [2]timed{nil, unchanged}},
		{key: clientSame, title: "client-go instead of client", clients: 1, turn: listTurn, do: [2]timed{nil, plain[krm]}},
		{key: "client_go", title: "client-go at both, as it comes (gzip)", clients: 1, turn: listTurn, do: stock},
	}, nil
}

// clientGo lists with client-go at one of the sides.
func (l *lab) clientGo(which int, like rest.Config) (timed, error) {
	config := l.sides[which].restConfig()
	config.DisableCompression = like.DisableCompression
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect client-go to %s: %w", l.sides[which].name, err)
	}
	return func(ctx context.Context, _ int, _ *bytes.Buffer) (time.Duration, error) {
		began := time.Now()
		pods, err := c.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		took := time.Since(began)
		if err == nil && len(pods.Items) != l.cfg.pods {
			err = fmt.Errorf("client-go has %d pods of %s, want %d", len(pods.Items), l.sides[which].name, l.cfg.pods)
		}
		return took, err
	}, nil
}
