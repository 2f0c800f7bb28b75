package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Informers follows pods, nodes and namespaces of a cluster whose snapshots KRM does
// not have, with as little load as can be: one watch each, protobuf, and a stream of
// the first objects where the server has that. It keeps no objects. What goes wrong is
// logged by client-go; see LogTo.
type Informers struct {
	client rest.Interface
}

// InformerSink takes what an informer sees. Calls come one after the other, and what
// they give is the sink's: of objects without managedFields, and of pods without
// volumes, environments and what else collectors need not know.
type InformerSink[T any] = interface {
	Replace(all []T) // first, and whenever everything was read anew
	Set(one T)
	Delete(namespace, name string)
	Alive() // what was told is up to date at this moment
}

// NewInformers returns Informers of the API server that config names. It makes no
// request, and leaves config as it is.
func NewInformers(config *rest.Config) (*Informers, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	config = rest.CopyConfig(config)
	config.APIPath = "/api"
	config.GroupVersion = &corev1.SchemeGroupVersion
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	config.DisableCompression = true // spares the API server its gzip
	config.Timeout = 0               // a watch has no end
	if config.UserAgent == "" {
		config.UserAgent = "krm"
	}
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", config.Host, err)
	}
	return &Informers{client: client}, nil
}

// FollowPods tells to of all pods and what becomes of them, until ctx ends. It
// returns ctx's error; when the server is away it tries again and again.
func (i *Informers) FollowPods(ctx context.Context, to InformerSink[*corev1.Pod]) error {
	return inform(ctx, i, "pods", &corev1.Pod{}, trimPod, to)
}

// FollowNodes is FollowPods for nodes.
func (i *Informers) FollowNodes(ctx context.Context, to InformerSink[*corev1.Node]) error {
	return inform(ctx, i, "nodes", &corev1.Node{}, func(n *corev1.Node) { n.ManagedFields, n.Status.Images = nil, nil }, to)
}

// FollowNamespaces is FollowPods for namespaces.
func (i *Informers) FollowNamespaces(ctx context.Context, to InformerSink[*corev1.Namespace]) error {
	return inform(ctx, i, "namespaces", &corev1.Namespace{}, func(n *corev1.Namespace) { n.ManagedFields = nil }, to)
}

func inform[T metav1.Object](ctx context.Context, i *Informers, resource string, kind T, trim func(T), to InformerSink[T]) error {
	lists := cache.ToListWatcherWithWatchListSemantics(cache.NewListWatchFromClient(i.client, resource, metav1.NamespaceAll, fields.Everything()), i.client)
	cache.NewReflectorWithOptions(lists, kind, &informed[T]{to, trim}, cache.ReflectorOptions{Name: "krm-" + resource}).RunWithContext(ctx)
	return context.Cause(ctx)
}

// informed passes a reflector's objects on.
type informed[T metav1.Object] struct {
	to   InformerSink[T]
	trim func(T)
}

// Transformer makes the reflector trim objects as soon as they are decoded: of a
// large cluster it must not hold all of them whole.
func (s *informed[T]) Transformer() cache.TransformFunc {
	return func(o any) (any, error) {
		if one, ok := o.(T); ok {
			s.trim(one)
		}
		return o, nil
	}
}

func (s *informed[T]) Add(o any) error { return s.Update(o) }

func (s *informed[T]) Update(o any) error {
	one, ok := o.(T)
	if !ok {
		return fmt.Errorf("an object of type %T", o)
	}
	s.trim(one)
	s.to.Set(one)
	return nil
}

func (s *informed[T]) Delete(o any) error {
	one, ok := o.(metav1.Object)
	if !ok {
		return fmt.Errorf("an object of type %T", o)
	}
	s.to.Delete(one.GetNamespace(), one.GetName())
	return nil
}

func (s *informed[T]) Replace(list []any, _ string) error {
	all := make([]T, 0, len(list))
	for _, o := range list {
		one, ok := o.(T)
		if !ok {
			return fmt.Errorf("an object of type %T", o)
		}
		s.trim(one)
		all = append(all, one)
	}
	s.to.Replace(all)
	return nil
}

func (s *informed[T]) Resync() error { return nil }

func (s *informed[T]) Bookmark(string) error {
	s.to.Alive()
	return nil
}

// trimPod drops what is large and what no collector looks at.
func trimPod(p *corev1.Pod) {
	p.ManagedFields, p.Annotations, p.OwnerReferences = nil, nil, nil
	p.Spec.Volumes, p.Spec.Tolerations, p.Spec.Affinity, p.Spec.EphemeralContainers = nil, nil, nil, nil
	for _, list := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
		for i := range list {
			c := &list[i]
			list[i] = corev1.Container{Name: c.Name, Image: c.Image, Resources: c.Resources, RestartPolicy: c.RestartPolicy}
		}
	}
}
