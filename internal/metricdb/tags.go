package metricdb

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// The names of tags.
const (
	TagType          = "type"
	TagCluster       = "cluster_name"
	TagNode          = "nodename"
	TagNamespace     = "namespace_name"
	TagPod           = "pod_name"
	TagPodID         = "pod_id"
	TagContainer     = "container_name"
	TagImage         = "container_base_image"
	TagLabels        = "labels"
	TagResource      = "resource_id"
	tagNamespaceID   = "namespace_id"
	tagHostname      = "hostname"
	tagHostID        = "host_id"
	replacement      = "\uFFFD"
	maxTagValueBytes = 16 << 10
)

// identifying are the tags that tell sets of a level apart, besides type and
// cluster_name.
var identifying = [metrics.Levels][]string{
	metrics.Cluster:         nil,
	metrics.Namespace:       {TagNamespace},
	metrics.Node:            {TagNode},
	metrics.Pod:             {TagNamespace, TagPod, TagPodID},
	metrics.Container:       {TagNamespace, TagPod, TagPodID, TagContainer},
	metrics.SystemContainer: {TagNode, TagContainer},
}

// familyKeys are the tags of labelled metrics' rows. All of them are asked for, of
// whatever family: a row has those of its own.
var familyKeys = []string{TagResource, "accelerator_id", "make", "model", "gpu_index", "gpu_name", "gpu_uuid"}

// Identity returns the names of the tags that tell sets of a metric at a level
// apart, sorted. Which of the family's tags belong to a metric that is not in the
// catalog is not known: it has none.
func Identity(metric string, level metrics.Kind) []string {
	keys := append([]string{TagType, TagCluster}, identifying[level]...)
	if d, ok := metrics.Lookup(metric); ok && d.Labelled {
		keys = append(keys, familyKeys...)
	}
	slices.Sort(keys)
	return keys
}

// SumsOnly returns the conditions that select, of a labelled metric that has sums
// (metrics.Descriptor.Sums), these and not its rows, which have the tags of their family.
// Of a node both are stored, and the sum has the rows in it. Other metrics need none.
func SumsOnly(metric string) (where []Match) {
	if d, ok := metrics.Lookup(metrics.Canonical(metric)); ok && d.Sums {
		family, _ := metrics.Family(d.ID)
		for _, key := range metrics.LabelKeys(family) {
			where = append(where, Is(key, ""))
		}
	}
	return where
}

// Clean returns a tag's value as databases keep it; see the package. What comes out is
// valid UTF-8 of at most 16 KiB, and stays as it is when it is cleaned again.
func Clean(value string) string {
	dirty := len(value) > maxTagValueBytes || strings.HasSuffix(value, `\`)
	for i := 0; i < len(value) && !dirty; i++ {
		dirty = value[i] < ' ' || value[i] == 0x7f || value[i] >= 0x80
	}
	if !dirty {
		return value
	}
	value = cut(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(cut(value), replacement)))
	if trimmed := strings.TrimRight(value, `\`); trimmed != value {
		value = cut(trimmed + strings.Repeat(replacement, len(value)-len(trimmed)))
	}
	return value
}

// cut returns what a value may have of bytes, and no half rune more than it had.
func cut(value string) string {
	if len(value) <= maxTagValueBytes {
		return value
	}
	end := maxTagValueBytes
	for end > maxTagValueBytes-utf8.UTFMax && !utf8.RuneStart(value[end]) {
		end--
	}
	return value[:end]
}

// MakeTags returns cleaned tags of labels: sorted, without empty values, the last of those with
// the same key. It takes labels over.
func MakeTags(labels ...metrics.Label) Tags {
	slices.SortStableFunc(labels, func(a, b metrics.Label) int { return strings.Compare(a.Key, b.Key) })
	kept := labels[:0]
	for i, label := range labels {
		if i+1 < len(labels) && labels[i+1].Key == label.Key {
			continue
		}
		if label.Value = Clean(label.Value); label.Value != "" {
			kept = append(kept, label)
		}
	}
	return kept
}

// Only returns those of the tags whose keys are in the sorted keys.
func (t Tags) Only(keys []string) Tags {
	kept := make(Tags, 0, min(len(t), len(keys)))
	for _, label := range t {
		if _, ok := slices.BinarySearch(keys, label.Key); ok {
			kept = append(kept, label)
		}
	}
	return kept
}

// With returns the tags with one of them set to value.
func (t Tags) With(key, value string) Tags {
	labels := make([]metrics.Label, 0, len(t)+1)
	return MakeTags(append(append(labels, t...), metrics.Label{Key: key, Value: value})...)
}

// Key returns a string that is the same for the same tags, and for no others.
func (t Tags) Key() string {
	var b strings.Builder
	for _, label := range t {
		b.WriteString(label.Key)
		b.WriteByte(0)
		b.WriteString(label.Value)
		b.WriteByte(0)
	}
	return b.String()
}

// Compare orders tags: by their first label that differs.
func (t Tags) Compare(u Tags) int {
	return slices.CompareFunc(t, u, func(a, b metrics.Label) int {
		if c := strings.Compare(a.Key, b.Key); c != 0 {
			return c
		}
		return strings.Compare(a.Value, b.Value)
	})
}

// Holds says whether the condition holds for tags.
func (m *Match) Holds(t Tags) bool {
	return slices.Contains(m.Values, t.Get(m.Tag)) != m.Not
}

// All says whether all conditions hold for tags.
func All(where []Match, t Tags) bool {
	for i := range where {
		if !where[i].Holds(t) {
			return false
		}
	}
	return true
}
