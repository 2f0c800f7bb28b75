package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// control is the endpoint that tells about the kubelets and gives them faults:
//
//	GET    /nodes                                     all kubelets
//	PUT    /fault?node=NAME,…&kind=slow&for=10s       node=* is all
//	DELETE /fault?node=NAME,…
//	DELETE /objects/{kind}/{name}                     of the API that is served here: nodes, or pods by namespace/name
//	PUT    /objects/{kind}                            an object in the body
type control struct {
	kubelets func() []*kubelet
	api      *api // nil if there is none
}

// state is one kubelet as GET /nodes says it.
type state struct {
	Name    string `json:"name"`
	Port    int    `json:"port"`
	Asked   int64  `json:"asked"`
	Unknown int64  `json:"unknown"` // requests without a good token
	Fault   *Fault `json:"fault,omitempty"`
}

func (c *control) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /nodes", func(w http.ResponseWriter, _ *http.Request) {
		all := []state{}
		for _, k := range c.kubelets() {
			all = append(all, state{k.name, k.port, k.asked.Load(), k.unknown.Load(), k.fault.Load()})
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(all)
	})
	mux.HandleFunc("PUT /fault", func(w http.ResponseWriter, r *http.Request) {
		kind := r.FormValue("kind")
		if _, known := faultKinds()[kind]; !known {
			http.Error(w, fmt.Sprintf("kind=%s: there are %s", kind, strings.Join(slices.Sorted(maps.Keys(faultKinds())), ", ")), http.StatusBadRequest)
			return
		}
		f := Fault{Kind: kind, At: time.Now()}
		if text := r.FormValue("for"); text != "" {
			var err error
			if f.For, err = time.ParseDuration(text); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		c.set(w, r, f)
	})
	mux.HandleFunc("DELETE /fault", func(w http.ResponseWriter, r *http.Request) { c.set(w, r, Fault{}) })
	if c.api != nil {
		mux.HandleFunc("PUT /objects/{kind}", c.api.put)
		mux.HandleFunc("DELETE /objects/{kind}/{name...}", c.api.remove)
	}
	return mux
}

// set gives the named kubelets a fault and answers how many they are.
func (c *control) set(w http.ResponseWriter, r *http.Request, f Fault) {
	wanted := strings.Split(r.FormValue("node"), ",")
	n := 0
	for _, k := range c.kubelets() {
		if !slices.Contains(wanted, "*") && !slices.Contains(wanted, k.name) {
			continue
		}
		if err := k.set(f); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		n++
	}
	if n == 0 {
		http.Error(w, fmt.Sprintf("node=%s: there is no such node", r.FormValue("node")), http.StatusNotFound)
		return
	}
	fmt.Fprintln(w, n)
}
