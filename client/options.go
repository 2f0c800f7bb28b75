package client

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ListOptions say which objects to list. The zero value is all of them, as of now.
// What a server cannot do it refuses; it does not answer something else instead.
type ListOptions struct {
	LabelSelector string // "app=web,tier in (a,b),!canary"
	FieldSelector string // "spec.nodeName=node-1"; the fields that Kubernetes serves for the kind, others are refused (IsBadRequest)
	Where         string // KRM's field selector, for any field: "spec.containers[*].image=nginx,status.phase!=Running"
	// ResourceVersion "" never goes back in time, whichever replica of KRM answers.
	// Another asks for a state as Match says; see also [ListOptions.AtLeast].
	ResourceVersion      string
	ResourceVersionMatch metav1.ResourceVersionMatch
	// MinFreshness is how old the answer may be at most: if KRM has not heard from
	// the API server for longer, the error is IsServiceUnavailable. 0 is any age, as
	// Freshness then tells.
	MinFreshness time.Duration
	// OrderBy sorts by a field, with "-" before it from the highest down:
	// "metadata.creationTimestamp". By default it is the bytes of "namespace/name",
	// which pages always have: it does not go with Limit.
	OrderBy string
	// Fields asks for these fields only, parted by commas: "metadata.name,status.phase".
	// The others are zero in what is returned.
	Fields string
	// Limit asks for pages of that many objects; the list's Continue names the next
	// one, and "" ends. All pages show one state; when it is no longer kept the
	// error is IsResourceExpired. [Resource.Pages] and [Resource.All] do it for you.
	Limit    int64
	Continue string
}

// AtLeast asks for a state that is not older than resourceVersion: that of an
// object that was just written or seen, of the same resource. KRM waits for it for
// a few seconds; the error is IsTimeout if it does not come.
func (o ListOptions) AtLeast(resourceVersion string) ListOptions {
	o.ResourceVersion, o.ResourceVersionMatch = resourceVersion, metav1.ResourceVersionMatchNotOlderThan
	return o
}

// GetOptions say how fresh an object has to be. The zero value is as of now.
type GetOptions struct {
	AtLeast      string        // as in [ListOptions.AtLeast]
	MinFreshness time.Duration // as in [ListOptions]
	Fields       string        // as in [ListOptions]
}

func (o ListOptions) query() (url.Values, error) {
	query := queryOf(
		"labelSelector", o.LabelSelector, "fieldSelector", o.FieldSelector, "krm.io/fieldSelector", o.Where,
		"resourceVersion", o.ResourceVersion, "resourceVersionMatch", string(o.ResourceVersionMatch),
		"orderBy", o.OrderBy, "fields", o.Fields, "continue", o.Continue)
	if o.OrderBy != "" && (o.Limit != 0 || o.Continue != "") {
		return nil, fmt.Errorf("OrderBy %q: pages have the order of names: want no Limit, or no OrderBy", o.OrderBy)
	}
	if o.Limit < 0 {
		return nil, fmt.Errorf("the Limit is %d: want a positive number, or 0 for one page with all", o.Limit)
	}
	if o.Limit != 0 {
		query.Set("limit", strconv.FormatInt(o.Limit, 10))
	}
	return query, addFreshness(query, o.MinFreshness)
}

func (o GetOptions) query() (url.Values, error) {
	query := queryOf("resourceVersion", o.AtLeast, "fields", o.Fields)
	return query, addFreshness(query, o.MinFreshness)
}

// queryOf takes names and values in turn and leaves out what is "".
func queryOf(pairs ...string) url.Values {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	return query
}

func addFreshness(query url.Values, atMost time.Duration) error {
	if atMost < 0 {
		return fmt.Errorf("the MinFreshness is %v: want a positive duration, or 0 for any age", atMost)
	}
	if atMost > 0 {
		query.Set("maxStaleness", atMost.String())
	}
	return nil
}
