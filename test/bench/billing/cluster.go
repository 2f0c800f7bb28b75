package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// documents are what a Kubernetes API says of itself that has nothing but pods, and none
// of them.
func documents() map[string]string {
	return map[string]string{
		"/api":        `{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]}`,
		"/apis":       `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`,
		"/api/v1":     `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list","watch"]}]}`,
		"/version":    `{"major":"1","minor":"36","gitVersion":"v1.36.3","gitCommit":"","gitTreeState":"","buildDate":"1970-01-01T00:00:00Z","goVersion":"go1.26.8","compiler":"gc","platform":"linux/amd64"}`,
		"/openapi/v3": `{"paths":{}}`,
		"/api/v1/namespaces/kube-system": `{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"e6321563-ce79-41e9-9f84-472f36eb8a15",` +
			`"resourceVersion":"1","creationTimestamp":"2026-01-01T00:00:00Z"},"status":{"phase":"Active"}}`,
	}
}

// serveCluster serves a Kubernetes API without pods until ctx ends, and writes a
// kubeconfig for it.
func serveCluster(ctx context.Context, kubeconfig string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the cluster: %w", err)
	}
	mux := http.NewServeMux()
	for path, text := range documents() {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(text)) // who went away need not be told
		})
	}
	mux.HandleFunc("GET /api/v1/pods", noPods)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			fmt.Fprintln(os.Stderr, "bench-billing: serve the cluster:", err)
		}
	}()
	text := `{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":"http://%s"}}],"contexts":[{"name":"c","context":{"cluster":"c","user":""}}],"current-context":"c"}`
	return os.WriteFile(kubeconfig, fmt.Appendf(nil, text, listener.Addr()), 0o600)
}

// noPods lists and watches no pods.
func noPods(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	w.Header().Set("Content-Type", "application/json")
	if watch := query.Get("watch"); watch != "true" && watch != "1" {
		fmt.Fprint(w, `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"1"},"items":[]}`)
		return
	}
	seconds, err := strconv.Atoi(query.Get("timeoutSeconds"))
	if err != nil {
		seconds = 1800
	}
	if query.Get("sendInitialEvents") == "true" {
		fmt.Fprintln(w, `{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}`)
	}
	_ = http.NewResponseController(w).Flush() // who went away need not be told
	end := time.NewTimer(time.Duration(seconds) * time.Second)
	defer end.Stop()
	bookmark := time.NewTicker(10 * time.Second)
	defer bookmark.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-end.C:
			return
		case <-bookmark.C:
			fmt.Fprintln(w, `{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"1"}}}`)
			_ = http.NewResponseController(w).Flush() // as above
		}
	}
}
