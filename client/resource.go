package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
)

// Resource reads one kind of object: T is the object's type, L its list's. Get
// one from a Client, as in krm.Pods("default"), or with [Of].
//
// Objects have their Kind and APIVersion set. The items of a list have not, unless
// they are unstructured: the list says what they are.
type Resource[T, L any] struct {
	client    *Client
	kind      Kind
	form      form
	namespace string
}

func newResource[T, L any](c *Client, kind Kind) Resource[T, L] {
	return Resource[T, L]{client: c, kind: kind, form: formOf[T, L]()}
}

// In reads the objects of namespace; "" lists those of all.
func (r Resource[T, L]) In(namespace string) Resource[T, L] {
	r.namespace = namespace
	return r
}

// Get returns the object of that name, the caller's to keep. A name that does not
// exist is IsNotFound; a resource that KRM does not know completely yet is
// IsServiceUnavailable. Give one GetOptions at most.
func (r Resource[T, L]) Get(ctx context.Context, name string, opts ...GetOptions) (*T, Freshness, error) {
	asked, err := r.objectQuestion(name, opts)
	if err != nil {
		return nil, Freshness{}, err
	}
	got, err := r.client.get(ctx, asked)
	if err != nil {
		return nil, Freshness{}, err
	}
	object := new(T)
	if err := got.payload.into(object, r.wantObject()); err != nil {
		return nil, Freshness{}, fmt.Errorf("GET %s: %w", got.url, err)
	}
	return object, got.fresh, nil
}

// List returns the objects that opts ask for, ordered by the bytes of
// "namespace/name", the caller's to keep, and never nil without an error. The
// list's ResourceVersion is the moment for which it is true. Before KRM knows the
// resource completely the error is IsServiceUnavailable, never an empty list.
func (r Resource[T, L]) List(ctx context.Context, opts ListOptions) (*L, Freshness, error) {
	asked, err := r.listQuestion(opts)
	if err != nil {
		return nil, Freshness{}, err
	}
	got, err := r.client.get(ctx, asked)
	if err != nil {
		return nil, Freshness{}, err
	}
	list, err := r.decodeList(got)
	if err != nil {
		return nil, Freshness{}, err
	}
	return list, got.fresh, nil
}

func (r Resource[T, L]) decodeList(got answer) (*L, error) {
	list := new(L)
	if err := intoList[T](got.payload, list, r.wantList(), r.form.items); err != nil {
		return nil, fmt.Errorf("GET %s: %w", got.url, err)
	}
	return list, nil
}

func (r Resource[T, L]) wantObject() envelope {
	return r.form.wanted(r.kind.groupVersion(), r.kind.Kind, "")
}

func (r Resource[T, L]) wantList() envelope {
	return r.form.wanted(r.kind.groupVersion(), r.kind.listKind(), "List")
}

func (r Resource[T, L]) objectQuestion(name string, opts []GetOptions) (question, error) {
	if r.kind.Namespaced && r.namespace == "" {
		return question{}, fmt.Errorf("get %s %q: no namespace is given, want one", r.kind.Kind, name)
	}
	if err := errors.Join(r.check(), r.checkSegment("name", name)); err != nil {
		return question{}, err
	}
	if len(opts) > 1 {
		return question{}, fmt.Errorf("get %s %q: %d GetOptions are given, want one at most", r.kind.Kind, name, len(opts))
	}
	query, err := append(opts, GetOptions{})[0].query()
	if err != nil {
		return question{}, err
	}
	path := r.kind.path(r.namespace) + "/" + url.PathEscape(name)
	return question{Request: Request{Path: path, Query: query, Accept: r.form.accept("")}, binary: r.form.binary}, nil
}

func (r Resource[T, L]) listQuestion(opts ListOptions) (question, error) {
	if err := r.check(); err != nil {
		return question{}, err
	}
	query, err := opts.query()
	if err != nil {
		return question{}, err
	}
	path := r.kind.path(r.namespace)
	return question{Request: Request{Path: path, Query: query, Accept: r.form.accept("List")}, binary: r.form.binary}, nil
}

// check refuses what is not a whole question.
func (r Resource[T, L]) check() error {
	switch {
	case r.client == nil:
		return errors.New("the Resource is a zero value: get one from a Client")
	case r.kind.Version == "" || r.kind.Resource == "" || r.kind.Kind == "":
		return fmt.Errorf("kind %+v: want a Version, a Resource and a Kind", r.kind)
	case r.namespace == "":
		return nil
	case !r.kind.Namespaced:
		return fmt.Errorf("namespace %q: a %s is in no namespace", r.namespace, r.kind.Kind)
	}
	return r.checkSegment("namespace", r.namespace)
}

// checkSegment refuses what would make another path than the caller means.
func (r Resource[T, L]) checkSegment(what, value string) error {
	if value == "" {
		return fmt.Errorf("%s of a %s: it is empty", what, r.kind.Kind)
	}
	if faults := content.IsPathSegmentName(value); len(faults) > 0 {
		return fmt.Errorf("%s of a %s: %q: it %s", what, r.kind.Kind, value, strings.Join(faults, ", it "))
	}
	return nil
}
