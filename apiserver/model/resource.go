package model

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/kubernetes-resource-monitor/krm/apiserver/kubeapi"
	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// Group is the group of the Kubernetes resource metrics API.
const Group = "metrics.k8s.io"

// versions are those that are answered. v1alpha1 is for clients of Heapster's time and
// not told of.
func versions() []string { return []string{"v1", "v1beta1", "v1alpha1"} }

func nodesResource(version string) object.Resource {
	return object.Resource{Group: Group, Version: version, Name: "nodes", Kind: "NodeMetrics"}
}

func podsResource(version string) object.Resource {
	return object.Resource{Group: Group, Version: version, Name: "pods", Kind: "PodMetrics", Namespaced: true}
}

// actOn is how old resource metrics may be: autoscalers do not look at their age. People
// who ask the model are told, and see the times.
const actOn = 3 * time.Minute

// usageQuery is what is asked of the resource metrics API.
type usageQuery struct {
	resource  object.Resource
	namespace string // "" is all
	name      string // of one object; "" of a list
	labels    labels.Selector
	fields    fields.Selector
	limit     int    // 0 is none
	after     string // the name, or namespace/name, that the page before ended with
	form      form
}

// parseUsage reads a path below the group's root; ok is false if nothing is there.
func parseUsage(path string) (u usageQuery, ok bool) {
	parts := strings.Split(path, "/")
	version, parts := parts[0], parts[1:]
	for _, part := range parts {
		if part == "" {
			return u, false
		}
	}
	switch {
	case parts[0] == "nodes" && len(parts) <= 2:
		u.resource = nodesResource(version)
	case parts[0] == "pods" && len(parts) == 1:
		u.resource = podsResource(version)
	case parts[0] == "namespaces" && (len(parts) == 3 || len(parts) == 4) && parts[2] == "pods":
		u.resource, u.namespace, parts = podsResource(version), parts[1], parts[2:]
	default:
		return u, false
	}
	if len(parts) == 2 {
		u.name = parts[1]
	}
	return u, true
}

// resource answers below the group's root.
func (a *API) resource(q request) error {
	u, ok := parseUsage(strings.TrimPrefix(q.path, groupRoot+"/"))
	if !ok {
		return kubeapi.NoSuchResource()
	}
	if q.Request.Method != http.MethodGet && q.Request.Method != http.MethodHead {
		q.Header("Allow", "GET, HEAD")
		return apierrors.NewMethodNotSupported(u.groupResource(), strings.ToLower(q.Request.Method))
	}
	err := u.parse(q.Request)
	// Who may not read here is not told what is wrong with the question.
	if err := a.authorize(q, u.access()); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	v, err := a.view(q)
	if err != nil {
		return err
	}
	if v == nil { // it has just gone
		return kubeapi.NoSuchResource()
	}
	if age := time.Since(v.Time()); age > max(actOn, lateAfter*v.Resolution()) {
		return kubeapi.Unavailable("the newest metrics are %v old, too old to act on: see the collector", age.Round(time.Second))
	}
	if u.name != "" {
		return a.oneUsage(q, v, u)
	}
	release, err := a.inTurn()
	if err != nil {
		return err
	}
	defer release()
	partialNodes(q, v)
	return a.sendUsages(q, v, u)
}

func (u *usageQuery) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: Group, Resource: u.resource.Name}
}

func (u *usageQuery) access() kubeapi.Access {
	access := kubeapi.Access{Verb: "list", Resource: u.resource, Namespace: u.namespace, Name: u.name}
	if u.name != "" {
		access.Verb = "get"
	} else if name, ok := u.exactName(); ok {
		access.Name = name
	}
	return access
}

func (u *usageQuery) exactName() (string, bool) {
	if u.fields == nil {
		return "", false
	}
	return u.fields.RequiresExactMatch("metadata.name")
}

// parse reads the query and what the client accepts.
func (u *usageQuery) parse(r *http.Request) (err error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return kubeapi.BadRequest("query %q: %v", r.URL.RawQuery, err)
	}
	if u.form, err = chooseForm(r); err != nil || u.name != "" {
		return err
	}
	if watch := values.Get("watch"); values.Has("watch") && watch != "0" && !strings.EqualFold(watch, "false") {
		return apierrors.NewMethodNotSupported(u.groupResource(), "watch")
	}
	if u.labels, err = labels.Parse(values.Get("labelSelector")); err != nil {
		return kubeapi.BadRequest("unable to parse labelSelector %q: %v", values.Get("labelSelector"), err)
	}
	if u.fields, err = fields.ParseSelector(values.Get("fieldSelector")); err != nil {
		return kubeapi.BadRequest("unable to parse fieldSelector %q: %v", values.Get("fieldSelector"), err)
	}
	for _, r := range u.fields.Requirements() {
		if r.Field != "metadata.name" && (r.Field != "metadata.namespace" || !u.resource.Namespaced) {
			return kubeapi.BadRequest("field label not supported: %s", r.Field)
		}
	}
	return u.parsePage(values)
}

