package client

import (
	"net/url"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kind names what a Resource reads, as the cluster's discovery or a
// CustomResourceDefinition does.
type Kind struct {
	Group      string // "apps"; "" for the core group
	Version    string // "v1"
	Resource   string // plural, as in paths: "deployments"
	Kind       string // "Deployment"
	ListKind   string // "" for Kind + "List"
	Namespaced bool
}

func (k Kind) groupVersion() string {
	return schema.GroupVersion{Group: k.Group, Version: k.Version}.String()
}

func (k Kind) listKind() string {
	if k.ListKind != "" {
		return k.ListKind
	}
	return k.Kind + "List"
}

// path is where the objects are served, those of one namespace if it is not "".
func (k Kind) path(namespace string) string {
	root := "/apis/"
	if k.Group == "" {
		root = "/api/"
	}
	root += url.PathEscape(k.Group)
	if k.Group != "" {
		root += "/"
	}
	root += url.PathEscape(k.Version)
	if namespace != "" {
		root += "/namespaces/" + url.PathEscape(namespace)
	}
	return root + "/" + url.PathEscape(k.Resource)
}

// ObjectOf is what the Go type of an object has to be: a pointer to it has the
// methods of every Kubernetes object. A struct that embeds metav1.TypeMeta and
// metav1.ObjectMeta lacks DeepCopyObject only.
type ObjectOf[T any] interface {
	*T
	runtime.Object
	metav1.Object
}

// ListOf is what the Go type of a list has to be. It also needs a field Items of
// type []T.
type ListOf[L any] interface {
	*L
	runtime.Object
	metav1.ListInterface
}

// Of reads any kind with Go types of one's own choice: the built-in ones, those of
// a custom resource, or ones that hold only the fields that matter. The last two
// type parameters follow from the first:
//
//	widgets := client.Of[Widget, WidgetList](krm, client.Kind{Group: "example.com", Version: "v1",
//		Resource: "widgets", Kind: "Widget", Namespaced: true})
//	list, fresh, err := widgets.In("default").List(ctx, client.ListOptions{})
//
// Types with protobuf methods, as those of k8s.io/api have, travel as protobuf if
// the server has it, and everything else as JSON.
func Of[T, L any, _ ObjectOf[T], _ ListOf[L]](c *Client, kind Kind) Resource[T, L] {
	return newResource[T, L](c, kind)
}

// Unstructured reads any kind without Go types for it: objects are trees of maps.
// They take about four times the memory of typed ones.
func (c *Client) Unstructured(kind Kind) Resource[unstructured.Unstructured, unstructured.UnstructuredList] {
	return newResource[unstructured.Unstructured, unstructured.UnstructuredList](c, kind)
}

// Metadata reads of any kind the metadata only, which is a fraction of the bytes.
func (c *Client) Metadata(kind Kind) Resource[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList] {
	r := newResource[metav1.PartialObjectMetadata, metav1.PartialObjectMetadataList](c, kind)
	r.form.as = "PartialObjectMetadata"
	return r
}
