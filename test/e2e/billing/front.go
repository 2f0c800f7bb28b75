package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
)

// front serves what an API server says of its API before what test/kubelets says of
// objects, so that all of KRM can follow them.
type front struct {
	server   *http.Server
	listener net.Listener
}

// openFront serves before the API at that address.
func openFront(api string) (*front, error) {
	behind, err := url.Parse(api)
	if err != nil {
		return nil, fmt.Errorf("read the address of the API: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	serve := func(path, body string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		})
	}
	serve("/api", `{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"`+listener.Addr().String()+`"}]}`)
	serve("/apis", `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`)
	serve("/api/v1", `{"kind":"APIResourceList","groupVersion":"v1","resources":[
		{"name":"namespaces","singularName":"namespace","namespaced":false,"kind":"Namespace","verbs":["get","list","watch"]},
		{"name":"nodes","singularName":"node","namespaced":false,"kind":"Node","verbs":["get","list","watch"]},
		{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list","watch"]}]}`)
	mux.Handle("/", &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(behind) },
		FlushInterval: -1,                                                      // watches
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // whoever asked is told
	})
	f := &front{server: &http.Server{Handler: mux}, listener: listener}
	go func() { _ = f.server.Serve(listener) }() // until close
	return f, nil
}

func (f *front) url() string { return "http://" + f.listener.Addr().String() }

func (f *front) close() { _ = f.server.Close() }