func (u *usageQuery) parsePage(values url.Values) (err error) {
	if text := values.Get("limit"); text != "" {
		if u.limit, err = strconv.Atoi(text); err != nil || u.limit < 0 {
			return kubeapi.BadRequest("limit=%q: want a whole number that is not below 0", text)
		}
	}
	if text := values.Get("continue"); text != "" {
		after, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return kubeapi.BadRequest("continue key is not valid: %v", err)
		}
		u.after = string(after)
	}
	return nil
}

// usage is what a node, or a container, uses.
type usage struct {
	name   string // of a container
	cpu    int64  // millicores
	memory int64  // bytes of the working set
}

// usages is what a node, or a pod with its containers, uses.
type usages struct {
	namespace, name string
	labels          []metrics.Label
	usage           usage // of a node, and of all of a pod's containers together
	containers      []usage
}

// id is what pages end with.
func (r *usages) id() string {
	if r.namespace == "" {
		return r.name
	}
	return r.namespace + "/" + r.name
}

// usageOf reads both numbers; ok is false unless both are there.
func usageOf(v *metrics.View, key metrics.Key) (u usage, ok bool) {
	cpu, hasCPU := v.Newest(key, metrics.CPUUsageRate)
	memory, hasMemory := v.Newest(key, metrics.MemoryWorkingSet)
	return usage{name: key.Container, cpu: max(0, cpu), memory: max(0, memory)}, hasCPU && hasMemory
}

// nodeUsage reads a node, by its name or hostname.
func nodeUsage(v *metrics.View, name string) (r usages, ok bool) {
	key := metrics.Key{Kind: metrics.Node, Node: name}
	if r.usage, ok = usageOf(v, key); !ok {
		return r, false
	}
	info, ok := v.Entity(key)
	r.name = cmp.Or(info.Key.Node, name)
	if info.Meta != nil {
		r.labels = info.Meta.Labels
	}
	return r, ok
}

// podUsage reads a pod; ok is false unless both numbers are known of all of its
// containers.
func podUsage(v *metrics.View, namespace, name string) (r usages, ok bool) {
	r.namespace, r.name = namespace, name
	containers := v.Containers(namespace, name)
	r.containers = make([]usage, 0, len(containers))
	for _, container := range containers {
		one, ok := usageOf(v, metrics.Key{Kind: metrics.Container, Namespace: namespace, Pod: name, Container: container})
		if !ok {
			return r, false
		}
		r.containers = append(r.containers, one)
		r.usage.cpu += one.cpu
		r.usage.memory += one.memory
	}
	if info, known := v.Entity(metrics.Key{Kind: metrics.Pod, Namespace: namespace, Pod: name}); known && info.Meta != nil {
		r.labels = info.Meta.Labels
	}
	return r, len(containers) > 0
}

// all yields what is asked for, by name; of pods by namespace first.
func (u *usageQuery) all(v *metrics.View) func(yield func(usages) bool) {
	return func(yield func(usages) bool) {
		if !u.resource.Namespaced {
			for _, name := range v.NodeNames() {
				if name > u.after && u.selects("", name) {
					if r, ok := nodeUsage(v, name); ok && u.labels.Matches(labelSet(r.labels)) && !yield(r) {
						return
					}
				}
			}
			return
		}
		namespaces := []string{u.namespace}
		if u.namespace == "" {
			namespaces = v.Namespaces()
		}
		afterNamespace, afterName, _ := strings.Cut(u.after, "/")
		for _, namespace := range namespaces {
			if namespace < afterNamespace {
				continue
			}
			for _, name := range v.Pods(namespace) {
				if namespace == afterNamespace && name <= afterName || !u.selects(namespace, name) {
					continue
				}
				if r, ok := podUsage(v, namespace, name); ok && u.labels.Matches(labelSet(r.labels)) && !yield(r) {
					return
				}
			}
		}
	}
}

// selects says whether the field selector takes the object.
func (u *usageQuery) selects(namespace, name string) bool {
	return u.fields.Empty() || u.fields.Matches(fields.Set{"metadata.namespace": namespace, "metadata.name": name})
}
