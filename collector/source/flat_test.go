package source

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubernetes-resource-monitor/krm/internal/metrics"
)

// flatten writes a sample as "KEY METRIC" or "KEY METRIC{LABELS}" → value; a set that
// comes twice, or a value that does, is an error.
func flatten(t *testing.T, s *Sample) map[string]int64 {
	t.Helper()
	flat := map[string]int64{}
	add := func(key string, v Value) {
		if _, twice := flat[key]; twice {
			t.Errorf("%s comes twice", key)
		}
		flat[key] = v.Bits
	}
	for _, set := range s.Sets {
		key := keyOf(s, set)
		for _, v := range set.Values {
			add(key+" "+metrics.Describe(v.ID).Name, v)
		}
		for _, row := range set.Labelled {
			for _, v := range row.Values {
				add(fmt.Sprintf("%s %s{%s}", key, metrics.Describe(v.ID).Name, row.Name), v)
			}
		}
	}
	return flat
}

func keyOf(s *Sample, set Set) string {
	switch set.Kind {
	case metrics.Node:
		return "node:" + s.Node
	case metrics.SystemContainer:
		return "node:" + s.Node + "/container:" + set.Container
	case metrics.Pod:
		return "namespace:" + set.Namespace + "/pod:" + set.Pod
	case metrics.Container:
		return "namespace:" + set.Namespace + "/pod:" + set.Pod + "/container:" + set.Container
	}
	return fmt.Sprintf("kind %d", set.Kind)
}

func keysOf(s *Sample) (keys []string) {
	for _, set := range s.Sets {
		keys = append(keys, keyOf(s, set))
	}
	return keys
}

func nanos(t *testing.T, at string) int64 {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, at)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.UnixNano()
}

// has checks that flat has the wanted values, whatever else it has.
func has(t *testing.T, flat, want map[string]int64) {
	t.Helper()
	got := map[string]int64{}
	for key := range want {
		if v, ok := flat[key]; ok {
			got[key] = v
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}
