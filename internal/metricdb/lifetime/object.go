package lifetime

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/kubernetes-resource-monitor/krm/internal/object"
)

// metadata is what of an object's metadata a lifetime is made of.
type metadata struct {
	Name      string            `json:"name"`
	Namespace string            `json:"namespace"`
	UID       string            `json:"uid"`
	Created   time.Time         `json:"creationTimestamp"`
	Labels    map[string]string `json:"labels"`
}

// life is the life of the object that a record is of, as far as that does not depend on
// its resource.
func (m *metadata) life(r *object.Record) (*Life, error) {
	if m.UID == "" || m.Created.IsZero() {
		return nil, fmt.Errorf("%w: an object without uid or creationTimestamp", object.ErrUnreadable)
	}
	l := &Life{Created: m.Created.UTC()}
	if r.Deleted {
		l.Deleted = l.seen(r)
	}
	return l, nil
}

// seen is when a state of a life was seen: our clock may be behind the API server's, but not
// so far that it was before the creation.
func (l *Life) seen(r *object.Record) time.Time {
	at := r.SeenAt.UTC().Truncate(time.Millisecond)
	if at.Before(l.Created) {
		return l.Created
	}
	return at
}

// join is the tag labels, as the collector makes it.
func (o *Options) join(labels map[string]string) string {
	all := make([]string, 0, len(labels))
	for key, value := range labels {
		if !slices.Contains(o.Ignore, key) {
			all = append(all, key+":"+value)
		}
	}
	slices.Sort(all)
	return strings.Join(all, o.Separator)
}

// quantities are amounts by resource name.
type quantities map[string]string

type resources struct {
	Requests quantities `json:"requests"`
}

func raise(to, from map[string]int64) {
	for name, v := range from {
		to[name] = max(to[name], v)
	}
}

// amounts are quantities in millicores of cpu, in their own unit of all else.
func amounts(q quantities) map[string]int64 {
	all := make(map[string]int64, len(q))
	for name, text := range q {
		amount, err := resource.ParseQuantity(text)
		switch {
		case err != nil: // no API server has one
		case name == "cpu":
			all[name] = amount.MilliValue()
		default:
			all[name] = amount.Value()
		}
	}
	return all
}
