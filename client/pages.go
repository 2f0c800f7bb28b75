package client

import (
	"context"
	"fmt"
	"iter"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// defaultPage is the size of pages if ListOptions names none.
const defaultPage = 500

// Page is one of the lists that together are all objects.
type Page[L any] struct {
	List      *L // the caller's to keep, never nil
	Freshness Freshness
}

// Pages lists what opts ask for page by page, of 500 objects or opts.Limit. All
// show the state that the first one shows. The sequence ends after the last page,
// or with one error: IsResourceExpired if the loop took so long that KRM no longer
// keeps that state. Begin again then, from nothing.
func (r Resource[T, L]) Pages(ctx context.Context, opts ListOptions) iter.Seq2[Page[L], error] {
	if opts.Limit == 0 {
		opts.Limit = defaultPage
	}
	return func(yield func(Page[L], error) bool) {
		opts := opts // the sequence may be run again
		for {
			list, fresh, err := r.List(ctx, opts)
			if err == nil && opts.Continue != "" && listMeta(list).GetContinue() == opts.Continue {
				err = fmt.Errorf("list %s: the page is said to continue with itself: %q", r.kind.Resource, excerpt([]byte(opts.Continue)))
			}
			if err != nil {
				yield(Page[L]{}, err)
				return
			}
			next := listMeta(list).GetContinue()
			if !yield(Page[L]{list, fresh}, nil) || next == "" {
				return
			}
			// The token says which state it continues; asking for another one is refused.
			opts.Continue, opts.ResourceVersion, opts.ResourceVersionMatch, opts.MinFreshness = next, "", "", 0
		}
	}
}

// All lists what opts ask for object by object, in pages as [Resource.Pages] does,
// with the same error. Objects are the caller's to keep.
func (r Resource[T, L]) All(ctx context.Context, opts ListOptions) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for page, err := range r.Pages(ctx, opts) {
			if err != nil {
				yield(nil, err)
				return
			}
			items, err := itemsOf[T](page.List)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, item := range *items {
				// A copy: whoever keeps one object is not to keep its page with it.
				if !yield(&item, nil) {
					return
				}
			}
		}
	}
}

func listMeta[L any](list *L) metav1.ListInterface {
	return any(list).(metav1.ListInterface) // ListOf says so
}

func objectMeta[T any](object *T) metav1.Object {
	return any(object).(metav1.Object) // ObjectOf says so
}
