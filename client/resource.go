package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// Resource reads one kind of object: T is the object's type, L its list's. Get
// one from a Client, as in krm.Pods("default").
type Resource[T, L any] struct {
	client    *Client
	kind      kind
	namespace string
}

// kind is what a Resource needs to know of Kubernetes.
type kind struct {
	group, version string
	name           string // plural, as in paths
	kind           string
	namespaced     bool
}

func (k kind) groupVersion() string {
	if k.group == "" {
		return k.version
	}
	return k.group + "/" + k.version
}

// path is where the objects are served, those of one namespace if it is not "".
func (k kind) path(namespace string) string {
	root := "/apis/"
	if k.group == "" {
		root = "/api/"
	}
	if namespace != "" {
		return root + k.groupVersion() + "/namespaces/" + url.PathEscape(namespace) + "/" + k.name
	}
	return root + k.groupVersion() + "/" + k.name
}

// Pods reads the pods of namespace; "" lists those of all.
func (c *Client) Pods(namespace string) Resource[corev1.Pod, corev1.PodList] {
	return Resource[corev1.Pod, corev1.PodList]{c, kind{"", "v1", "pods", "Pod", true}, namespace}
}

// Deployments reads the deployments of namespace; "" lists those of all.
func (c *Client) Deployments(namespace string) Resource[appsv1.Deployment, appsv1.DeploymentList] {
	return Resource[appsv1.Deployment, appsv1.DeploymentList]{c, kind{"apps", "v1", "deployments", "Deployment", true}, namespace}
}

// PersistentVolumeClaims reads the claims of namespace; "" lists those of all.
func (c *Client) PersistentVolumeClaims(namespace string) Resource[corev1.PersistentVolumeClaim, corev1.PersistentVolumeClaimList] {
	return Resource[corev1.PersistentVolumeClaim, corev1.PersistentVolumeClaimList]{
		c, kind{"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true}, namespace,
	}
}

// Services reads the services of namespace; "" lists those of all.
func (c *Client) Services(namespace string) Resource[corev1.Service, corev1.ServiceList] {
	return Resource[corev1.Service, corev1.ServiceList]{c, kind{"", "v1", "services", "Service", true}, namespace}
}

// Ingresses reads the ingresses of namespace; "" lists those of all.
func (c *Client) Ingresses(namespace string) Resource[networkingv1.Ingress, networkingv1.IngressList] {
	return Resource[networkingv1.Ingress, networkingv1.IngressList]{
		c, kind{"networking.k8s.io", "v1", "ingresses", "Ingress", true}, namespace,
	}
}

// Nodes reads the cluster's nodes.
func (c *Client) Nodes() Resource[corev1.Node, corev1.NodeList] {
	return Resource[corev1.Node, corev1.NodeList]{c, kind{"", "v1", "nodes", "Node", false}, ""}
}

// Namespaces reads the cluster's namespaces.
func (c *Client) Namespaces() Resource[corev1.Namespace, corev1.NamespaceList] {
	return Resource[corev1.Namespace, corev1.NamespaceList]{c, kind{"", "v1", "namespaces", "Namespace", false}, ""}
}

// ListOptions say which objects to list. The zero value is all of them, as of now.
// What a server cannot do it refuses; it does not answer something else instead.
type ListOptions struct {
	LabelSelector string // "app=web,tier in (a,b),!canary"
	FieldSelector string // "spec.nodeName=node-1"; what is served is KRM's to say, other fields are refused (IsBadRequest)
	// ResourceVersion "" never goes back in time, whichever replica of KRM answers.
	// Another asks for a state as Match says.
	ResourceVersion      string
	ResourceVersionMatch metav1.ResourceVersionMatch
	// Limit asks for pages of that many objects; the list's Continue names the next
	// one, and "" ends. All pages show one state; when it is no longer kept the
	// error is IsResourceExpired.
	Limit    int64
	Continue string
}

func (o ListOptions) query() url.Values {
	query := url.Values{}
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	set("labelSelector", o.LabelSelector)
	set("fieldSelector", o.FieldSelector)
	set("resourceVersion", o.ResourceVersion)
	set("resourceVersionMatch", string(o.ResourceVersionMatch))
	set("continue", o.Continue)
	if o.Limit != 0 {
		query.Set("limit", strconv.FormatInt(o.Limit, 10))
	}
	return query
}

// Get returns the object of that name, the caller's to keep. A name that does not
// exist is IsNotFound; a resource that KRM does not know completely yet is
// IsServiceUnavailable.
func (r Resource[T, L]) Get(ctx context.Context, name string) (*T, Freshness, error) {
	if r.kind.namespaced && r.namespace == "" {
		return nil, Freshness{}, fmt.Errorf("get %s %q: no namespace is given, want one", r.kind.kind, name)
	}
	if err := r.check("name", name); err != nil {
		return nil, Freshness{}, err
	}
	if err := r.check("namespace", r.namespace); err != nil && r.kind.namespaced {
		return nil, Freshness{}, err
	}
	object := new(T)
	fresh, err := r.read(ctx, Request{Path: r.kind.path(r.namespace) + "/" + url.PathEscape(name)}, r.kind.kind, object)
	if err != nil {
		return nil, Freshness{}, err
	}
	return object, fresh, nil
}

// List returns the objects that opts ask for, ordered by the bytes of
// "namespace/name", the caller's to keep, and never nil without an error. The
// list's ResourceVersion is the moment for which it is true. Before KRM knows the
// resource completely the error is IsServiceUnavailable, never an empty list.
func (r Resource[T, L]) List(ctx context.Context, opts ListOptions) (*L, Freshness, error) {
	if r.namespace != "" {
		if err := r.check("namespace", r.namespace); err != nil {
			return nil, Freshness{}, err
		}
	}
	list := new(L)
	fresh, err := r.read(ctx, Request{Path: r.kind.path(r.namespace), Query: opts.query()}, r.kind.kind+"List", list)
	if err != nil {
		return nil, Freshness{}, err
	}
	return list, fresh, nil
}

// check refuses what would make another path than the caller means.
func (r Resource[T, L]) check(what, value string) error {
	if value == "" {
		return fmt.Errorf("%s of a %s: it is empty", what, r.kind.kind)
	}
	if faults := content.IsPathSegmentName(value); len(faults) > 0 {
		return fmt.Errorf("%s of a %s: %q: it %s", what, r.kind.kind, value, strings.Join(faults, ", it "))
	}
	return nil
}

// read decodes what request brings into target, if it is of the kind that is wanted.
func (r Resource[T, L]) read(ctx context.Context, request Request, want string, target any) (Freshness, error) {
	got, err := r.client.get(ctx, request)
	if err != nil {
		return Freshness{}, err
	}
	err = utiljson.Unmarshal(got.body, target)
	is := target.(runtime.Object).GetObjectKind().GroupVersionKind() // all of k8s.io/api are
	if is.Kind != want || is.GroupVersion().String() != r.kind.groupVersion() {
		return Freshness{}, fmt.Errorf("GET %s: want %s of %s, got %q of %q (is this KRM's address?): %s",
			got.url, want, r.kind.groupVersion(), is.Kind, is.GroupVersion(), excerpt(got.body))
	}
	if err != nil {
		return Freshness{}, fmt.Errorf("GET %s: decode the %s: %w", got.url, want, err)
	}
	return got.fresh, nil
}
