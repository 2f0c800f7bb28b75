package process

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unique"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// LabelOptions says what becomes of the labels of pods and nodes. The zero value
// joins all of them with commas.
type LabelOptions struct {
	Separator string        // between the joined labels; "," if empty
	Ignore    []string      // labels that are left out of the joined ones
	Store     []StoredLabel // labels that are copied to labels of their own, too
	// HostIDAnnotation names the annotation of nodes that is their host_id; if it is
	// empty, their provider ID is.
	HostIDAnnotation string
}

// StoredLabel copies the label From to a label As.
type StoredLabel struct{ From, As string }

// ParseStoredLabel reads what --store-label accepts: NAME or NEW=NAME.
func ParseStoredLabel(text string) (StoredLabel, error) {
	as, from, renamed := strings.Cut(text, "=")
	if !renamed {
		from = as
	}
	if as == "" || from == "" || strings.Contains(from, "=") {
		return StoredLabel{}, fmt.Errorf("stored label %q: want NAME or NEW=NAME", text)
	}
	return StoredLabel{From: from, As: as}, nil
}

// join makes the label "labels": "key:value" of each that is not ignored, by key.
func (o LabelOptions) join(labels []metrics.Label) string {
	var text strings.Builder
	for _, label := range labels {
		if slices.Contains(o.Ignore, label.Key) {
			continue
		}
		if text.Len() > 0 {
			text.WriteString(cmp.Or(o.Separator, ","))
		}
		text.WriteString(label.Key)
		text.WriteByte(':')
		text.WriteString(label.Value)
	}
	return unique.Make(text.String()).Value() // pods of one owner have it in common
}

// store returns the copies of the labels that have some, by their new name. A label
// that is ignored is copied all the same.
func (o LabelOptions) store(labels []metrics.Label) (stored []metrics.Label) {
	for _, s := range o.Store {
		i := slices.IndexFunc(labels, func(l metrics.Label) bool { return l.Key == s.From })
		if i >= 0 {
			stored = append(stored, metrics.Label{Key: s.As, Value: labels[i].Value})
		}
	}
	slices.SortStableFunc(stored, func(a, b metrics.Label) int { return cmp.Compare(a.Key, b.Key) })
	return slices.CompactFunc(stored, func(a, b metrics.Label) bool { return a.Key == b.Key })
}

// describe returns known if it says the same as fresh, whose Joined and Stored are
// not filled in; else fresh with them. So metadata that did not change stay the same
// memory over batches, and their labels are joined once.
func (o LabelOptions) describe(known *metrics.Meta, fresh metrics.Meta) *metrics.Meta {
	if known != nil && known.UID == fresh.UID && known.NamespaceID == fresh.NamespaceID && known.Node == fresh.Node &&
		known.Hostname == fresh.Hostname && known.HostID == fresh.HostID && slices.Equal(known.Labels, fresh.Labels) {
		return known
	}
	meta := fresh // fresh itself stays off the heap: mostly it is not needed
	meta.Joined, meta.Stored = o.join(fresh.Labels), o.store(fresh.Labels)
	return &meta
}
