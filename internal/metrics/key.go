package metrics

import "strings"

// Key names a metric set: what the levels' paths and keys say. Fields that a kind
// does not have are "".
type Key struct {
	Kind      Kind // a level: below Levels
	Node      string
	Namespace string
	Pod       string
	Container string // of a Container or a SystemContainer
}

// String is the key as Heapster writes it: "cluster", "node:N", "node:N/container:C",
// "namespace:NS", "namespace:NS/pod:P", "namespace:NS/pod:P/container:C".
func (k Key) String() string {
	switch k.Kind {
	case Node:
		return "node:" + k.Node
	case SystemContainer:
		return "node:" + k.Node + "/container:" + k.Container
	case Namespace:
		return "namespace:" + k.Namespace
	case Pod:
		return "namespace:" + k.Namespace + "/pod:" + k.Pod
	case Container:
		return "namespace:" + k.Namespace + "/pod:" + k.Pod + "/container:" + k.Container
	default:
		return "cluster"
	}
}

// families are the keys of the labels of each family's rows, sorted.
var families = map[Kind][]string{
	Filesystem:  {"resource_id"},
	Disk:        {"resource_id"},
	Accelerator: {"accelerator_id", "make", "model"},
	GPU:         {"gpu_index", "gpu_name", "gpu_uuid"},
}

// LabelKeys are the keys of the labels of a family's rows, sorted; nil of a level. They
// are shared: do not write to them.
func LabelKeys(kind Kind) []string { return families[kind] }

// Family is the kind of the rows that have the labelled metric id; false for a
// metric without labels.
func Family(id ID) (Kind, bool) {
	switch {
	case id < FilesystemUsage || id > GPUUsage:
		return 0, false
	case id <= FilesystemInodesFree:
		return Filesystem, true
	case id <= DiskWriteBytesRate:
		return Disk, true
	case id <= AcceleratorDutyCycle:
		return Accelerator, true
	default:
		return GPU, true
	}
}

// JoinLabels is the name of a family's row with these labels: "key:value" of each,
// joined by commas. The labels must be sorted by key.
func JoinLabels(labels []Label) string {
	if len(labels) == 1 {
		return labels[0].Key + ":" + labels[0].Value
	}
	var b strings.Builder
	for i, label := range labels {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(label.Key)
		b.WriteByte(':')
		b.WriteString(label.Value)
	}
	return b.String()
}

// SplitLabels is JoinLabels' inverse for a row of the family kind. Values may hold
// commas and colons; a name that does not have the family's keys gives what it has.
func SplitLabels(kind Kind, name string) (labels []Label) {
	keys := families[kind]
	for i, key := range keys {
		rest, ok := strings.CutPrefix(name, key+":")
		if !ok {
			continue
		}
		value := rest
		for _, next := range keys[i+1:] {
			if at := strings.Index(rest, ","+next+":"); at >= 0 {
				value, name = rest[:at], rest[at+1:]
				break
			}
		}
		labels = append(labels, Label{Key: key, Value: value})
	}
	return labels
}
