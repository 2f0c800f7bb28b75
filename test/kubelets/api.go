package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// api is as much of an API server as the collector needs of a cluster: nodes, pods
// and namespaces as JSON, listed and watched.
type api struct {
	mu      sync.Mutex
	version int64
	objects map[string]map[string]map[string]any // kind, namespace/name
	events  []event                              // all of them: this is for tests
	changed chan struct{}                        // closed and made anew with every event
}

type event struct {
	version int64
	kind    string
	action  string // ADDED, MODIFIED, DELETED
	object  map[string]any
}

func newAPI(objects map[string][]map[string]any) *api {
	a := &api{version: 1000, objects: map[string]map[string]map[string]any{}, changed: make(chan struct{})}
	for kind, list := range objects {
		a.objects[kind] = map[string]map[string]any{}
		for _, object := range list {
			a.store(kind, object)
		}
	}
	return a
}

// store adds or replaces an object. It needs mu.
func (a *api) store(kind string, object map[string]any) {
	a.version++
	meta, _ := object["metadata"].(map[string]any)
	meta["resourceVersion"] = strconv.FormatInt(a.version, 10)
	object["apiVersion"], object["kind"] = "v1", map[string]string{"nodes": "Node", "pods": "Pod", "namespaces": "Namespace"}[kind]
	key := name(object)
	action := "ADDED"
	if _, known := a.objects[kind][key]; known {
		action = "MODIFIED"
	}
	a.objects[kind][key] = object
	a.tell(event{a.version, kind, action, object})
}

func (a *api) tell(e event) {
	a.events = append(a.events, e)
	close(a.changed)
	a.changed = make(chan struct{})
}

func name(object map[string]any) string {
	meta, _ := object["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	if namespace, ok := meta["namespace"].(string); ok && namespace != "" {
		return namespace + "/" + name
	}
	return name
}

func (a *api) put(w http.ResponseWriter, r *http.Request) {
	var object map[string]any
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil || object["metadata"] == nil {
		http.Error(w, fmt.Sprintf("no object: %v", err), http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.objects[r.PathValue("kind")] == nil {
		http.NotFound(w, r)
		return
	}
	a.store(r.PathValue("kind"), object)
}

func (a *api) remove(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	kind, key := r.PathValue("kind"), r.PathValue("name")
	object, known := a.objects[kind][key]
	if !known {
		http.NotFound(w, r)
		return
	}
	delete(a.objects[kind], key)
	a.version++
	gone := maps.Clone(object)
	meta, _ := object["metadata"].(map[string]any)
	meta = maps.Clone(meta)
	meta["resourceVersion"] = strconv.FormatInt(a.version, 10)
	gone["metadata"] = meta
	a.tell(event{a.version, kind, "DELETED", gone})
}

func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]string{"gitVersion": "v1.36.0"}) })
	mux.HandleFunc("GET /api/v1/{kind}", a.list)
	mux.HandleFunc("GET /api/v1/{kind}/{name}", func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		object, known := a.objects[r.PathValue("kind")][r.PathValue("name")]
		a.mu.Unlock()
		if !known {
			status(w, http.StatusNotFound, "NotFound", r.PathValue("kind")+" "+r.PathValue("name")+" not found")
			return
		}
		answer(w, object)
	})
	return mux
}

func (a *api) list(w http.ResponseWriter, r *http.Request) {
	kind := r.PathValue("kind")
	a.mu.Lock()
	objects, known := a.objects[kind]
	items := []any{}
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		items = append(items, objects[key])
	}
	version := a.version
	a.mu.Unlock()
	if !known {
		status(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource")
		return
	}
	if on, _ := strconv.ParseBool(r.FormValue("watch")); on {
		a.watch(w, r, kind, items, version)
		return
	}
	answer(w, map[string]any{
		"apiVersion": "v1", "kind": strings.ToUpper(kind[:1]) + kind[1:len(kind)-1] + "List",
		"metadata": map[string]any{"resourceVersion": strconv.FormatInt(version, 10)}, "items": items,
	})
}

// watch sends what changes, and before that what is there if the client asks so.
func (a *api) watch(w http.ResponseWriter, r *http.Request, kind string, items []any, version int64) {
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	send := func(action string, object any) bool {
		return out.Encode(map[string]any{"type": action, "object": object}) == nil
	}
	after := version
	if initial, _ := strconv.ParseBool(r.FormValue("sendInitialEvents")); initial {
		for _, item := range items {
			send("ADDED", item)
		}
		send("BOOKMARK", map[string]any{
			"apiVersion": "v1", "kind": strings.ToUpper(kind[:1]) + kind[1:len(kind)-1],
			"metadata": map[string]any{"resourceVersion": strconv.FormatInt(version, 10), "annotations": map[string]string{"k8s.io/initial-events-end": "true"}},
		})
	} else if from, err := strconv.ParseInt(r.FormValue("resourceVersion"), 10, 64); err == nil && from > 0 {
		after = from
	}
	flush := http.NewResponseController(w)
	for {
		_ = flush.Flush()
		a.mu.Lock()
		changed, events := a.changed, a.events
		a.mu.Unlock()
		for _, e := range events {
			if e.version > after && e.kind == kind && !send(e.action, e.object) {
				return
			}
			after = max(after, e.version)
		}
		_ = flush.Flush()
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

func answer(w http.ResponseWriter, object any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(object)
}

func status(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code})
}
